"""Relatedness S, as the labels use it: a table over leaf categories and, in some schemes, item embeddings.

Items without a category (`__unknown__`) are related to nothing, each other included: the missing category
says nothing about what the items have in common.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.category_similarity.co_engagement import CoEngagement, find
from components.category_similarity.item_vectors import ItemVectors
from components.category_similarity.leave_user_out import UserEffect
from components.category_similarity.settings import SimilaritySettings
from schemas.events import UNKNOWN


class Related(NamedTuple):
    """One category beside another: their relatedness and the evidence for it, in users (or sessions)."""

    leaf: str
    cosine: float
    support: int  # who engaged with this leaf
    both: int  # who engaged with both


class Support(NamedTuple):
    """The evidence for a pair of leaves: users (or sessions) of a, of b, and of both."""

    a: int
    b: int
    both: int


@dataclass(frozen=True)
class ProductPairs:
    """Clicked (a) and bought (b) products, elementwise, as dictionary-encoded strings [q].

    `user` of each pair is in the values of the rows that `alpha` is given.
    """

    user: np.ndarray
    leaf_a: pa.DictionaryArray
    leaf_b: pa.DictionaryArray
    item_a: pa.DictionaryArray
    item_b: pa.DictionaryArray


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
        items: embeddings that answer for pairs of items before the table does.
        sums: what S was computed from, kept when users are to be left out of it.
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
    items: ItemVectors | None = None
    sums: CoEngagement | None = None

    @property
    def settings(self) -> SimilaritySettings:
        """What the table was learned with."""
        return SimilaritySettings(**self.meta.get("settings", {}))

    def alpha(self, pairs: ProductPairs, rows: Callable[[], pl.DataFrame]) -> np.ndarray:
        """S of clicked and bought products (CABB eq. 3): by item where both have embeddings, else by leaf.

        Args:
            rows: the training rows of the pairs' users, with the columns that the sums need; asked for only
                if the user of a pair is to be left out.

        Returns:
            float32 [q] in [0, 1].
        """
        a, b, where = _distinct(pairs.leaf_a, pairs.leaf_b)
        value = self.lookup(a, b)[where]
        if self.items is not None:
            a, b, where = _distinct(pairs.item_a, pairs.item_b)
            by_item = self.items.lookup(a, b)[where]
            value = np.where(np.isnan(by_item), value, by_item)
        if self.sums is not None:
            a, b = self._positions(pairs.leaf_a), self._positions(pairs.leaf_b)
            asked = np.flatnonzero((a >= 0) & (b >= 0) & (a != b))
            effect = self._user_effect.of_leaving_out(pairs.user[asked], a[asked], b[asked], rows())
            changed = value[asked] + self.settings.co_engagement_share * effect
            value[asked] = np.clip(changed, 0.0, 1.0)
        return value

    @cached_property
    def _user_effect(self) -> UserEffect:
        return UserEffect(self.sums, self.settings)

    def _positions(self, leaves: pa.DictionaryArray) -> np.ndarray:
        known = pc.index_in(leaves.dictionary.cast(pa.string()), pa.array(self.leaves, pa.string()))
        return pc.fill_null(known, -1).to_numpy(False)[leaves.indices.to_numpy(False)]

    def lookup(self, leaves_a: Any, leaves_b: Any) -> np.ndarray:
        """S of each pair of names, elementwise: float32 [len]. Takes NumPy, Arrow or Polars strings."""
        a, b = _as_strings(leaves_a), _as_strings(leaves_b)
        known = pa.array(self.leaves, pa.string())
        at_a, at_b = (pc.fill_null(pc.index_in(names, known), -1).to_numpy(False) for names in (a, b))
        value = np.full(len(a), self.otherwise, np.float32)
        low, high = np.minimum(at_a, at_b).astype(np.int64), np.maximum(at_a, at_b)
        n = len(self.leaves)
        at = find(self.i.astype(np.int64) * n + self.j, np.where(low >= 0, low * n + high, -1))
        value[at >= 0] = self.cosine[at[at >= 0]]
        same = pc.and_(pc.equal(a, b), pc.not_equal(a, UNKNOWN)).to_numpy(False)
        value[same] = 1.0
        return value

    def support(self, a: str, b: str) -> Support:
        """Who engaged with leaf a, with leaf b, and with both; 0 for leaves that training never saw."""
        at = find(self.leaves, np.array([a, b], dtype=object))
        users = np.append(self.users, 0)[at]
        pair = np.flatnonzero((self.i == at.min()) & (self.j == at.max()))
        both = users[0] if a == b else self.both[pair].sum()
        return Support(int(users[0]), int(users[1]), int(both))

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
        """Writes leaves.parquet, pairs.parquet, items.parquet and sums.arrow (if any), and last meta.json.

        Each file appears whole or not at all.
        """
        home = Path(directory)
        home.mkdir(parents=True, exist_ok=True)
        leaves = pa.table(
            {"leaf": pa.array(self.leaves, pa.string()), "users": self.users, "events": self.events}
        )
        pairs = pa.table({"i": self.i, "j": self.j, "cosine": self.cosine, "both": self.both})
        tables = {"leaves": leaves, "pairs": pairs}
        if self.items is not None:
            tables["items"] = _item_table(self.items)
        for name, table in tables.items():
            pq.write_table(table, home / f".{name}.parquet.tmp", compression="zstd")
            os.replace(home / f".{name}.parquet.tmp", home / f"{name}.parquet")
        if self.sums is not None:
            (home / ".sums.arrow.tmp").write_bytes(self.sums.to_bytes())
            os.replace(home / ".sums.arrow.tmp", home / "sums.arrow")
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
        items, sums = home / "items.parquet", home / "sums.arrow"
        return SimilarityTable(
            leaves=np.array(leaves["leaf"].to_pylist(), dtype=object),
            users=leaves["users"].to_numpy(),
            events=leaves["events"].to_numpy(),
            **{name: pairs[name].to_numpy() for name in ("i", "j", "cosine", "both")},
            otherwise=otherwise,
            meta={key: value for key, value in meta.items() if key not in ("leaves", "pairs")},
            items=_items_of(pq.read_table(items)) if items.exists() else None,
            sums=CoEngagement.from_bytes(sums.read_bytes()) if sums.exists() else None,
        )


def _item_table(items: ItemVectors) -> pa.Table:
    rank = items.vectors.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(items.vectors.ravel()), rank)
    return pa.table({"item": pa.array(items.items, pa.string()), "users": items.users, "vector": vectors})


def _items_of(table: pa.Table) -> ItemVectors:
    vectors = table["vector"].combine_chunks()
    return ItemVectors(
        items=np.array(table["item"].to_pylist(), dtype=object),
        users=table["users"].to_numpy(),
        vectors=vectors.flatten().to_numpy().reshape(-1, vectors.type.list_size),
    )


def _distinct(a: pa.DictionaryArray, b: pa.DictionaryArray) -> tuple[pa.Array, pa.Array, np.ndarray]:
    """The distinct pairs of names, and which of them each element is: int64 [q]."""
    size = max(len(b.dictionary), 1)
    code = a.indices.to_numpy(False).astype(np.int64) * size + b.indices.to_numpy(False)
    distinct, where = np.unique(code, return_inverse=True)
    at_a, at_b = np.divmod(distinct, size)
    return a.dictionary.take(pa.array(at_a)), b.dictionary.take(pa.array(at_b)), where


def _as_strings(names: Any) -> pa.Array:
    if isinstance(names, pl.Series):
        names = names.cast(pl.String).to_arrow()
    array = names if isinstance(names, pa.Array | pa.ChunkedArray) else pa.array(names, pa.string())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.cast(pa.string())
