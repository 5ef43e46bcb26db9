"""The time split: which instants train and which evaluate."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import Field, model_validator

from schemas.settings import MOST_DAYS, Day, Settings

TRAIN = "train"
EVAL = "eval"
SPLITS = (TRAIN, EVAL)


class SplitWindows(Settings):
    """Training and evaluation days; a day begins at midnight of the source's time zone.

    >>> SplitWindows(eval_start="2016-10-01").bounds("America/Los_Angeles")["eval"][0].isoformat()
    '2016-10-01T07:00:00+00:00'
    """

    train_start: Day | None = None
    """First day of training; None: from the first event."""
    eval_start: Day
    """First day of evaluation, and the end of training."""
    eval_end: Day | None = None
    """The day after the last of evaluation; None: to the last event."""
    holdout_days: int = Field(0, ge=0, le=MOST_DAYS)
    """Last training days whose click examples are a split of their own, `holdout`: a model is calibrated on
    them before it learns from them too."""

    @model_validator(mode="after")
    def _in_order(self) -> SplitWindows:
        days = [day for day in (self.train_start, self.eval_start, self.eval_end) if day is not None]
        if any(first >= second for first, second in pairwise(days)):
            got = ", ".join(day.isoformat() for day in days)
            raise ValueError(f"train_start < eval_start < eval_end must hold; got {got}")
        held = self.holdout_start
        if held and self.train_start and held <= self.train_start:
            raise ValueError(f"holdout_days {self.holdout_days} leaves no day to train on before {held}")
        return self

    @property
    def holdout_start(self) -> date | None:
        """The first held-out day; None without any."""
        return self.eval_start - timedelta(days=self.holdout_days) if self.holdout_days else None

    def bounds(self, time_zone: str) -> dict[str, tuple[datetime | None, datetime | None]]:
        """First instant and end (exclusive) of each split in UTC; None is open."""

        def midnight(day: date | None) -> datetime | None:
            if day is None:
                return None
            return datetime.combine(day, time(), ZoneInfo(time_zone)).astimezone(UTC)

        boundary = midnight(self.eval_start)
        return {TRAIN: (midnight(self.train_start), boundary), EVAL: (boundary, midnight(self.eval_end))}

    def split(self, sessions: pl.DataFrame, time_zone: str) -> dict[str, pl.DataFrame]:
        """The rows of each split, in their order; rows outside both windows are in neither."""
        return {
            name: sessions.filter(_within(pl.col("event_time"), first, end))
            for name, (first, end) in self.bounds(time_zone).items()
        }


def _within(instant: pl.Expr, first: datetime | None, end: datetime | None) -> pl.Expr:
    inside = pl.lit(True)
    if first is not None:
        inside &= instant >= first
    if end is not None:
        inside &= instant < end
    return inside
