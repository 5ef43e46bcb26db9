"""Item embeddings from co-engagement, and their cosine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from scipy.sparse import linalg

from components.category_similarity.co_engagement import CoEngagement, find

_SHARE_KEPT = 1e-3
"""Of an item's vector, below which the leading directions say nothing about it."""


@dataclass(frozen=True)
class ItemVectors:
    """Embeddings of unit length.

    Attributes:
        items: sorted names, [n].
        users: support, int64 [n].
        vectors: float32 [n, rank].
    """

    items: np.ndarray
    users: np.ndarray
    vectors: np.ndarray

    def lookup(self, items_a: pa.Array, items_b: pa.Array) -> np.ndarray:
        """Cosine of each pair, negative ones as 0: float32 [len], NaN where an item has no embedding."""
        known = pa.array(self.items, pa.string())
        a, b = (
            pc.fill_null(pc.index_in(x.cast(pa.string()), known), -1).to_numpy(False)
            for x in (items_a, items_b)
        )
        value = np.full(len(a), np.nan, np.float32)
        have = (a >= 0) & (b >= 0)
        cosine = np.einsum("ij,ij->i", self.vectors[a[have]], self.vectors[b[have]])
        value[have] = np.where(a[have] == b[have], 1.0, np.clip(cosine, 0.0, 1.0))
        return value

    def support(self, *items: str) -> list[int] | None:
        """Users of each item; None if one has no embedding."""
        at = find(self.items, np.array(items, dtype=object))
        return None if (at < 0).any() else self.users[at].tolist()

    def nearest(self, item: str, k: int) -> list[tuple[str, float, int]]:
        """The k items of highest cosine to one, best first: (item, cosine, support); none below 0.

        Raises:
            KeyError: the item has no embedding.
        """
        at = int(np.searchsorted(self.items, item)) if len(self.items) else 0
        if at >= len(self.items) or self.items[at] != item:
            raise KeyError(item)
        cosine = self.vectors @ self.vectors[at]
        cosine[at] = -1.0
        best = np.lexsort((np.arange(len(cosine)), -cosine))[:k]
        return [(str(self.items[o]), float(cosine[o]), int(self.users[o])) for o in best if cosine[o] > 0]


def embed_items(sums: CoEngagement, rank: int, support: int) -> ItemVectors:
    """Truncated SVD of the column-normalised engagement matrix X = V D^-1/2, D = diag(V'V).

    X ~ U Sigma Q' with `rank` terms; item c is row c of Q Sigma. Q and Sigma^2 are the leading eigenvectors
    and eigenvalues of X'X = D^-1/2 V'V D^-1/2, which the merged sums give without X. Columns are normalised
    so that a few popular items do not take all directions. Only items with `support` users and a share in
    the leading directions have an embedding.
    """
    kept = np.flatnonzero(sums.users >= support)
    place = np.full(len(sums.names), -1)
    place[kept] = np.arange(len(kept))
    i, j = place[sums.i], place[sums.j]
    inside = (i >= 0) & (j >= 0)
    i, j = i[inside], j[inside]
    norm = np.sqrt(sums.damped(sums.squares)[kept])
    cosine = sums.damped(sums.dot)[inside] / (norm[i] * norm[j])
    upper = sparse.csr_matrix((cosine, (i, j)), shape=(len(kept), len(kept)))
    gram = upper + upper.T + sparse.identity(len(kept), format="csr")
    values, directions = _leading(gram, rank)
    vectors = directions * np.sqrt(np.maximum(values, 0.0))
    length = np.linalg.norm(vectors, axis=1)
    seen = length > _SHARE_KEPT
    return ItemVectors(
        items=sums.names[kept][seen],
        users=sums.users[kept][seen],
        vectors=(vectors[seen] / length[seen, None]).astype(np.float32),
    )


def _leading(gram: sparse.csr_matrix, rank: int) -> tuple[np.ndarray, np.ndarray]:
    n = gram.shape[0]
    if n <= 2 * rank:
        values, directions = np.linalg.eigh(gram.toarray())
        return values[::-1][:rank], directions[:, ::-1][:, :rank]
    # A fixed start makes Lanczos repeatable.
    return linalg.eigsh(gram, k=rank, which="LA", v0=np.full(n, 1.0 / np.sqrt(n)))
