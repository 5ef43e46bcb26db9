"""Popularity and conversion rates of items, leaves and advertisers, from whole days before the anchor's day.

First pass: every partition counts by name and day, and the counts of all partitions are summed. Second pass:
an anchor on day d reads sums over days [d - window, d - 1]. An outcome is dated by the day on which its
label window closed, so a rate never knows more than was known when day d began:

    rate(leaf) = (positives + LEAF_CLICKS * PRIOR_RATE) / (closed + LEAF_CLICKS)
    rate(item) = (positives + ITEM_CLICKS * rate(leaf)) / (closed + ITEM_CLICKS)

A window of hours closes when they are over. A session is taken to be over after the inactivity gap: if it
goes on later under the same id, what follows is not counted, since nobody could have waited for it.

A log that begins inside a window covers only some of its days: clicks are then scaled up to the whole window,
or the first weeks of a log would look like a store that grows.

There is no store-wide level: it is not stationary. For the same reason `__unknown__` has no counts of its
own; where no advertiser or category is given it would be the whole store.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from components.similarity_transform.labels import HOUR, Clicks, Hours, Touches
from components.similarity_transform.timeline import Groups, Timeline
from schemas.events import UNKNOWN

KINDS = ("item", "leaf", "advertiser")
COUNTED = ("clicks", "closed", "caba", "cabb")
SHORT_DAYS = 7
LONG_DAYS = 28
PRIOR_RATE = 0.05
ITEM_CLICKS = 20.0
LEAF_CLICKS = 100.0
ADVERTISER_CLICKS = 100.0
_DAY_SPAN = 1 << 20  # more days than any calendar holds


def daily_counts(
    events: Timeline, clicks: Clicks, touches: Touches, window: str | Hours, gap: int, time_zone: str
) -> pl.DataFrame:
    """Counts of one partition by (kind, name, day): clicks made, label windows closed, and their outcomes.

    Args:
        touches: of all events, both splits: an outcome is only looked up once its window has closed.
        gap: inactivity that ends a session, microseconds.

    Returns:
        Columns kind, name, day (days since the epoch) and COUNTED, sorted by the first three.
    """
    closes, counted = _closings(events, clicks, touches, window, gap)
    closed_day = _local_day(closes - 1, time_zone)
    same = events.item[touches.purchase] == events.item[clicks.anchor[touches.example]]
    m = len(clicks.anchor)
    caba = np.bincount(touches.example[counted & same], minlength=m) > 0
    cabb = np.bincount(touches.example[counted & ~same], minlength=m) > 0
    frames = []
    for kind in KINDS:
        code = getattr(events, kind)
        made = pl.DataFrame({"code": code[clicks.click], "day": events.day[clicks.click]}).with_columns(
            clicks=pl.lit(1, pl.Int64), **{name: pl.lit(0, pl.Int64) for name in COUNTED[1:]}
        )
        closed = pl.DataFrame({"code": code[clicks.anchor], "day": closed_day}).with_columns(
            clicks=pl.lit(0, pl.Int64),
            closed=pl.lit(1, pl.Int64),
            caba=pl.Series(caba.astype(np.int64)),
            cabb=pl.Series(cabb.astype(np.int64)),
        )
        daily = pl.concat([made, closed]).group_by("code", "day").sum()
        names = pl.from_arrow(events.names[kind].take(daily["code"].to_arrow()).cast(pa.string()))
        frames.append(daily.select(pl.lit(kind).alias("kind"), names.alias("name"), "day", *COUNTED))
    return pl.concat(frames).filter(pl.col("name") != UNKNOWN).sort("kind", "name", "day")


def sum_counts(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Daily counts of several partitions as one, sorted."""
    return pl.concat(parts).group_by("kind", "name", "day").sum().sort("kind", "name", "day")


def first_day_of(counts: pl.DataFrame) -> int:
    """First day with a count, days since the epoch; 0 without any."""
    return int(counts["day"].min()) if counts.height else 0


def _closings(
    events: Timeline, clicks: Clicks, touches: Touches, window: str | Hours, gap: int
) -> tuple[np.ndarray, np.ndarray]:
    """When each example's window closed (us, [m]) and which touches were inside by then (bool [q])."""
    if window != "session":
        return events.time[clicks.anchor] + int(window.hours * HOUR), np.ones(len(touches.example), bool)
    rows = np.arange(len(events))
    before = events.by_session.latest_before(rows)
    breaks = (before < 0) | (events.time - events.time[before] >= gap)
    order = events.by_session.order
    stretch = np.empty(len(events), np.int64)
    stretch[order] = np.cumsum(breaks[order])
    last = Groups(stretch).last(clicks.anchor)
    inside = stretch[touches.purchase] == stretch[clicks.anchor[touches.example]]
    return events.time[last] + gap, inside


