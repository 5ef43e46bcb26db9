"""One partition of sessions as arrays: every user's events in order, names as integer codes.

Labels and features are counts over these arrays. "Before" always means an earlier row of the same user: rows
are in (user, event time, arrival) order, which also settles ties in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.events import CONTEXT_PREFIX

KEYS = ("user_id", "session_id", "event_type", "item", "leaf", "advertiser")
ANCHOR_ONLY = ("brand", "price", "list_position")
SECOND = 1_000_000  # microseconds
_NAMES = pa.dictionary(pa.int32(), pa.string())


class Groups:
    """Rows grouped by a code, in row order inside each group: counts and positions of earlier rows."""

    def __init__(self, codes: np.ndarray):
        n = len(codes)
        self.order = np.argsort(codes, kind="stable")
        sorted_codes = codes[self.order]
        new = np.ones(n, bool)
        new[1:] = sorted_codes[1:] != sorted_codes[:-1]
        starts = np.flatnonzero(new)
        group = np.cumsum(new) - 1
        position = np.empty(n, np.int64)
        position[self.order] = np.arange(n)
        self._position = position
        self._start = starts[group] if n else starts
        self._end = np.append(starts[1:], n)[group] if n else starts

    def count_before(self, flag: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """How many earlier rows of the same group are flagged: int64 [len(rows)]."""
        running = np.concatenate(([0], np.cumsum(flag[self.order])))
        at = self._position[rows]
        return running[at] - running[self._start[at]]

    def latest_before(self, rows: np.ndarray, flag: np.ndarray | None = None) -> np.ndarray:
        """The latest earlier (flagged) row of the same group, or -1: int64 [len(rows)]."""
        at = self._position[rows]
        latest = at - 1
        if flag is not None:
            seen = np.maximum.accumulate(np.where(flag[self.order], np.arange(len(self.order)), -1))
            latest = np.where(latest >= 0, seen[latest], -1)
        return np.where(latest >= self._start[at], self.order[latest], -1)

    def first(self, rows: np.ndarray) -> np.ndarray:
        """The first row of each row's group."""
        return self.order[self._start[self._position[rows]]]

    def last(self, rows: np.ndarray) -> np.ndarray:
        """The last row of each row's group."""
        return self.order[self._end[self._position[rows]] - 1]


