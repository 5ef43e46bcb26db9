"""How relatedness is computed from co-engagement: one class per scheme behind one interface.

A new scheme is a class here, its name in `SimilaritySettings.scheme` and a line in `SCHEMES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
from scipy import sparse

from components.category_similarity.co_engagement import CoEngagement, Level, find
from components.category_similarity.evidence import co_engagement_relatedness, levels_of
from components.category_similarity.item_vectors import embed_items
from components.category_similarity.semantic import path_vectors, text_relatedness
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity import SimilarityTable

_PAIRS_AT_ONCE = 1_000_000


class Scheme(Protocol):
    """Turns co-engagement sums into S.

    Attributes:
        levels: whose sums it needs; "leaf" always, because a leaf's support is shown whatever the scheme.
    """

    levels: tuple[Level, ...]

    def table(self, sums: Mapping[Level, CoEngagement], settings: SimilaritySettings) -> SimilarityTable:
        """S over the leaves of `sums`, and over its items where the scheme relates items."""
        ...


class TaxonomyCF:
    """Cosine of the categories' engagement vectors (CABB eq. 2), with the options of the settings."""

    levels: tuple[Level, ...] = ("leaf",)

    def table(self, sums: Mapping[Level, CoEngagement], settings: SimilaritySettings) -> SimilarityTable:
        return _table(sums["leaf"], _co_engaged(sums["leaf"], settings), settings)


class Semantic:
    """Closeness of the category paths as texts. Logs give the support that is shown, nothing else."""

    levels: tuple[Level, ...] = ("leaf",)

    def table(self, sums: Mapping[Level, CoEngagement], settings: SimilaritySettings) -> SimilarityTable:
        return _table(sums["leaf"], _by_text(sums["leaf"]), settings)


class Blend:
    """semantic_share x Semantic + the rest x TaxonomyCF."""

    levels: tuple[Level, ...] = ("leaf",)

    def table(self, sums: Mapping[Level, CoEngagement], settings: SimilaritySettings) -> SimilarityTable:
        share, leaf = settings.semantic_share, sums["leaf"]
        return _table(leaf, share * _by_text(leaf) + (1.0 - share) * _co_engaged(leaf, settings), settings)


class I2I:
    """Cosine of item embeddings (CABB 4.3, "i2i"); items without one are related as their categories are."""

    levels: tuple[Level, ...] = ("leaf", "item")

    def table(self, sums: Mapping[Level, CoEngagement], settings: SimilaritySettings) -> SimilarityTable:
        by_leaf = TaxonomyCF().table(sums, settings)
        return replace(by_leaf, items=embed_items(sums["item"], settings.rank, settings.item_support))


class Static:
    """Every pair of items is fully related, alpha = 1: the paper's unweighted setting. Keeps leaf support."""

    levels: tuple[Level, ...] = ("leaf",)

    def table(self, sums: Mapping[Level, CoEngagement], settings: SimilaritySettings) -> SimilarityTable:
        leaf = sums["leaf"]
        nothing = sparse.csr_matrix((len(leaf.names), len(leaf.names)))
        return replace(_table(leaf, nothing, settings), otherwise=1.0)


SCHEMES: dict[str, Scheme] = {
    "taxonomy_cf": TaxonomyCF(),
    "semantic": Semantic(),
    "blend": Blend(),
    "i2i": I2I(),
    "static": Static(),
}


def _co_engaged(leaf: CoEngagement, settings: SimilaritySettings) -> sparse.csr_matrix:
    """S by co-engagement, upper triangle: pairs that anyone engaged with both of; with back-off all."""
    n = len(leaf.names)
    levels = levels_of(leaf, settings)
    i, j = np.triu_indices(n, 1) if settings.back_off else (leaf.i, leaf.j)
    value = np.empty(len(i))
    for start in range(0, len(i), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        value[some] = co_engagement_relatedness(
            [level.between(i[some], j[some]) for level in levels], settings
        )
    return sparse.csr_matrix((value, (i, j)), shape=(n, n))


def _by_text(leaf: CoEngagement) -> sparse.csr_matrix:
    """S by text, upper triangle."""
    return sparse.triu(sparse.csr_matrix(text_relatedness(path_vectors(leaf.names)), dtype=float), 1, "csr")


def _table(leaf: CoEngagement, upper: sparse.csr_matrix, settings: SimilaritySettings) -> SimilarityTable:
    """The pairs of `upper` above 0, with the evidence for each."""
    upper = upper.astype(np.float32)
    upper.eliminate_zeros()
    upper.sort_indices()
    pairs = upper.tocoo()
    n = len(leaf.names)
    at = find(leaf.i.astype(np.int64) * n + leaf.j, pairs.row.astype(np.int64) * n + pairs.col)
    keeps_sums = settings.leave_user_out and settings.co_engagement_share > 0
    return SimilarityTable(
        leaves=leaf.names,
        users=leaf.users,
        events=leaf.events,
        i=pairs.row.astype(np.int32),
        j=pairs.col.astype(np.int32),
        cosine=pairs.data,
        both=np.append(leaf.both, 0)[at],
        otherwise=0.0,
        meta={"settings": settings.model_dump()},
        sums=leaf if keeps_sums else None,
    )
