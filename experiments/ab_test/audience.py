"""Whom lists are shown to: shoppers of the same world that no model has seen, one visit each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl

from schemas.errors import InputError
from schemas.events import IMPRESSION
from simulator.recommendations import Visits, visits
from simulator.shoppers import Chunk
from simulator.store import Store
from simulator.worlds import World

_MOST_CHUNKS = 200
_USERS_AT_ONCE = 400


@dataclass(frozen=True)
class Audience:
    """Visits with what is logged of their users until then.

    Attributes:
        at: the visits, one per user.
        events: log rows of the users up to the moment of the list, impressions left out.
        moments: user_id, session_id, event_time and contexts of each visit.
    """

    at: Visits
    events: pl.DataFrame
    moments: pl.DataFrame

    def __len__(self) -> int:
        return len(self.at)


def audiences(world: World, days: tuple[date, date], users: int) -> Iterator[tuple[Store, Audience]]:
    """Fresh shoppers of a world who come on the given days, a few hundred at a time, `users` in all.

    Chunks behind those of the store hold other shoppers with the same catalog and the same behaviour. A user
    takes part with the first session of the days.

    Args:
        days: the first, and the one after the last.

    Raises:
        InputError: the days are not the world's, or fewer users come on them.
    """
    end = world.start_date + timedelta(days=world.days)
    if not world.start_date <= days[0] < days[1] <= end:
        raise InputError(f"{days[0]} to {days[1]} is not within the world's {world.start_date} to {end}")
    size = world.users_per_chunk
    first = -(-world.users // size)
    store = Store(world.model_copy(update={"users": (first + _MOST_CHUNKS) * size}))
    left = users
    for index in range(first, first + _MOST_CHUNKS):
        chunk = store.shoppers.chunk(index)
        sessions = _first_sessions(chunk, days)[:left]
        log = pl.from_arrow(store.events(chunk)).filter(pl.col("event_type").cast(pl.String) != IMPRESSION)
        names = pl.DataFrame({name: pl.from_arrow(each) for name, each in store.sessions(chunk).items()})
        for start in range(0, len(sessions), _USERS_AT_ONCE):
            yield store, _audience(chunk, sessions[start : start + _USERS_AT_ONCE], log, names)
        left -= len(sessions)
        if left <= 0:
            return
    raise InputError(f"only {users - left:,} new users come from {days[0]} to {days[1]}; ask for fewer")


def _first_sessions(chunk: Chunk, days: tuple[date, date]) -> np.ndarray:
    """The first session of every user on these days, rows of the chunk's."""
    moment = visits(chunk, np.arange(len(chunk.session_user))).time_us
    low, high = (int(datetime.combine(day, time(), UTC).timestamp()) * 1_000_000 for day in days)
    inside = np.flatnonzero((moment >= low) & (moment < high))
    by_time = inside[np.argsort(moment[inside], kind="stable")]
    _, first = np.unique(chunk.session_user[by_time], return_index=True)
    return by_time[first]


def _audience(chunk: Chunk, sessions: np.ndarray, log: pl.DataFrame, names: pl.DataFrame) -> Audience:
    at = visits(chunk, sessions)
    moments = names[sessions].with_columns(pl.Series("event_time", at.time_us).cast(pl.Datetime("us", "UTC")))
    until = moments.select("user_id", until="event_time")
    events = log.join(until, on="user_id", how="inner", maintain_order="left")
    return Audience(at, events.filter(pl.col("event_time") < pl.col("until")).drop("until"), moments)
