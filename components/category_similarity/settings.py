"""How relatedness is learned: the scheme and its options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from schemas.events import ADD_TO_CART, CHECKOUT, CLICK, PURCHASE, REMOVE_FROM_CART
from schemas.settings import Settings

WEIGHABLE = (CLICK, ADD_TO_CART, REMOVE_FROM_CART, CHECKOUT, PURCHASE)
DEFAULT_WEIGHTS = {CLICK: 1.0, ADD_TO_CART: 3.0, PURCHASE: 5.0}


class SimilaritySettings(Settings):
    """How related products are found. `docs/similarity.md` has the formulas and what each option does.

    Attributes:
        scheme: "taxonomy_cf", cosine of the categories' co-engagement (CABB 3.3); "semantic", closeness of
            the category paths as texts; "blend" of these two; "i2i", cosine of item embeddings learned from
            co-engagement; "static", all pairs related (alpha 1).
        unit: the coordinates of a category's vector: whoever engages with two categories relates them.
        event_weights: w of CABB eq. 1. `click` is any event that counts as a click, a detail view included;
            a click and its own detail view count once. Types left out weigh 0.
        half_life_days: an event this much older weighs half as much. None: age does not matter.
        damping: "idf", who engages with many categories says less about each.
        shrinkage: common users (or sessions) with whom a cosine counts half. 0: evidence does not matter.
        back_off: users (or sessions) of the rarer category with whom half of S comes from the parent
            categories. 0: no back-off. Above 0 every pair is stored.
        leave_user_out: alpha of a click leaves out what its own user contributed to S.
        semantic_share: of the texts in the blend; the rest is co-engagement.
        rank: dimensions of the item embeddings (i2i).
        item_support: users (or sessions) that an item needs for an embedding of its own (i2i); pairs with
            another item take the relatedness of their categories.
    """

    scheme: Literal["taxonomy_cf", "semantic", "blend", "i2i", "static"] = "taxonomy_cf"
    unit: Literal["user", "session"] = "user"
    event_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = DEFAULT_WEIGHTS
    half_life_days: Annotated[float, Field(gt=0)] | None = None
    damping: Literal["none", "idf"] = "none"
    shrinkage: Annotated[float, Field(ge=0)] = 3.0
    back_off: Annotated[float, Field(ge=0)] = 0.0
    leave_user_out: bool = False
    semantic_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    rank: Annotated[int, Field(ge=1)] = 64
    item_support: Annotated[int, Field(ge=1)] = 5

    @property
    def co_engagement_share(self) -> float:
        """Of S between categories: how much of it comes from users."""
        shares = {"taxonomy_cf": 1.0, "i2i": 1.0, "blend": 1.0 - self.semantic_share}
        return shares.get(self.scheme, 0.0)

    def in_words(self) -> str:
        """The scheme and the options that are at work."""
        words = {
            "static": "every pair of categories weighs 1",
            "semantic": "closeness of the category paths as texts",
            "blend": f"{self.semantic_share:g} closeness of the paths as texts, the rest co-engagement",
            "i2i": "co-engagement; pairs of known items by their embeddings",
        }
        said = [words.get(self.scheme, "co-engagement")]
        if self.co_engagement_share:
            said += [
                f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name} {value}"
                for name in ("unit", "half_life_days", "damping", "shrinkage", "back_off")
                if (value := getattr(self, name)) not in ("user", "none", None, 0)
            ]
            said += ["each click's own user left out"] * self.leave_user_out
        return "; ".join(said)

    @property
    def knows_unseen(self) -> bool:
        """Whether a category that no training event has can be related to others: by its path."""
        return self.scheme in ("semantic", "blend") or (self.scheme != "static" and self.back_off > 0)

    @field_validator("event_weights")
    @classmethod
    def _known_and_useful(cls, weights: dict[str, float]) -> dict[str, float]:
        strange = sorted(set(weights) - set(WEIGHABLE))
        if strange:
            raise ValueError(f"no weight can be given to {strange[0]!r}; choose from {', '.join(WEIGHABLE)}")
        if not any(weights.values()):
            raise ValueError("at least one event weight must be above 0")
        return weights

    @model_validator(mode="after")
    def _can_leave_out(self) -> SimilaritySettings:
        if self.leave_user_out and self.scheme == "i2i":
            raise ValueError(
                "leave_user_out cannot take one user out of item embeddings; choose taxonomy_cf or blend"
            )
        return self
