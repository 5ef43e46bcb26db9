"""Model inputs grouped by what they know, and groups by how personal they are (CABB 4.4, RQ-4).

Every input of models/features.py is in exactly one group. A group is what is permuted together when its
importance is measured, so that columns that say the same thing do not stand in for each other.
"""

from __future__ import annotations

from collections.abc import Iterable

from models import features as names

CONTEXT = "context"
GROUPS: dict[str, tuple[str, ...]] = {
    "item history": ("user_item_clicks", "user_item_carts", "user_item_purchases", "since_item_s"),
    "recent clicks": tuple(names.SEQUENCES),
    "category history": (
        "user_leaf_clicks",
        "user_leaf_carts",
        "user_leaf_purchases",
        "session_leaf_clicks",
        "session_leaf_carts",
        "since_leaf_s",
    ),
    "user history": (
        "user_sessions",
        "user_clicks",
        "user_carts",
        "user_purchases",
        "since_session_s",
        "since_purchase_s",
        "user_age_s",
    ),
    "session state": (
        "click_position",
        "session_clicks",
        "session_detail_views",
        "session_carts",
        "session_cart_removals",
        "session_checkouts",
        "session_purchases",
        "session_items",
        "session_leaves",
        "session_age_s",
        "since_event_s",
    ),
    "item popularity": ("item_clicks_7d", "item_clicks_28d", "item_caba_rate_28d", "item_cabb_rate_28d"),
    "leaf popularity": ("leaf_clicks_28d", "leaf_caba_rate_28d", "leaf_cabb_rate_28d"),
    "advertiser popularity": (
        "advertiser_clicks_28d",
        "advertiser_caba_rate_28d",
        "advertiser_cabb_rate_28d",
    ),
    "item id": (names.ITEM,),
    "category ids": (names.LEAF, names.CATEGORY_TOP),
    "brand and advertiser": ("brand", "advertiser"),
    "price": names.AMOUNTS,
    CONTEXT: ("list_position",),
    "calendar": tuple(names.CALENDAR),
}
"""Group -> inputs; the configured `context_*` columns belong to CONTEXT (`members`)."""

PERSONAL, SEMI_PERSONAL, POPULARITY = "personal", "semi-personal", "popularity"
FAMILIES: dict[str, tuple[str, ...]] = {
    PERSONAL: ("item history", "recent clicks"),
    SEMI_PERSONAL: ("category history",),
    POPULARITY: ("item popularity", "leaf popularity", "advertiser popularity"),
    "user and session": ("user history", "session state"),
    "product": ("item id", "category ids", "brand and advertiser", "price"),
    "circumstances": (CONTEXT, "calendar"),
}
"""Family -> groups. Personal: this user with this very item, and what the user clicked lately, one by one.
Semi-personal: this user with the item's category. Popularity: everybody with the item, its category or its
advertiser. `user and session` knows the user but not the clicked product."""


def members(group: str, inputs: Iterable[str]) -> tuple[str, ...]:
    """Inputs of a group, among those that a model has; context columns included."""
    wanted = GROUPS[group]
    return tuple(name for name in inputs if name in wanted or (group == CONTEXT and names.is_context(name)))
