"""Many rows through Beam get the scores that a server gives."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from components.bulk_scoring.score_beam import score_files
from pipeline.commands.bulk_score import bulk_score
from schemas.errors import InputError
from tests.serving import tiny_model
from tests.serving.test_client import as_lists

FLAGS = ["--runner=FnApiRunner"]


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    path = tmp_path_factory.mktemp("bulk") / "1"
    tiny_model.save(path)
    return path


def test_every_row_is_scored_once(export, tmp_path):
    for number in range(2):
        columns = as_lists(tiny_model.columns(35, seed=number))
        table = pa.table({**columns, "row": [number * 35 + i for i in range(35)], "p_caba": [9.0] * 35})
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=20)
    asked = [str(tmp_path / "*.parquet")], export, tmp_path / "out", FLAGS
    assert score_files(*asked, batch=8) == 70
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"part-{n:05d}.parquet" for n in range(4)]
    scored = pq.read_table(tmp_path / "out").sort_by("row")
    assert scored["row"].to_pylist() == list(range(70))
    expected = [p for seed in range(2) for p in tiny_model.expected(tiny_model.columns(35, seed=seed))]
    assert scored["p_caba"].to_pylist() == pytest.approx(expected, abs=1e-5)
    with pytest.raises(InputError, match="is not empty"):
        score_files(*asked)
    more = ["--output", str(tmp_path / "more"), "--export", str(export)]
    done = CliRunner().invoke(bulk_score, [str(tmp_path / "0.parquet"), *more])
    assert done.exit_code == 0 and "35 rows" in done.output, done.output


def test_what_cannot_be_scored_is_named(export, tmp_path):
    table = pa.table(as_lists(tiny_model.columns(3)))
    pq.write_table(table.drop_columns(["price"]), tmp_path / "lacking.parquet")
    pq.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    (tmp_path / "text.parquet").write_text("text")
    for name, message in (
        ("lacking", "lacks 1 features of the model: price"),
        ("empty", "no rows to score"),
        ("text", "not a readable Parquet file"),
        ("absent", "no rows to score"),
    ):
        with pytest.raises(InputError, match=message):
            score_files([str(tmp_path / f"{name}.parquet")], export, tmp_path / "out", FLAGS)
    assert not (tmp_path / "out").exists()
