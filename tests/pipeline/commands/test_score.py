"""`cabb score` against the emulator."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipeline.commands.ingest import ingest
from pipeline.commands.score import score, user_columns
from schemas.errors import InputError
from schemas.lineage import FEATURE_STATE_DIR
from serving.client import Client
from serving.emulator import Emulator
from serving.models import single
from tests.components.feature_state.test_live import case_of, simulated
from tests.serving import tiny_model
from tests.serving.test_client import as_lists


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    base = tmp_path_factory.mktemp("score") / "cabb"
    base.mkdir()
    tiny_model.save(base / "1")
    with Emulator(single("cabb", base)) as server:
        yield server.address


@pytest.fixture
def rows(tmp_path):
    table = pa.table({**as_lists(tiny_model.columns(25)), "user_id": [f"u{i}" for i in range(25)]})
    pq.write_table(table, tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def invoke(*arguments):
    return CliRunner().invoke(score, list(map(str, arguments)))


def test_scores_a_file_in_batches(address, rows, tmp_path):
    target = tmp_path / "out" / "scored.parquet"
    done = invoke("--input", rows, "--output", target, "--address", address, "--batch", 10)
    assert done.exit_code == 0, done.output
    scored = pq.read_table(target)
    assert scored.num_rows == 25 and scored["user_id"].to_pylist()[-1] == "u24"
    assert "25 rows" in done.output
    wanted = tiny_model.expected(tiny_model.columns(25))
    assert scored["p_caba"].to_pylist() == pytest.approx(wanted.tolist(), abs=1e-5)
    assert [p.name for p in target.parent.iterdir()] == ["scored.parquet"]
    again = invoke("--input", target, "--output", target, "--address", address)
    assert again.exit_code == 0 and pq.read_table(target).column_names == scored.column_names


def test_scores_one_row(address):
    row = {name: values[0] for name, values in as_lists(tiny_model.columns(1)).items()}
    done = invoke("--json", json.dumps(row), "--address", address)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["p_caba"] == pytest.approx(
        float(tiny_model.expected(tiny_model.columns(1))[0]), abs=1e-5
    )


def test_bad_input_is_named(address, rows, tmp_path):
    pq.write_table(pq.read_table(rows).drop_columns(["price"]), rows)
    cases = [
        (["--json", "{", "--address", address], "not JSON"),
        (["--json", "[1]", "--address", address], "expected an object"),
        (["--json", "{}", "--address", address], "lacks 4 of 4 features"),
        (["--input", rows], "give one of --json, --input with --output, and --user with --item"),
        (
            ["--input", rows, "--output", tmp_path / "o", "--address", address],
            "lacks 1 features of the model: price",
        ),
        (
            ["--input", Path(__file__), "--output", tmp_path / "o", "--address", address],
            "not a readable Parquet",
        ),
    ]
    for arguments, message in cases:
        error = invoke(*arguments).exception
        assert isinstance(error, InputError) and message in str(error), (arguments, error)


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A served version that carries a feature state: (serving directory, address, events to come)."""
    folder = tmp_path_factory.mktemp("live")
    case = case_of(*simulated(folder, users=30), folder)
    base = folder / "serving" / "cabb"
    base.mkdir(parents=True)
    tiny_model.save(base / "1")
    shutil.copytree(case.snapshot.home, base / "1" / FEATURE_STATE_DIR)
    with Emulator(single("cabb", base)) as server:
        yield base, server.address, case


def test_scores_clicks_of_a_user_after_ingesting_its_events(live, tmp_path):
    base, address, case = live
    clicks = case.coming.filter(pl.col("event_type").is_in(["click", "detail_view"]))
    user, product, moment = clicks.select("user_id", "product_id", "event_time").tail(1).row(0)
    case.coming.rename(lambda name: name.removeprefix("context_")).write_parquet(tmp_path / "e.parquet")
    for expected in (f"{case.coming.height:,} new, 0 known", f"0 new, {case.coming.height:,} known"):
        done = CliRunner().invoke(ingest, [str(tmp_path / "e.parquet"), "--serving-dir", str(base)])
        assert done.exit_code == 0 and expected in done.output, done.output
    at = f"{moment:%Y-%m-%dT%H:%M:%S}"
    asked = ["--user", user, "--item", product, "--item", "unheard-of", "--at", at]
    done = invoke(*asked, "--serving-dir", base, "--address", address, "--context", "device=phone")
    assert done.exit_code == 0, done.output
    assert "note: not in the catalog: unheard-of" in done.stderr and "ends at" not in done.stderr
    scored = json.loads(done.stdout)
    assert scored["item"] == [product, "unheard-of"] and len(scored["p_conversion"]) == 2
    columns = user_columns(user, [product], moment.replace(tzinfo=None), [], base)
    (item,) = columns["item"].to_pylist()
    with Client(address, "cabb", deadline_s=20) as client:
        again = client.score(columns)["p_caba"]
    assert again[0] == pytest.approx(scored["p_caba"][0], abs=1e-6) and item
    rebuilt = CliRunner().invoke(ingest, ["--rebuild", "--serving-dir", str(base)])
    last = datetime.fromtimestamp(case.snapshot.facts.last_us / 1e6, UTC)
    assert f"as of {last:%Y-%m-%d %H:%M:%S}" in rebuilt.output


def test_what_a_feature_state_cannot_be_asked_is_named(live, tmp_path):
    base, _, _ = live
    (tmp_path / "empty").mkdir()
    asked = ["--user", "u", "--item", "i", "--serving-dir"]
    for arguments, message in (
        ([*asked, base, "--context", "weather=fine"], "the logs have no such column"),
        ([*asked, tmp_path / "empty"], "holds no version"),
        (["--user", "u"], "give one of"),
        ([*asked, base, "--store", "redis://127.0.0.1:1/0"], "no Redis server answers"),
    ):
        error = invoke(*arguments).exception
        assert isinstance(error, InputError) and message in str(error), error
    error = CliRunner().invoke(ingest, ["--serving-dir", str(base)]).exception
    assert isinstance(error, InputError) and "name log files" in str(error)


def test_a_store_is_sqlite_or_on_redis():
    for command in (score, ingest):
        for store in ("foo", "http://127.0.0.1:6379", "redis://", ""):
            error = CliRunner().invoke(command, ["--store", store]).exception
            assert isinstance(error, InputError) and f"--store {store!r}: give `sqlite`" in str(error), error


def test_the_model_is_named_as_its_folder_and_surprises_are_said(live, address, tmp_path):
    base, served, _ = live
    asked = ["--user", "stranger", "--item", "i", "--serving-dir"]
    done = invoke(*asked, base, "--address", served)
    assert done.exit_code == 0, done.output
    assert "no event of user stranger" in done.stderr and "days before this click" in done.stderr
    assert set(json.loads(done.stdout)) > {"item", "p_conversion"}
    other = tmp_path / "shop"
    shutil.copytree(base / "1", other / "1")
    done = invoke(*asked, other, "--address", address)
    assert done.exit_code == 1 and "Latest(shop); --model" in done.stderr


def test_a_server_that_is_not_there(rows, tmp_path):
    done = invoke("--input", rows, "--output", tmp_path / "o", "--address", "127.0.0.1:9", "--deadline", 1)
    assert done.exit_code == 1 and "127.0.0.1:9" in done.output and "`cabb serve` starts" in done.output
    assert not (tmp_path / "o").exists()
