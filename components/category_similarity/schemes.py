"""How relatedness is computed from co-engagement: one class per scheme behind one interface.

A new scheme is a class here, its name in `SimilaritySettings.scheme` and a line in `SCHEMES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from components.category_similarity.co_engagement import CoEngagement, Level
from components.category_similarity.item_vectors import embed_items
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity import SimilarityTable


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
    """Cosine of the categories' engagement vectors (CABB eq. 2): S_ij = v_i . v_j / (|v_i| |v_j|)."""

    levels: tuple[Level, ...] = ("leaf",)

    def table(self, sums: Mapping[Level, CoEngagement], settings: SimilaritySettings) -> SimilarityTable:
        leaf = sums["leaf"]
        norms = np.sqrt(leaf.squares)
        cosine = leaf.dot / (norms[leaf.i] * norms[leaf.j])
        return SimilarityTable(
            leaves=leaf.names,
            users=leaf.users,
            events=leaf.events,
            i=leaf.i,
            j=leaf.j,
            cosine=np.minimum(cosine, 1.0).astype(np.float32),
            both=leaf.both,
            otherwise=0.0,
            meta={"settings": settings.model_dump()},
        )


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
        leaf, nothing = sums["leaf"], np.array([], np.int32)
        return SimilarityTable(
            leaves=leaf.names,
            users=leaf.users,
            events=leaf.events,
            i=nothing,
            j=nothing,
            cosine=nothing.astype(np.float32),
            both=nothing.astype(np.int64),
            otherwise=1.0,
            meta={"settings": settings.model_dump()},
        )


SCHEMES: dict[str, Scheme] = {"taxonomy_cf": TaxonomyCF(), "i2i": I2I(), "static": Static()}
