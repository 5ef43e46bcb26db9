"""How relatedness is computed from co-engagement: one class per scheme, all with the same `table`.

A new scheme is a class here, its name in `SimilaritySettings.scheme` and a line in `SCHEMES`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

import numpy as np
from pydantic import Field, field_validator

from components.category_similarity.similarity import CoEngagement, SimilarityTable
from schemas.events import ADD_TO_CART, CHECKOUT, CLICK, PURCHASE, REMOVE_FROM_CART
from schemas.settings import Settings

WEIGHABLE = (CLICK, ADD_TO_CART, REMOVE_FROM_CART, CHECKOUT, PURCHASE)
DEFAULT_WEIGHTS = {CLICK: 1.0, ADD_TO_CART: 3.0, PURCHASE: 5.0}


class SimilaritySettings(Settings):
    """How related categories are found.

    Attributes:
        scheme: "taxonomy_cf", cosine of co-engagement (CABB 3.3), or "static", all pairs related (alpha 1).
        unit: the coordinates of a category's vector: whoever engages with two categories relates them.
        event_weights: w of CABB eq. 1. `click` is any event that counts as a click, a detail view included;
            a click and its own detail view count once. Types left out weigh 0.
    """

    scheme: Literal["taxonomy_cf", "static"] = "taxonomy_cf"
    unit: Literal["user", "session"] = "user"
    event_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = DEFAULT_WEIGHTS

    @field_validator("event_weights")
    @classmethod
    def _known_and_useful(cls, weights: dict[str, float]) -> dict[str, float]:
        strange = sorted(set(weights) - set(WEIGHABLE))
        if strange:
            raise ValueError(f"no weight can be given to {strange[0]!r}; choose from {', '.join(WEIGHABLE)}")
        if not any(weights.values()):
            raise ValueError("at least one event weight must be above 0")
        return weights


class Scheme(Protocol):
    """Turns co-engagement sums into S."""

    def table(self, sums: CoEngagement, settings: SimilaritySettings) -> SimilarityTable:
        """S over the leaves of `sums`."""
        ...


class TaxonomyCF:
    """Cosine of the categories' engagement vectors (CABB eq. 2): S_ij = v_i . v_j / (|v_i| |v_j|)."""

    def table(self, sums: CoEngagement, settings: SimilaritySettings) -> SimilarityTable:
        norms = np.sqrt(sums.squares)
        cosine = sums.dot / (norms[sums.i] * norms[sums.j])
        return SimilarityTable(
            leaves=sums.leaves,
            users=sums.users,
            events=sums.events,
            i=sums.i,
            j=sums.j,
            cosine=np.minimum(cosine, 1.0).astype(np.float32),
            both=sums.both,
            otherwise=0.0,
            meta={"settings": settings.model_dump()},
        )


class Static:
    """Every pair of items is fully related, alpha = 1: the paper's unweighted setting. Keeps leaf support."""

    def table(self, sums: CoEngagement, settings: SimilaritySettings) -> SimilarityTable:
        nothing = np.array([], np.int32)
        return SimilarityTable(
            leaves=sums.leaves,
            users=sums.users,
            events=sums.events,
            i=nothing,
            j=nothing,
            cosine=nothing.astype(np.float32),
            both=nothing.astype(np.int64),
            otherwise=1.0,
            meta={"settings": settings.model_dump()},
        )


SCHEMES: dict[str, Scheme] = {"taxonomy_cf": TaxonomyCF(), "static": Static()}


def similarity_table(sums: CoEngagement, settings: SimilaritySettings) -> SimilarityTable:
    """S by the configured scheme."""
    return SCHEMES[settings.scheme].table(sums, settings)
