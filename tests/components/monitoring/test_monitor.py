"""Serving against training, by the schema's limits, through the command."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from components.monitoring.logged import read_log
from components.monitoring.skew import skew
from models import features as names
from pipeline.commands.monitor import monitor
from schemas.curated import write_schema
from schemas.errors import InputError
from schemas.lineage import FEATURE_STATE_DIR, SCHEMA_FILE, STATISTICS_FILE
from serving.score_log import ScoreLog
from tests.components.click_examples import click_columns, serialized
from tests.components.feature_state.test_live import case_of, requests_of, simulated

pytestmark = pytest.mark.slow
KEYS = (*names.LABELS, *names.WEIGHTS, names.USER_ACTIVITY)


@pytest.fixture(scope="module")
def serving_dir(tmp_path_factory):
    """A version that says what it learned from: made-up click examples."""
    from tensorflow_data_validation import StatsOptions
    from tensorflow_data_validation.statistics import stats_impl
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    folder = tmp_path_factory.mktemp("monitor")
    case = case_of(*simulated(folder, users=40), folder)
    version = folder / "serving" / "cabb" / "2"
    shutil.copytree(case.snapshot.home, version / FEATURE_STATE_DIR)
    write_schema(version / SCHEMA_FILE)
    batch = ExamplesToRecordBatchDecoder().DecodeBatch(serialized(click_columns(3000)))
    statistics = stats_impl.generate_statistics_in_memory(batch, StatsOptions())
    (version / STATISTICS_FILE).write_bytes(statistics.SerializeToString())
    (version / "assets.extra" / "cabb.json").write_text(json.dumps({"labels": names.LABEL_OF_OUTPUT}))
    return version.parent, case


def served(rows, seed, **changes):
    columns = {n: v for n, v in click_columns(rows, seed).items() if n not in KEYS}
    return columns | changes


def test_honest_rows_are_within_the_limits_and_shifted_ones_are_not(serving_dir):
    version = serving_dir[0] / "2"
    honest = skew(serialized_serving(served(1000, 5)), version)
    assert len(honest) > 20 and not [each for each in honest if each.value > each.threshold]
    shifted = served(1000, 5, price=np.full(1000, 4000.0), leaf=np.full(1000, "Home > Kitchen > Leaf 7"))
    moved = [each for each in skew(serialized_serving(shifted), version) if each.value > each.threshold]
    assert {each.feature for each in moved} == {"price", "leaf"}
    assert moved[0].value - moved[0].threshold == max(each.value - each.threshold for each in moved)


def serialized_serving(columns):
    """Rows as the score log writes them."""
    with tempfile.TemporaryDirectory() as folder:
        rows = len(columns["item"])
        ScoreLog(Path(folder), share=1.0, max_rows=rows).write(
            columns, {"p_caba": np.full(rows, 0.1, np.float32)}, version=2
        )
        return read_log(Path(folder))


def test_the_command_writes_a_page_of_both(serving_dir, tmp_path):
    home, case = serving_dir
    log, clicks = ScoreLog(tmp_path / "log", share=1.0, max_rows=10_000), requests_of(case)
    columns = served(clicks.height, 3, price=np.full(clicks.height, 4000.0))
    columns |= {name: clicks[name].to_list() for name in ("user_id", "item", "event_time_us")}
    score = np.linspace(0.05, 0.4, clicks.height, dtype=np.float32)
    log.write(columns, dict.fromkeys(names.LABEL_OF_OUTPUT, score), version=2)
    case.coming.rename(lambda name: name.removeprefix("context_")).write_parquet(tmp_path / "e.parquet")
    page = tmp_path / "page.html"
    asked = [str(tmp_path / "log"), "--serving-dir", str(home), "--output", str(page)]
    done = CliRunner().invoke(monitor, [*asked, "--events", str(tmp_path / "e.parquet")])
    assert done.exit_code == 0, done.output
    assert f"version 2: {clicks.height} scored rows" in done.output
    assert "p_conversion: " in done.output and "calibration" in done.output and "moved: price" in done.output
    html = page.read_text()
    days = case.coming["event_time"].dt.date().unique().sort()
    assert str(days[1]) in html and "Scores against what happened" in html and "<svg" in html
    error = CliRunner().invoke(monitor, [*asked, "--version", "1"]).exception
    assert isinstance(error, InputError) and "no version 1" in str(error)
