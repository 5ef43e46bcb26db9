"""The whole pipeline on a small simulated store, through the functions behind `cabb run`."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from pipeline.config import Config, load_config
from pipeline.local_run import Outcome, RunResult, run_locally
from schemas.errors import InputError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
USERS = 6000
SMALL = {"store.users": USERS, "beam.partitions": 4}


def config_at(output: Path, **settings: object) -> Config:
    return load_config(None, {"output": str(output), **SMALL, **settings})


def run(config: Config, **options: object) -> tuple[RunResult, str]:
    console = Console(record=True, width=160, file=io.StringIO())
    result = run_locally(config, console, **options)
    return result, console.export_text()


def cached_nodes(printed: str) -> list[str]:
    return [line.split()[0] for line in printed.splitlines() if line.endswith("cached")]


def pushed_versions(config: Config) -> list[str]:
    return sorted(each.name for each in (config.output / "serving" / config.name).glob("[0-9]*"))


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cabb") / "out"


@pytest.fixture(scope="module")
def good(output: Path) -> tuple[Config, RunResult]:
    config = config_at(output)
    result, printed = run(config)
    assert result.outcome is Outcome.PUSHED, f"{result.message}\n{printed}"
    return config, result


def test_a_good_model_is_pushed_and_scores(good: tuple[Config, RunResult]) -> None:
    import tensorflow as tf

    config, result = good
    (version,) = pushed_versions(config)
    model = tf.saved_model.load(str(config.output / "serving" / config.name / version))
    shards = tf.io.gfile.glob(str(config.output / "artifacts/SimilarityTransform/examples/*/Split-eval/*.gz"))
    examples = tf.data.TFRecordDataset(shards, compression_type="GZIP").batch(64).take(1).get_single_element()
    scores = model.signatures["serving_default"](examples=examples)
    for name in ("p_caba", "p_cabb", "p_conversion"):
        values = scores[name].numpy()
        assert values.shape == (64, 1)
        assert ((values > 0) & (values < 1)).all()
        assert values.std() > 0
    assert result.report.read_text().startswith("<!doctype html>")


def test_the_pushed_model_is_served_and_scores_clicks_of_a_user(good: tuple[Config, RunResult]) -> None:
    from components.serving_validator.check import in_process
    from components.serving_validator.warmup import raw_columns, read_examples
    from pipeline.commands.score import user_columns
    from serving.client import Client
    from serving.process import ServerProcess
    from serving.requests import features_of_export

    config, _ = good
    home = config.output / "serving" / config.name
    version = home / pushed_versions(config)[-1]
    (eval_split,) = (config.output / "artifacts").glob("SimilarityTransform/examples/*/Split-eval")
    examples = read_examples(eval_split, 200)
    columns = raw_columns(examples, features_of_export(version))
    expected = in_process(version, examples)
    log = pl.read_parquet(config.output / "store/events/*.parquet")
    user, product, last = log.sort("event_time").select("user_id", "product_id", "event_time").row(-1)
    with ServerProcess(config.name, home) as server, Client(server.address, config.name, None, 30) as client:
        assert not server.errors
        for name, values in client.score(columns).items():
            np.testing.assert_allclose(values, expected[name], atol=1e-5)
        live = user_columns(user, [product, "unheard-of"], last.replace(tzinfo=None), [], home)
        assert live["user_clicks"][0] > 0
        scored = client.score(live)["p_conversion"]
    assert scored.shape == (2,) and ((scored > 0) & (scored < 1)).all()


def test_one_click_is_explained(good: tuple[Config, RunResult]) -> None:
    from click.testing import CliRunner

    from pipeline.commands.explanations.example import command

    config, _ = good
    latest = str(config.output / "runs" / "latest")
    asked = CliRunner().invoke(command, ["--run", latest, "--row", "3"], catch_exceptions=False)
    assert asked.exit_code == 0
    for words in (
        "What was known",
        "alpha",
        "weight in the CABB loss",
        "p_conversion",
        "times the base rate",
    ):
        assert words in asked.output
    missing = CliRunner().invoke(command, ["--run", latest, "--row", "999999999"])
    assert isinstance(missing.exception, InputError)


def test_every_row_of_the_logs_is_accounted_for(good: tuple[Config, RunResult]) -> None:
    config, _ = good
    (path,) = (config.output / "artifacts").glob("SessionExampleGen/sessions/*/counts.json")
    counts = json.loads(path.read_text())
    rows = pl.scan_parquet(config.output / "store/events/*.parquet").select(pl.len()).collect().item()
    parts = [counts["kept"], counts["set_aside"], counts["rejected"]]
    assert counts["read"] == rows
    accounted = sum(sum(each.values()) for each in parts) + counts["duplicates"] + counts["outside_window"]
    assert accounted == rows


def test_an_identical_run_is_answered_by_the_cache(good: tuple[Config, RunResult]) -> None:
    config, first = good
    result, printed = run(config)
    assert result.outcome is Outcome.PUSHED
    assert len(cached_nodes(printed)) == 15, printed
    assert result.report.read_bytes() == first.report.read_bytes()
    assert len(pushed_versions(config)) == 1


def test_a_push_into_a_removed_serving_directory_is_made_again(good: tuple[Config, RunResult]) -> None:
    config, _ = good
    shutil.rmtree(config.output / "serving")
    result, printed = run(config)
    assert result.outcome is Outcome.PUSHED, f"{result.message}\n{printed}"
    assert len(pushed_versions(config)) == 1
    assert "Trainer" in cached_nodes(printed)


@pytest.mark.parametrize("planted", ["noise_run_fn", "nan_run_fn"])
def test_a_planted_model_is_blocked_in_words(good: tuple[Config, RunResult], planted: str) -> None:
    config, _ = good
    before = pushed_versions(config)
    result, printed = run(config, run_fn=f"tests.end_to_end.planted.{planted}")
    assert result.outcome is Outcome.BLOCKED, f"{result.message}\n{printed}"
    failed = [each for each in result.results["verdict"]["checks"] if not each["passed"]]
    assert {"p_caba", "p_cabb", "p_conversion"} <= {each["output"] for each in failed}
    assert all(each["words"] for each in failed)
    assert pushed_versions(config) == before


def test_a_model_of_attribution_views_is_one_setting(output: Path) -> None:
    """Views, their data-driven one included, CABA and CABB, through the same gate to the same outputs."""
    import tensorflow as tf

    config = config_at(output, name="views", model="mal_cabb", **{"attribution.look_back_days": 1})
    result, printed = run(config)
    assert result.outcome is Outcome.PUSHED, f"{result.message}\n{printed}"
    assert "AttributionModel" in printed
    labels = {head["output"]: head["label"] for head in result.results["heads"]}
    assert labels == config.model.label_of_output()
    assert labels["p_conversion"] == "credit_last_click"
    assert result.results["inside"]["cat"]["rows_of_unreachable"] == 0
    assert "What the attribution views say together" in result.report.read_text()
    (version,) = pushed_versions(config)
    loaded = tf.saved_model.load(str(config.output / "serving/views" / version))
    assert set(loaded.signatures["raw"].structured_outputs) == set(labels)


def test_drifted_data_stops_the_run(good: tuple[Config, RunResult], tmp_path: Path) -> None:
    from simulator.store import simulate
    from simulator.worlds import world_named

    config, _ = good
    drifted = world_named("drifted", users=USERS)
    simulate(drifted, tmp_path / "drifted", None)
    data = {
        "events": [str(tmp_path / "drifted/events/*.parquet")],
        "catalog": str(tmp_path / "drifted/catalog.parquet"),
        "context_columns": ["channel", "device", "country"],
    }
    from pipeline.run_inputs import last_days

    split = last_days(drifted).model_dump(mode="json")
    result, printed = run(config_at(config.output, data=data, split=split))
    assert result.outcome is Outcome.ANOMALIES, printed
    assert "Trainer" not in printed
    assert "train vs eval" in result.message
    assert "context_channel" in result.message


def test_a_run_killed_in_the_middle_resumes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "run", "--output", str(tmp_path)]
    for key, value in SMALL.items():
        command += ["--set", f"{key}={value}"]
    with (tmp_path / "stdout.txt").open("w") as stdout:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 300
        examples = tmp_path / "artifacts/StatisticsGen/statistics"
        while not list(examples.glob("*/Split-*/*")) and time.monotonic() < deadline:
            assert process.poll() is None, (tmp_path / "stdout.txt").read_text()
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not pushed_versions(config_at(tmp_path))
    result, printed = run(config_at(tmp_path))
    assert result.outcome is Outcome.PUSHED, f"{result.message}\n{printed}"
    assert {"SessionExampleGen", "CategorySimilarity", "SimilarityTransform"} <= set(cached_nodes(printed))


def plant_bad_rows(store: Path, target: Path, share: float) -> dict[str, object]:
    """Copies a store's logs with a share of the rows broken, three ways in turn."""
    events = pl.read_parquet(store / "events/*.parquet")
    target.mkdir()
    row = pl.int_range(pl.len())
    every = round(1 / share)
    broken = events.with_columns(
        user_id=pl.when(row % (3 * every) == 0).then(None).otherwise(pl.col("user_id")),
        event_type=pl.when(row % (3 * every) == every)
        .then(pl.lit("teleport"))
        .otherwise(pl.col("event_type").cast(pl.String)),
        product_id=pl.when(row % (3 * every) == 2 * every).then(pl.lit("")).otherwise(pl.col("product_id")),
    )
    broken.write_parquet(target / "events.parquet")
    return {
        "events": [str(target / "events.parquet")],
        "catalog": str(store / "catalog.parquet"),
        "context_columns": ["channel", "device", "country"],
    }


def test_bad_rows_over_the_limit_stop_the_run(good: tuple[Config, RunResult], tmp_path: Path) -> None:
    from pipeline.run_inputs import last_days

    config, _ = good
    data = plant_bad_rows(config.output / "store", tmp_path / "logs", share=0.05)
    split = last_days(config.store).model_dump(mode="json")
    with pytest.raises(InputError) as error:
        run(config_at(tmp_path / "out", data=data, split=split))
    message = str(error.value)
    assert "\n" not in message
    assert "events.parquet" in message
    assert not list((tmp_path / "out/artifacts").glob("SessionExampleGen/sessions/*/Split-*"))
