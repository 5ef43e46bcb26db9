"""Category relatedness S: co-engagement sums that merge across partitions, and the table of S.

Each leaf category c is a vector v_c over users (or sessions) of weighted interaction counts (CABB eq. 1); S
is the cosine of those vectors (CABB eq. 2). Users never span partitions, so the Gram matrix V'V is the sum
of the partitions' own, and S is exact however the data are split.

Items without a category (`__unknown__`) are related to nothing, each other included: the missing category
says nothing about what the items have in common. They take no part in the sums and look up as 0.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from schemas.events import CLICK, UNKNOWN

SESSION_COLUMNS_READ = ("user_id", "session_id", "event_type", "leaf", "is_click")
"""What the sums need of a session row."""


class Related(NamedTuple):
    """One category beside another: their cosine and the evidence for it, in users (or sessions)."""

    leaf: str
    cosine: float
    support: int  # who engaged with this leaf
    both: int  # who engaged with both


@dataclass(frozen=True)
class CoEngagement:
    """Additive sums over users: what S is computed from. `merge` of partitions equals the sums of the whole.

    Attributes:
        leaves: sorted names, [n].
        users, events: who engaged with a leaf and how many weighted events they made, int64 [n].
        squares: diagonal of V'V, float64 [n].
        i, j: upper triangle (i < j) of the pairs that anyone engaged with both of, int32 [m], in row-major
            order.
        dot: off-diagonal of V'V, float64 [m]. Exact whatever the order of merging if the event weights are
            integers.
        both: who engaged with both, int64 [m].
    """

    leaves: np.ndarray
    users: np.ndarray
    events: np.ndarray
    squares: np.ndarray
    i: np.ndarray
    j: np.ndarray
    dot: np.ndarray
    both: np.ndarray

    @staticmethod
    def of(rows: pl.DataFrame, unit: str, event_weights: dict[str, float]) -> CoEngagement:
        """Sums over the session rows of one partition.

        Args:
            rows: columns SESSION_COLUMNS_READ.
            unit: "user" or "session", the coordinates of v_c.
            event_weights: w of eq. 1. `click` weighs rows with `is_click`; any other name weighs rows of
                that event type. Types without a weight, and the twin rows of a click, do not count.
        """
        others = {name: weight for name, weight in event_weights.items() if name != CLICK}
        weight = (
            pl.when(pl.col("is_click"))
            .then(float(event_weights.get(CLICK, 0.0)))
            .otherwise(
                pl.col("event_type")
                .cast(pl.String)
                .replace_strict(list(others), list(others.values()), default=0.0, return_dtype=pl.Float64)
                if others
                else 0.0
            )
        )
        keys = ["user_id"] if unit == "user" else ["user_id", "session_id"]
        engaged = (
            rows.lazy()
            .select(*keys, pl.col("leaf").cast(pl.String), weight.alias("weight"))
            .filter((pl.col("weight") > 0) & (pl.col("leaf") != UNKNOWN))
            .group_by(*keys, "leaf")
            .agg(pl.col("weight").sum(), pl.len().alias("events"))
            .sort(*keys, "leaf")
            .collect()
        )
        leaves = engaged["leaf"].unique().sort()
        column = leaves.search_sorted(engaged["leaf"]).to_numpy().astype(np.int32)
        row = engaged.select(pl.struct(keys).rle_id()).to_series().to_numpy()
        shape = (int(row[-1]) + 1 if len(row) else 0, len(leaves))
        vectors = sparse.csr_matrix((engaged["weight"].to_numpy(), (row, column)), shape=shape)
        marks = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=shape)
        gram = _sorted_upper(vectors.T @ vectors)
        together = _sorted_upper(marks.T @ marks)
        counted = np.bincount(column, weights=engaged["events"].to_numpy(), minlength=len(leaves))
        return CoEngagement(
            leaves=leaves.to_numpy().astype(object),
            users=np.bincount(column, minlength=len(leaves)).astype(np.int64),
            events=counted.astype(np.int64),
            squares=np.asarray(vectors.multiply(vectors).sum(axis=0), dtype=np.float64).ravel(),
            i=gram.row.astype(np.int32),
            j=gram.col.astype(np.int32),
            dot=gram.data.astype(np.float64),
            both=together.data.astype(np.int64),
        )

    @staticmethod
    def merge(parts: Sequence[CoEngagement]) -> CoEngagement:
        """The sums of all parts; leaves are matched by name."""
        if len(parts) == 1:
            return parts[0]
        leaves = np.unique(np.concatenate([part.leaves for part in parts] or [np.array([], dtype=object)]))
        n = len(leaves)
        at = [np.searchsorted(leaves, part.leaves) for part in parts]
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
            leaves=leaves,
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
        leaves = pa.table(
            {
                "leaf": pa.array(self.leaves, pa.string()),
                "users": self.users,
                "events": self.events,
                "squares": self.squares,
            }
        )
        pairs = pa.table({"i": self.i, "j": self.j, "dot": self.dot, "both": self.both})
        sink = pa.BufferOutputStream()
        for table in (leaves, pairs):
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        return sink.getvalue().to_pybytes()

    @staticmethod
    def from_bytes(data: bytes) -> CoEngagement:
        """Reads what `to_bytes` wrote."""
        source = pa.BufferReader(data)
        leaves, pairs = (pa.ipc.open_stream(source).read_all() for _ in range(2))
        names = np.array(leaves["leaf"].to_pylist(), dtype=object)
        sums = {name: leaves[name].to_numpy() for name in ("users", "events", "squares")}
        return CoEngagement(
            leaves=names, **sums, **{name: pairs[name].to_numpy() for name in pairs.column_names}
        )


def _sorted_upper(square: sparse.spmatrix) -> sparse.coo_matrix:
    upper = sparse.triu(square, k=1, format="csr")
    upper.sort_indices()
    return upper.tocoo()


@dataclass(frozen=True)
class SimilarityTable:
    """S over leaf categories: symmetric, in [0, 1], 1 on the diagonal.

    Attributes:
        leaves: sorted names, [n].
        users, events: support of each leaf, int64 [n].
        i, j: stored pairs, i < j, int32 [m], in row-major order.
        cosine: float32 [m], above 0.
        both: users who engaged with both leaves, int64 [m].
        otherwise: S of two different leaves that are not stored: 0, or 1 in the static scheme. Also what
            `__unknown__` gets with anything, itself included.
        meta: how the table was made, free-form.
    """

    leaves: np.ndarray
    users: np.ndarray
    events: np.ndarray
    i: np.ndarray
    j: np.ndarray
    cosine: np.ndarray
    both: np.ndarray
    otherwise: float
    meta: dict[str, Any]

    def lookup(self, leaves_a: Any, leaves_b: Any) -> np.ndarray:
        """S of each pair of names, elementwise: float32 [len]. Takes NumPy, Arrow or Polars strings."""
        a, b = _as_strings(leaves_a), _as_strings(leaves_b)
        known = pa.array(self.leaves, pa.string())
        at_a, at_b = (pc.fill_null(pc.index_in(names, known), -1).to_numpy(False) for names in (a, b))
        value = np.full(len(a), self.otherwise, np.float32)
        low, high = np.minimum(at_a, at_b).astype(np.int64), np.maximum(at_a, at_b)
        if len(self.i) and len(a):
            stored = self.i.astype(np.int64) * len(self.leaves) + self.j
            wanted = low * len(self.leaves) + high
            at = np.minimum(np.searchsorted(stored, wanted), len(stored) - 1)
            hit = (low >= 0) & (stored[at] == wanted)
            value[hit] = self.cosine[at[hit]]
        same = pc.and_(pc.equal(a, b), pc.not_equal(a, UNKNOWN)).to_numpy(False)
        value[same] = 1.0
        return value

    def top(self, leaf: str, k: int = 10) -> list[Related]:
        """The k leaves most related to one, best first; ties by name. Empty if the leaf has no relation.

        Raises:
            KeyError: the leaf is not in the table.
        """
        at = int(np.searchsorted(self.leaves, leaf)) if len(self.leaves) else 0
        if at >= len(self.leaves) or self.leaves[at] != leaf:
            raise KeyError(leaf)
        mine = np.flatnonzero((self.i == at) | (self.j == at))
        other = np.where(self.i[mine] == at, self.j[mine], self.i[mine])
        best = np.lexsort((other, -self.cosine[mine]))[:k]
        return [
            Related(str(self.leaves[o]), float(self.cosine[m]), int(self.users[o]), int(self.both[m]))
            for m, o in zip(mine[best], other[best], strict=True)
        ]

    def save(self, directory: str | Path) -> None:
        """Writes leaves.parquet, pairs.parquet and meta.json; each appears whole or not at all."""
        home = Path(directory)
        home.mkdir(parents=True, exist_ok=True)
        leaves = pa.table(
            {"leaf": pa.array(self.leaves, pa.string()), "users": self.users, "events": self.events}
        )
        pairs = pa.table({"i": self.i, "j": self.j, "cosine": self.cosine, "both": self.both})
        for name, table in (("leaves", leaves), ("pairs", pairs)):
            pq.write_table(table, home / f".{name}.parquet.tmp", compression="zstd")
            os.replace(home / f".{name}.parquet.tmp", home / f"{name}.parquet")
        meta = {**self.meta, "otherwise": self.otherwise, "leaves": len(self.leaves), "pairs": len(self.i)}
        (home / ".meta.json.tmp").write_text(
            json.dumps(meta, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
        os.replace(home / ".meta.json.tmp", home / "meta.json")

    @staticmethod
    def load(directory: str | Path) -> SimilarityTable:
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: the directory does not hold a similarity table.
        """
        home = Path(directory)
        meta = json.loads((home / "meta.json").read_text(encoding="utf-8"))
        otherwise = float(meta.pop("otherwise"))
        leaves, pairs = pq.read_table(home / "leaves.parquet"), pq.read_table(home / "pairs.parquet")
        return SimilarityTable(
            leaves=np.array(leaves["leaf"].to_pylist(), dtype=object),
            users=leaves["users"].to_numpy(),
            events=leaves["events"].to_numpy(),
            **{name: pairs[name].to_numpy() for name in ("i", "j", "cosine", "both")},
            otherwise=otherwise,
            meta={key: value for key, value in meta.items() if key not in ("leaves", "pairs")},
        )


def _as_strings(names: Any) -> pa.Array:
    if isinstance(names, pl.Series):
        names = names.cast(pl.String).to_arrow()
    array = names if isinstance(names, pa.Array | pa.ChunkedArray) else pa.array(names, pa.string())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.cast(pa.string())
