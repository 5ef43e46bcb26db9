"""Stretches of a log in which purchases were not written down: their clicks have no known outcome.

Tracking breaks now and then: shoppers go on clicking, and no purchase arrives for hours. A click of such a
stretch looks like one without a purchase, and teaches a model that nothing converts.

An hour with clicks but without a purchase is common at night; a run of them is an outage if the clicks in it
should have led to many purchases. With e purchases expected, a Poisson process logs none with probability
exp(-e): at EXPECTED = 30 that is 1e-13, and still 3e-7 where the stretch converts half as well as the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from schemas.events import PURCHASE

EXPECTED = 30.0
"""Sessions with a purchase that an outage swallowed, at least."""
Outage = tuple[int, int]
"""First moment and end (exclusive), microseconds since the epoch, UTC."""


def find_outages(train: Sequence[Path], evaluation: Sequence[Path]) -> tuple[Outage, ...]:
    """The outages of a log, in order of time.

    Args:
        train, evaluation: Parquet files of session rows (schemas.events.SESSION_COLUMNS). How many purchases
            clicks lead to is learned from the training split.
    """
    learned = _by_hour(train)
    clicks, buyers = learned.select(pl.sum("clicks", "buyers")).row(0)
    if not clicks:
        return ()
    hours = pl.concat([learned, _by_hour(evaluation)]).group_by("hour").sum().sort("hour")
    silent = (
        hours.with_columns(run=(pl.col("buyers") > 0).cum_sum())
        .filter(pl.col("buyers") == 0)
        .group_by("run", maintain_order=True)
        .agg(
            pl.col("hour").first(), end=pl.col("hour").last() + pl.duration(hours=1), clicks=pl.sum("clicks")
        )
        .filter(pl.col("clicks") * (buyers / clicks) >= EXPECTED)
    )
    return tuple(silent.select(pl.col("hour", "end").dt.epoch("us")).iter_rows())


def _by_hour(paths: Sequence[Path]) -> pl.DataFrame:
    """Clicks, and sessions with a purchase, of every hour that has either."""
    there = [path for path in paths if path.exists()]
    if not there:
        return pl.DataFrame(schema={"hour": pl.Datetime("us", "UTC"), "clicks": pl.Int64, "buyers": pl.Int64})
    bought = pl.col("event_type").cast(pl.String) == PURCHASE
    return (
        pl.scan_parquet(there)
        .select(
            "user_id", "session_id", "is_click", bought=bought, hour=pl.col("event_time").dt.truncate("1h")
        )
        .filter(pl.col("is_click") | pl.col("bought"))
        .group_by("hour")
        .agg(
            clicks=pl.col("is_click").sum().cast(pl.Int64),
            buyers=pl.struct("user_id", "session_id").filter(pl.col("bought")).n_unique().cast(pl.Int64),
        )
        .collect()
    )
