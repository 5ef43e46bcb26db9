"""Co-engagement sums: all that the logs say about relatedness, additive over users.

Each leaf category (or item) c is a vector v_c over users (or sessions) of weighted interaction counts (CABB
eq. 1). Users never span partitions, so the Gram matrix V'V is the sum of the partitions' own, and what is
computed from it is exact however the data are split.

Leaves without a category (`__unknown__`) take no part: the missing category says nothing about what the items
have in common.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa
from scipy import sparse

from components.category_similarity.settings import SimilaritySettings
from schemas.events import CLICK, UNKNOWN

Level = Literal["leaf", "item"]
"""What is related: a column of the session rows."""


@dataclass(frozen=True)
class CoEngagement:
    """Additive sums over users: what S is computed from. `merge` of partitions equals the sums of the whole.

    IDF damping scales user u by L - l_u, with L = 1 + ln(1 + n) and l_u = ln(1 + leaves that u engaged with)
    (the smoothed IDF of scikit-learn's TfidfTransformer). n is known only after the last merge, so the sums
    that travel are the moments V' diag(l)^k V, k = 0, 1, 2, of which the damped Gram matrix is
    L^2 (k = 0) - 2 L (k = 1) + (k = 2). Without damping there is only k = 0.

    Time decay weighs an event at t half-lives since 1970 by 2^(t - epoch). Each partition has the epoch of
    its own last event, and merging scales to the latest, so no weight overflows.

    Attributes:
        names: sorted, of the leaves or items, [n].
        users, events: who engaged with each and how many weighted events they made, int64 [n].
        squares: diagonal of the moments, float64 [k, n].
        i, j: upper triangle (i < j) of the pairs that anyone engaged with both of, int32 [m], in row-major
            order.
        dot: off-diagonal of the moments, float64 [k, m]. Without damping and decay exact whatever the order
            of merging, if the event weights are integers.
        both: who engaged with both, int64 [m].
        epoch: half-lives since 1970 at which an event has its full weight; 0 without decay.
    """

    names: np.ndarray
    users: np.ndarray
    events: np.ndarray
    squares: np.ndarray
    i: np.ndarray
    j: np.ndarray
    dot: np.ndarray
    both: np.ndarray
    epoch: float = 0.0

    @staticmethod
    def of(rows: pl.DataFrame, settings: SimilaritySettings, level: Level = "leaf") -> CoEngagement:
        """Sums over the session rows of one partition.

        Args:
            rows: columns `columns_read(level)`.
        """
        keys = unit_keys(settings)
        epoch = last_epoch(rows, settings)
        engaged = engagement(rows, settings, level, epoch).sort(*keys, level)
        names = engaged[level].unique().sort()
        column = names.search_sorted(engaged[level]).to_numpy().astype(np.int32)
        row = engaged.select(pl.struct(keys).rle_id()).to_series().to_numpy()
        shape = (int(row[-1]) + 1 if len(row) else 0, len(names))
        weight = engaged["weight"].to_numpy()
        vectors = sparse.csr_matrix((weight, (row, column)), shape=shape)
        spread = log_spread(np.bincount(row))[row] if len(row) else weight
        moments = [spread**k for k in range(1 if settings.damping == "none" else 3)]
        grams = [
            _sorted_upper(sparse.csr_matrix((weight * moment, (row, column)), shape=shape).T @ vectors)
            for moment in moments
        ]
        marks = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=shape)
        counted = np.bincount(column, weights=engaged["events"].to_numpy(), minlength=len(names))
        return CoEngagement(
            names=names.to_numpy().astype(object),
            users=np.bincount(column, minlength=len(names)).astype(np.int64),
            events=counted.astype(np.int64),
            squares=np.stack(
                [np.bincount(column, weight**2 * moment, minlength=len(names)) for moment in moments]
            ),
            i=grams[0].row.astype(np.int32),
            j=grams[0].col.astype(np.int32),
            dot=np.stack([gram.data for gram in grams]),
            both=_sorted_upper(marks.T @ marks).data.astype(np.int64),
            epoch=epoch,
        )

    @staticmethod
    def nothing(names: Iterable[str], settings: SimilaritySettings) -> CoEngagement:
        """Names that nobody engaged with, so that a merge knows of them."""
        known = np.array(sorted(set(names) - {UNKNOWN}), dtype=object)
        moments = 1 if settings.damping == "none" else 3
        zeros, none = np.zeros(len(known), np.int64), np.array([], np.int32)
        return CoEngagement(
            names=known,
            users=zeros,
            events=zeros,
            squares=np.zeros((moments, len(known))),
            i=none,
            j=none,
            dot=np.zeros((moments, 0)),
            both=none.astype(np.int64),
            epoch=-math.inf if settings.half_life_days else 0.0,
        )

    @staticmethod
    def merge(parts: Sequence[CoEngagement]) -> CoEngagement:
        """The sums of all parts, at least one; leaves or items are matched by name."""
        if len(parts) == 1:
            return parts[0]
        names = np.unique(np.concatenate([part.names for part in parts]))
        n = len(names)
        at = [np.searchsorted(names, part.names) for part in parts]
        place = np.concatenate(at)
        epoch = max(part.epoch for part in parts)
        # Products of two weights, so the scale counts twice.
        scale = [1.0 if part.epoch == epoch else 4.0 ** (part.epoch - epoch) for part in parts]

        def total(values: list[np.ndarray], where: np.ndarray, size: int) -> np.ndarray:
            return np.bincount(where, weights=np.concatenate(values), minlength=size)

        # Names map in sorted order, so i < j holds after the renumbering.
        key = np.concatenate(
            [a[part.i].astype(np.int64) * n + a[part.j] for a, part in zip(at, parts, strict=True)]
        )
        pairs, where = np.unique(key, return_inverse=True)
        scaled = list(zip(parts, scale, strict=True))
        moments = range(len(parts[0].dot))
        return CoEngagement(
            names=names,
            users=total([part.users for part in parts], place, n).astype(np.int64),
            events=total([part.events for part in parts], place, n).astype(np.int64),
            squares=np.stack([total([p.squares[k] * by for p, by in scaled], place, n) for k in moments]),
            i=(pairs // max(n, 1)).astype(np.int32),
            j=(pairs % max(n, 1)).astype(np.int32),
            dot=np.stack([total([p.dot[k] * by for p, by in scaled], where, len(pairs)) for k in moments]),
            both=total([part.both for part in parts], where, len(pairs)).astype(np.int64),
            epoch=epoch,
        )

    def damped(self, moments: np.ndarray) -> np.ndarray:
        """`squares` or `dot` as the damped sum (the plain one without damping): float64 [n] or [m]."""
        if len(moments) == 1:
            return moments[0]
        whole = 1.0 + log_spread(np.array(len(self.names)))
        return whole**2 * moments[0] - 2.0 * whole * moments[1] + moments[2]

    def to_bytes(self) -> bytes:
        """Two Arrow tables, one after the other, for travel between workers."""
        alone = {"name": pa.array(self.names, pa.string()), "users": self.users, "events": self.events}
        pairs = {"i": self.i, "j": self.j, "both": self.both}
        for k, (square, dot) in enumerate(zip(self.squares, self.dot, strict=True)):
            alone[f"squares_{k}"], pairs[f"dot_{k}"] = square, dot
        sink = pa.BufferOutputStream()
        for columns in (alone, pairs):
            table = pa.table(columns).replace_schema_metadata({"epoch": self.epoch.hex()})
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        return sink.getvalue().to_pybytes()

    @staticmethod
    def from_bytes(data: bytes) -> CoEngagement:
        """Reads what `to_bytes` wrote."""
        source = pa.BufferReader(data)
        alone, pairs = (pa.ipc.open_stream(source).read_all() for _ in range(2))

        def moments(table: pa.Table, name: str) -> np.ndarray:
            return np.stack([table[c].to_numpy() for c in table.column_names if c.startswith(name)])

        return CoEngagement(
            names=np.array(alone["name"].to_pylist(), dtype=object),
            users=alone["users"].to_numpy(),
            events=alone["events"].to_numpy(),
            squares=moments(alone, "squares_"),
            i=pairs["i"].to_numpy(),
            j=pairs["j"].to_numpy(),
            dot=moments(pairs, "dot_"),
            both=pairs["both"].to_numpy(),
            epoch=float.fromhex(alone.schema.metadata[b"epoch"].decode()),
        )


def columns_read(level: Level) -> list[str]:
    """What the sums need of a session row."""
    return ["user_id", "session_id", "event_time", "event_type", "is_click", level]


def unit_keys(settings: SimilaritySettings) -> list[str]:
    """The columns that tell one coordinate of v_c from another."""
    return ["user_id"] if settings.unit == "user" else ["user_id", "session_id"]


def log_spread(leaves: np.ndarray) -> np.ndarray:
    """l of the IDF: ln(1 + leaves)."""
    return np.log1p(leaves)


def last_epoch(rows: pl.DataFrame, settings: SimilaritySettings) -> float:
    """Half-lives from 1970 to the last event; 0 without decay."""
    if not settings.half_life_days:
        return 0.0
    last = rows.select(_half_lives(settings).max()).item()
    return -math.inf if last is None else last


def engagement(rows: pl.DataFrame, settings: SimilaritySettings, level: Level, epoch: float) -> pl.DataFrame:
    """The non-zero coordinates of all v_c: a row per (unit, leaf or item).

    Args:
        epoch: when an event has its full weight (time decay only).

    Returns:
        `unit_keys`, the level, `weight` (float64, above 0, not damped) and `events`; in no order.
    """
    others = {name: weight for name, weight in settings.event_weights.items() if name != CLICK}
    # A row that `is_click` weighs as a click whatever its type; the twin rows of a click do not count.
    weight = (
        pl.when(pl.col("is_click"))
        .then(float(settings.event_weights.get(CLICK, 0.0)))
        .otherwise(
            pl.col("event_type")
            .cast(pl.String)
            .replace_strict(list(others), list(others.values()), default=0.0, return_dtype=pl.Float64)
            if others
            else 0.0
        )
    )
    if settings.half_life_days:
        weight = weight * pl.lit(2.0).pow(_half_lives(settings) - epoch)
    keys = unit_keys(settings)
    return (
        rows.lazy()
        .select(*keys, pl.col(level).cast(pl.String), weight.alias("weight"))
        .filter((pl.col("weight") > 0) & (pl.col(level) != UNKNOWN))
        .group_by(*keys, level)
        .agg(pl.col("weight").sum(), pl.len().alias("events"))
        .collect()
    )


def find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted key is among sorted distinct ones, -1 if it is not: int64 [len(wanted)]."""
    if not len(keys):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)


def _half_lives(settings: SimilaritySettings) -> pl.Expr:
    return pl.col("event_time").dt.epoch("us") / (settings.half_life_days * 86_400e6)


def _sorted_upper(square: sparse.spmatrix) -> sparse.coo_matrix:
    upper = sparse.triu(square, k=1, format="csr")
    upper.sort_indices()
    return upper.tocoo()