@dataclass(frozen=True)
class Timeline:
    """All events of some users, [n] rows in (user, time, arrival) order.

    Attributes:
        time: microseconds since the epoch, UTC.
        day: days since the epoch in the store's time zone; `hour` and `weekday` (Monday 0) likewise.
        user, session, item, leaf, advertiser: codes; a session is a (user, session_id) pair.
        names: what the codes of user_id, session_id, item, leaf and advertiser stand for.
        is_click: counts as a click and is not a twin of one.
        in_eval: the row belongs to the eval split.
        columns: brand, price, list_position and context_* as stored, for rows picked by number.
    """

    time: np.ndarray
    day: np.ndarray
    hour: np.ndarray
    weekday: np.ndarray
    user: np.ndarray
    session: np.ndarray
    session_name: np.ndarray
    item: np.ndarray
    leaf: np.ndarray
    advertiser: np.ndarray
    event_type: np.ndarray
    is_click: np.ndarray
    in_eval: np.ndarray
    names: dict[str, pa.Array]
    columns: dict[str, pa.Array]

    def __len__(self) -> int:
        return len(self.time)

    def of_type(self, event_type: str) -> np.ndarray:
        """Which rows are of an event type: bool [n]."""
        known = self.names["event_type"].to_pylist()
        return (
            self.event_type == known.index(event_type) if event_type in known else np.zeros(len(self), bool)
        )

    def coded(self, key: str, rows: np.ndarray) -> pa.DictionaryArray:
        """Item, leaf, advertiser or event type of some rows, dictionary-encoded."""
        return pa.DictionaryArray.from_arrays(pa.array(getattr(self, key)[rows]), self.names[key])

    def strings(self, key: str, rows: np.ndarray) -> pa.Array:
        """Names of a key column at some rows."""
        codes = {"user_id": self.user, "session_id": self.session_name}.get(key)
        return self.names[key].take(pa.array((getattr(self, key) if codes is None else codes)[rows]))

    @cached_property
    def by_user(self) -> Groups:
        return Groups(self.user)

    @cached_property
    def by_session(self) -> Groups:
        return Groups(self.session)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct times, increasing, and which of them each row has, [n]."""
        return np.unique(self.time, return_inverse=True)

    def pair(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """One code for two, both below the number of rows: int64."""
        return one.astype(np.int64) * (len(self) + 1) + other


def read_timeline(
    train: Path | None, evaluation: Path | None, time_zone: str, with_features: bool = True
) -> Timeline:
    """The timeline of the users of one partition, from its file in each split; a missing file has no rows.

    Args:
        train, evaluation: Parquet files of session rows (schemas.events.SESSION_COLUMNS).
        time_zone: where days begin.
        with_features: also read the columns that only features need.
    """
    tables = [
        _read(path, with_features) if path is not None and path.exists() else None
        for path in (train, evaluation)
    ]
    return timeline(tables[0], tables[1], time_zone)


def timeline(train: pa.Table | None, evaluation: pa.Table | None, time_zone: str) -> Timeline:
    """The timeline of session rows in memory; see `read_timeline`."""
    tables = [table for table in (train, evaluation) if table is not None]
    if not tables:
        raise ValueError("a timeline needs the rows of at least one split")
    in_eval = np.concatenate([np.full(len(t), t is evaluation) for t in tables])
    coded = {key: _code([t[key] for t in tables]) for key in KEYS}
    time = np.concatenate([t["event_time"].cast(pa.int64()).to_numpy() for t in tables])
    is_click = np.concatenate([t["is_click"].to_numpy() for t in tables]).astype(bool)
    others = [
        name for name in tables[0].column_names if name in ANCHOR_ONLY or name.startswith(CONTEXT_PREFIX)
    ]
    columns = {
        name: pa.concat_arrays([chunk for t in tables for chunk in _plain(t[name]).chunks]) for name in others
    }
    codes = {key: code for key, (code, _) in coded.items()}
    # Train rows come first and are older, so a stable sort keeps the order of arrival.
    order = _order(codes["user_id"], time)
    if order is not None:
        codes = {key: code[order] for key, code in codes.items()}
        time, is_click, in_eval = time[order], is_click[order], in_eval[order]
        columns = {name: column.take(pa.array(order)) for name, column in columns.items()}
    local = pl.Series(time).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(time_zone)
    return Timeline(
        time=time,
        day=local.dt.date().to_physical().to_numpy(),
        hour=local.dt.hour().to_numpy(),
        weekday=local.dt.weekday().to_numpy() - 1,
        user=codes["user_id"],
        session=_dense(codes["user_id"].astype(np.int64) * len(coded["session_id"][1]) + codes["session_id"]),
        session_name=codes["session_id"],
        item=codes["item"],
        leaf=codes["leaf"],
        advertiser=codes["advertiser"],
        event_type=codes["event_type"],
        is_click=is_click,
        in_eval=in_eval,
        names={key: names for key, (_, names) in coded.items()},
        columns=columns,
    )


def ranges(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Owner and element of every element of [low_k, high_k), k = 0, 1, ...: two int64 [sum(high - low)]."""
    length = high - low
    owner = np.repeat(np.arange(len(low)), length)
    first = np.cumsum(length) - length
    return owner, np.arange(len(owner)) - first[owner] + low[owner]


def _read(path: Path, with_features: bool) -> pa.Table:
    file = pq.ParquetFile(path, read_dictionary=list(KEYS))
    wanted = [*KEYS, "event_time", "is_click"]
    if with_features:
        context = [name for name in file.schema_arrow.names if name.startswith(CONTEXT_PREFIX)]
        wanted += [*ANCHOR_ONLY, *context]
    return file.read(columns=wanted)


def _code(columns: Sequence[pa.ChunkedArray]) -> tuple[np.ndarray, pa.Array]:
    chunks = [chunk for column in columns for chunk in _dictionary(column).chunks]
    if not chunks:
        return np.array([], np.int32), pa.array([], pa.string())
    whole = pa.chunked_array(chunks, _NAMES).unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0)
    return whole.indices.to_numpy(zero_copy_only=False), whole.dictionary


def _dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    return column.cast(_NAMES)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    return column if column.num_chunks else pa.chunked_array([pa.array([], column.type)])


def _dense(codes: np.ndarray) -> np.ndarray:
    return np.unique(codes, return_inverse=True)[1]


def _order(user: np.ndarray, time: np.ndarray) -> np.ndarray | None:
    """The stable order by (user, time), or None if the rows are in it."""
    step, same = np.diff(user), user[1:] == user[:-1]
    if np.all(step >= 0) and np.all(time[1:][same] >= time[:-1][same]):
        return None
    return np.lexsort((time, user))
