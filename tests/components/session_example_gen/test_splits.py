"""Days are cut at midnight of the store's time zone."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from pydantic import ValidationError

from components.session_example_gen.splits import SplitWindows


def test_bounds_follow_the_time_zone_through_daylight_saving() -> None:
    windows = SplitWindows(train_start="2024-03-09", eval_start="2024-03-11", eval_end="2024-03-12")
    bounds = windows.bounds("America/New_York")
    assert bounds["train"] == (
        datetime(2024, 3, 9, 5, tzinfo=UTC),
        datetime(2024, 3, 11, 4, tzinfo=UTC),  # clocks went forward on the 10th
    )
    assert bounds["eval"] == (bounds["train"][1], datetime(2024, 3, 12, 4, tzinfo=UTC))


def test_ends_are_exclusive_and_open_ones_take_all() -> None:
    instants = [datetime(2024, 3, day, tzinfo=UTC) for day in range(1, 8)]
    rows = pl.DataFrame({"event_time": instants})
    closed = SplitWindows(train_start="2024-03-02", eval_start="2024-03-04", eval_end="2024-03-06").split(
        rows, "UTC"
    )
    assert {name: part["event_time"].dt.day().to_list() for name, part in closed.items()} == {
        "train": [2, 3],
        "eval": [4, 5],
    }
    opened = SplitWindows(eval_start="2024-03-04").split(rows, "UTC")
    assert [opened["train"].height, opened["eval"].height] == [3, 4]


@pytest.mark.parametrize(
    "days",
    [
        {"eval_start": "2024-03-04", "eval_end": "2024-03-04"},
        {"train_start": "2024-03-05", "eval_start": "2024-03-04"},
        {"train_start": "2024-03-05", "eval_start": "2024-03-06", "eval_end": "2024-03-01"},
    ],
)
def test_windows_out_of_order_are_refused(days: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="train_start < eval_start < eval_end"):
        SplitWindows(**days)


def test_held_out_days_end_with_training() -> None:
    windows = SplitWindows(train_start="2024-03-01", eval_start="2024-03-11", holdout_days=3)
    assert windows.holdout_start == date(2024, 3, 8)
    assert SplitWindows(eval_start="2024-03-11").holdout_start is None
    with pytest.raises(ValidationError, match="holdout_days 10 leaves no day to train on"):
        SplitWindows(train_start="2024-03-01", eval_start="2024-03-11", holdout_days=10)
