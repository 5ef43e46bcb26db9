"""Rows of the feature state: the events of users, as session rows are made from, and daily counts."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from components.session_example_gen.sessions import ARRIVAL
from components.similarity_transform.labels import LabelSettings, find_clicks, find_touches
from components.similarity_transform.popularity import COUNTED, LONG_DAYS, daily_counts
from components.similarity_transform.timeline import timeline
from schemas.events import LogSource, session_schema

KEPT_DAYS = 2 * LONG_DAYS
"""Days of counts that are kept: the longest window, and as much again for late events."""
DAY_US = 86_400_000_000
DAILY_SCHEMA = {
    "kind": pl.String,
    "name": pl.String,
    "day": pl.Int32,
    **dict.fromkeys(COUNTED, pl.Int64),
}


def kept_schema(source: LogSource) -> dict[str, pl.DataType]:
    """Columns of a kept event: a session row without `is_click`, which follows from the others, and ARRIVAL.

    Events of one instant are in order of ARRIVAL, which is different in every event of a user.
    """
    schema = session_schema(source.context_columns)
    types = {
        field.name: pl.String if pa.types.is_dictionary(field.type) else _polars_type(field.type)
        for field in schema
        if field.name != "is_click"
    }
    return {**types, ARRIVAL: pl.Int64}


def count_by_day(sessions: pa.Table, source: LogSource, labels: LabelSettings) -> pl.DataFrame:
    """Daily counts of whole users (`popularity.daily_counts`).

    Args:
        sessions: session rows of the users, sorted by (user_id, event_time, arrival).
    """
    if not sessions.num_rows:
        return pl.DataFrame(schema=DAILY_SCHEMA)
    events = timeline(sessions, None, source.time_zone)
    clicks = find_clicks(events)
    touches = find_touches(events, clicks, labels.window)
    gap = round(source.session_gap_minutes * 60e6)
    daily = daily_counts(events, clicks, touches, labels.window, gap, source.time_zone)
    return daily.cast(DAILY_SCHEMA)


def within_kept_days(daily: pl.DataFrame, last_us: int) -> pl.DataFrame:
    """The counts of the last KEPT_DAYS before a moment."""
    return daily.filter(pl.col("day") >= oldest_kept_day(last_us))


def oldest_kept_day(last_us: int) -> int:
    """First day whose counts are kept, in days since the epoch (UTC: a day more or less does no harm)."""
    return last_us // DAY_US - KEPT_DAYS


def newest(events: pl.DataFrame, count: int) -> pl.DataFrame:
    """At most `count` events of every user, the newest; the order stays."""
    return events.filter(pl.int_range(pl.len()).reverse().over("user_id") < count)


def _polars_type(kind: pa.DataType) -> pl.DataType:
    return pl.from_arrow(pa.array([], kind)).dtype
