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


def test_days_are_held_out_that_nobody_asked_for(tmp_path):
    """Seven, before the seven that are too young for credits."""
    day, user = 86_400, range(1, 41)
    at = [time for _ in user for time in (10 * day, 20 * day, 40 * day)]
    rows = {"journey": range(len(at)), "user": [each for each in user for _ in range(3)], "time": at}
    rows |= {"channel": ["a", "b", "c"] * len(user), "converted": [1, 0, 0, 0, 1, 0] * (len(user) // 2)}
    path = tmp_path / "journeys.parquet"
    pl.DataFrame(rows).write_parquet(path)
    given = ["--journeys", str(path), "--output", str(tmp_path / "out"), "--workers", "0", *DAYS]
    with pytest.raises(InputError, match="holding out the last 14 days leaves 0 clicks"):
        CliRunner().invoke(command, given, catch_exceptions=False)
