"""`cabb score` against the emulator."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipeline.commands.score import score
from schemas.errors import InputError
from serving.emulator import Emulator
from serving.models import single
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
        (["--input", rows], "give either --json, or --input together with --output"),
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


def test_a_server_that_is_not_there(rows, tmp_path):
    done = invoke("--input", rows, "--output", tmp_path / "o", "--address", "127.0.0.1:9", "--deadline", 1)
    assert done.exit_code == 1 and "127.0.0.1:9" in done.output
    assert not (tmp_path / "o").exists()
