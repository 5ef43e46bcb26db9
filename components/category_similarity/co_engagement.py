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
        epoch = last_epoch(rows, settings)
        engaged = engagement(rows, settings, level, epoch)
        column, known = _codes(engaged[level])
        names = np.sort(known.astype(object))
        column = np.searchsorted(names, known)[column]
        row, _ = _codes(engaged["user_id"])
        if settings.unit == "session":
            session, sessions = _codes(engaged["session_id"])
            row = np.unique(row * len(sessions) + session, return_inverse=True)[1]
        weight = engaged["weight"].to_numpy()
        spread = log_spread(np.bincount(row))[row]
        moments = [spread**k for k in range(1 if settings.damping == "none" else 3)]
        n = len(names)
        i, j, products = _upper_products(
            row, column, n, [(weight * moment, weight) for moment in moments] + [(np.ones(len(row)),) * 2]
        )
        return CoEngagement(
            names=names,
            users=np.bincount(column, minlength=n).astype(np.int64),
            events=np.bincount(column, engaged["events"].to_numpy(), minlength=n).astype(np.int64),
            squares=np.stack([np.bincount(column, weight**2 * moment, minlength=n) for moment in moments]),
            i=i,
            j=j,
            dot=np.stack(products[:-1]),
            both=products[-1].astype(np.int64),
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
        `unit_keys`, the level, `weight` (float64, above 0, not damped) and `events`, in order of appearance.
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
        .select(*keys, level, weight.alias("weight"))
        .filter((pl.col("weight") > 0) & (pl.col(level) != UNKNOWN))
        .group_by(*keys, level, maintain_order=True)
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


def _codes(values: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values in order of appearance: position of each value among them, int64 [n], and they."""
    coded = values.cast(pl.String).rechunk().to_arrow().dictionary_encode()
    return (
        coded.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        coded.dictionary.to_numpy(zero_copy_only=False),
    )


def _upper_products(
    row: np.ndarray, column: np.ndarray, n: int, data: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """A'B above the diagonal for each (A, B) of values at the same (row, column).

    Returns:
        i, j: int32 [m] in row-major order, and the values of every product, float64 [m].
    """
    shape = (int(row.max(initial=-1)) + 1, n)
    place = sparse.csr_matrix((np.arange(len(row)), (row, column)), shape=shape)

    def matrix(values: np.ndarray) -> sparse.csr_matrix:
        return sparse.csr_matrix((values[place.data], place.indices, place.indptr), shape=shape)

    products = [matrix(a).T @ matrix(b) for a, b in data]
    # The same cells are filled in the same order in all of them, so one sorting serves all.
    first = products[0]
    number = sparse.csr_matrix((np.arange(first.nnz) + 1, first.indices, first.indptr), shape=(n, n))
    upper = sparse.triu(number, k=1, format="csr")
    upper.sort_indices()
    cells = upper.tocoo()
    return (
        cells.row.astype(np.int32),
        cells.col.astype(np.int32),
        [product.data[cells.data - 1] for product in products],
    )
