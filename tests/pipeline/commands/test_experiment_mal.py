"""`cabb experiment mal` on a file of journeys: what it refuses."""

import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.commands.experiments.mal import command
from schemas.errors import InputError

DAYS = ("--set", "split.eval_start=1970-01-20")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "split.eval_start is missing"),
        ((*DAYS, "--column", "channel"), "NAME=COLUMN"),
        ((*DAYS, "--column", "channel=nope"), "no column 'nope'"),
        (DAYS, "no touch in the train days is followed for 7 days"),
    ],
)
def test_mistakes_are_refused_in_one_line(tmp_path, arguments, words):
    path = tmp_path / "journeys.parquet"
    day = 86_400
    rows = {"journey": [1, 1], "user": [1, 1], "channel": ["a", "b"], "time": [15 * day, 40 * day]}
    pl.DataFrame({**rows, "converted": [1, 1]}).write_parquet(path)
    given = ["--journeys", str(path), "--output", str(tmp_path / "out"), *arguments]
    with pytest.raises(InputError, match=words) as error:
        CliRunner().invoke(command, given, catch_exceptions=False)
    assert "\n" not in str(error.value)
