"""How relatedness is learned: the scheme and its options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from schemas.events import ADD_TO_CART, CHECKOUT, CLICK, PURCHASE, REMOVE_FROM_CART
from schemas.settings import Settings

WEIGHABLE = (CLICK, ADD_TO_CART, REMOVE_FROM_CART, CHECKOUT, PURCHASE)
DEFAULT_WEIGHTS = {CLICK: 1.0, ADD_TO_CART: 3.0, PURCHASE: 5.0}


class SimilaritySettings(Settings):
    """How related products are found. `docs/similarity.md` has the formulas.

    Attributes:
        scheme: "taxonomy_cf", cosine of the categories' co-engagement (CABB 3.3); "i2i", cosine of item
            embeddings learned from co-engagement; "static", all pairs related (alpha 1).
        unit: the coordinates of a category's vector: whoever engages with two categories relates them.
        event_weights: w of CABB eq. 1. `click` is any event that counts as a click, a detail view included;
            a click and its own detail view count once. Types left out weigh 0.
        rank: dimensions of the item embeddings (i2i).
        item_support: users (or sessions) that an item needs for an embedding of its own (i2i); pairs with
            another item take the relatedness of their categories.
    """

    scheme: Literal["taxonomy_cf", "i2i", "static"] = "taxonomy_cf"
    unit: Literal["user", "session"] = "user"
    event_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = DEFAULT_WEIGHTS
    rank: Annotated[int, Field(ge=1)] = 64
    item_support: Annotated[int, Field(ge=1)] = 5

    @field_validator("event_weights")
    @classmethod
    def _known_and_useful(cls, weights: dict[str, float]) -> dict[str, float]:
        strange = sorted(set(weights) - set(WEIGHABLE))
        if strange:
            raise ValueError(f"no weight can be given to {strange[0]!r}; choose from {', '.join(WEIGHABLE)}")
        if not any(weights.values()):
            raise ValueError("at least one event weight must be above 0")
        return weights
