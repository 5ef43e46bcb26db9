"""Co-engagement sums: all that the logs say about relatedness, additive over users.

Each leaf category (or item) c is a vector v_c over users (or sessions) of weighted interaction counts (CABB
eq. 1). Users never span partitions, so the Gram matrix V'V is the sum of the partitions' own, and what is
computed from it is exact however the data are split.

Leaves without a category (`__unknown__`) take no part: the missing category says nothing about what the items
have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    Attributes:
        names: sorted, of the leaves or items, [n].
        users, events: who engaged with each and how many weighted events they made, int64 [n].
        squares: diagonal of V'V, float64 [n].
        i, j: upper triangle (i < j) of the pairs that anyone engaged with both of, int32 [m], in row-major
            order.
        dot: off-diagonal of V'V, float64 [m]. Exact whatever the order of merging if the event weights are
            integers.
        both: who engaged with both, int64 [m].
    """

    names: np.ndarray
    users: np.ndarray
    events: np.ndarray
    squares: np.ndarray
    i: np.ndarray
    j: np.ndarray
    dot: np.ndarray
    both: np.ndarray

    @staticmethod
    def of(rows: pl.DataFrame, settings: SimilaritySettings, level: Level = "leaf") -> CoEngagement:
        """Sums over the session rows of one partition.

        Args:
            rows: columns `columns_read(level)`.
        """
        keys = unit_keys(settings)
        engaged = engagement(rows, settings, level).sort(*keys, level)
        names = engaged[level].unique().sort()
        column = names.search_sorted(engaged[level]).to_numpy().astype(np.int32)
        row = engaged.select(pl.struct(keys).rle_id()).to_series().to_numpy()
        shape = (int(row[-1]) + 1 if len(row) else 0, len(names))
        vectors = sparse.csr_matrix((engaged["weight"].to_numpy(), (row, column)), shape=shape)
        marks = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=shape)
        gram = _sorted_upper(vectors.T @ vectors)
        together = _sorted_upper(marks.T @ marks)
        counted = np.bincount(column, weights=engaged["events"].to_numpy(), minlength=len(names))
        return CoEngagement(
            names=names.to_numpy().astype(object),
            users=np.bincount(column, minlength=len(names)).astype(np.int64),
            events=counted.astype(np.int64),
            squares=np.asarray(vectors.multiply(vectors).sum(axis=0), dtype=np.float64).ravel(),
            i=gram.row.astype(np.int32),
            j=gram.col.astype(np.int32),
            dot=gram.data.astype(np.float64),
            both=together.data.astype(np.int64),
        )

    @staticmethod
    def merge(parts: Sequence[CoEngagement]) -> CoEngagement:
        """The sums of all parts; leaves or items are matched by name."""
        if len(parts) == 1:
            return parts[0]
        names = np.unique(np.concatenate([part.names for part in parts] or [np.array([], dtype=object)]))
        n = len(names)
        at = [np.searchsorted(names, part.names) for part in parts]
        place = np.concatenate([*at, np.array([], dtype=np.int64)]).astype(np.int64)

        def total(name: str) -> np.ndarray:
            values = np.concatenate([getattr(part, name) for part in parts] or [np.array([])])
            return np.bincount(place, weights=values, minlength=n)

        # Names map in sorted order, so i < j holds after the renumbering.
        key = np.concatenate(
            [a[part.i].astype(np.int64) * n + a[part.j] for a, part in zip(at, parts, strict=True)]
            or [np.array([], dtype=np.int64)]
        )
        pairs, where = np.unique(key, return_inverse=True)
        dots = np.concatenate([part.dot for part in parts] or [np.array([])])
        boths = np.concatenate([part.both for part in parts] or [np.array([])])
        return CoEngagement(
            names=names,
            users=total("users").astype(np.int64),
            events=total("events").astype(np.int64),
            squares=total("squares"),
            i=(pairs // max(n, 1)).astype(np.int32),
            j=(pairs % max(n, 1)).astype(np.int32),
            dot=np.bincount(where, weights=dots, minlength=len(pairs)),
            both=np.bincount(where, weights=boths, minlength=len(pairs)).astype(np.int64),
        )

    def to_bytes(self) -> bytes:
        """Two Arrow tables, one after the other, for travel between workers."""
        alone = pa.table(
            {
                "name": pa.array(self.names, pa.string()),
                "users": self.users,
                "events": self.events,
                "squares": self.squares,
            }
        )
        pairs = pa.table({"i": self.i, "j": self.j, "dot": self.dot, "both": self.both})
        sink = pa.BufferOutputStream()
        for table in (alone, pairs):
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        return sink.getvalue().to_pybytes()

    @staticmethod
    def from_bytes(data: bytes) -> CoEngagement:
        """Reads what `to_bytes` wrote."""
        source = pa.BufferReader(data)
        alone, pairs = (pa.ipc.open_stream(source).read_all() for _ in range(2))
        names = np.array(alone["name"].to_pylist(), dtype=object)
        sums = {name: alone[name].to_numpy() for name in ("users", "events", "squares")}
        return CoEngagement(
            names=names, **sums, **{name: pairs[name].to_numpy() for name in pairs.column_names}
        )


def columns_read(level: Level) -> list[str]:
    """What the sums need of a session row."""
    return ["user_id", "session_id", "event_type", "is_click", level]


def unit_keys(settings: SimilaritySettings) -> list[str]:
    """The columns that tell one coordinate of v_c from another."""
    return ["user_id"] if settings.unit == "user" else ["user_id", "session_id"]


def engagement(rows: pl.DataFrame, settings: SimilaritySettings, level: Level) -> pl.DataFrame:
    """The non-zero coordinates of all v_c: a row per (unit, leaf or item).

    Returns:
        `unit_keys`, the level, `weight` (float64, above 0) and `events`; in no order.
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
    keys = unit_keys(settings)
    return (
        rows.lazy()
        .select(*keys, pl.col(level).cast(pl.String), weight.alias("weight"))
        .filter((pl.col("weight") > 0) & (pl.col(level) != UNKNOWN))
        .group_by(*keys, level)
        .agg(pl.col("weight").sum(), pl.len().alias("events"))
        .collect()
    )


def _sorted_upper(square: sparse.spmatrix) -> sparse.coo_matrix:
    upper = sparse.triu(square, k=1, format="csr")
    upper.sort_indices()
    return upper.tocoo()