def _local_day(time: np.ndarray, time_zone: str) -> np.ndarray:
    local = pl.Series(time).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(time_zone)
    return local.dt.date().to_physical().to_numpy()


@dataclass(frozen=True)
class _Running:
    """Running totals of one kind, by sorted name and day; totals[k] sums the first k rows."""

    names: pa.Array
    key: np.ndarray  # name code * _DAY_SPAN + day, increasing
    totals: np.ndarray  # [rows + 1, len(COUNTED)], first row 0


class Popularity:
    """Sums of daily counts over windows of whole days, by name."""

    def __init__(self, counts: pl.DataFrame, first_day: int | None = None):
        """Sums the counts up once.

        Args:
            counts: what `sum_counts` returns: sorted by kind, name, day.
            first_day: of the log, days since the epoch; None: that of the counts.
        """
        self._first_day = first_day_of(counts) if first_day is None else first_day
        self._kinds = {kind: _running(counts.filter(pl.col("kind") == kind)) for kind in KINDS}

    def before(self, kind: str, names: pa.Array, code: np.ndarray, day: np.ndarray, days: int) -> np.ndarray:
        """Sums over [day - days, day - 1].

        Args:
            kind: one of KINDS.
            names, code: name of row r is names[code[r]].
            day: [r] days since the epoch.

        Returns:
            int64 [r, len(COUNTED)]; zeros for unknown names.
        """
        running = self._kinds[kind]
        place = pc.fill_null(pc.index_in(names.cast(pa.string()), running.names), -1).to_numpy(False)[code]
        base = place.astype(np.int64) * _DAY_SPAN + day
        upto = np.searchsorted(running.key, base, side="left")
        since = np.searchsorted(running.key, base - days, side="left")
        sums = running.totals[upto] - running.totals[since]
        sums[place < 0] = 0
        return sums

    def _scale(self, day: np.ndarray, days: int) -> np.ndarray:
        """Days of the window [day - days, day - 1] over those of them that the log covers."""
        return days / np.clip(day - self._first_day, 1, days)

    def features(self, events: Timeline, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The *_7d and *_28d features of models/features.py by day of the rows, float32 [len(rows)] each."""
        day = events.day[rows].astype(np.int64)
        at = {kind: (events.names[kind], getattr(events, kind)[rows], day) for kind in KINDS}
        sums = {kind: self.before(kind, *at[kind], LONG_DAYS) for kind in KINDS}
        clicks, closed = COUNTED.index("clicks"), COUNTED.index("closed")
        short = self.before("item", *at["item"], SHORT_DAYS)[:, clicks]
        columns = {
            "item_clicks_7d": short * self._scale(day, SHORT_DAYS),
            **{f"{kind}_clicks_28d": sums[kind][:, clicks] * self._scale(day, LONG_DAYS) for kind in KINDS},
        }
        for outcome in ("caba", "cabb"):
            positive = {kind: sums[kind][:, COUNTED.index(outcome)] for kind in KINDS}
            leaf = _smoothed(positive["leaf"], sums["leaf"][:, closed], PRIOR_RATE, LEAF_CLICKS)
            columns[f"leaf_{outcome}_rate_28d"] = leaf
            columns[f"item_{outcome}_rate_28d"] = _smoothed(
                positive["item"], sums["item"][:, closed], leaf, ITEM_CLICKS
            )
            columns[f"advertiser_{outcome}_rate_28d"] = _smoothed(
                positive["advertiser"], sums["advertiser"][:, closed], PRIOR_RATE, ADVERTISER_CLICKS
            )
        return {name: values.astype(np.float32) for name, values in columns.items()}


def _running(counts: pl.DataFrame) -> _Running:
    names = counts["name"]
    code = names.rle_id().to_numpy().astype(np.int64)
    totals = np.zeros((len(counts) + 1, len(COUNTED)), np.int64)
    np.cumsum(counts.select(COUNTED).to_numpy(), axis=0, out=totals[1:])
    return _Running(
        names=names.unique(maintain_order=True).to_arrow().cast(pa.string()),
        key=code * _DAY_SPAN + counts["day"].to_numpy(),
        totals=totals,
    )


def _smoothed(positive: np.ndarray, of: np.ndarray, prior: np.ndarray | float, strength: float) -> np.ndarray:
    return (positive + strength * prior) / (of + strength)
