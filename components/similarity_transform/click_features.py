"""What was known about a click when it happened: the features of models/features.py at each anchor.

Every count, duration and sequence looks at rows before the anchor's row only; the anchor itself contributes
what it carries (item, price, position, context, time). Counts of the session, the user, the user with this
item or leaf are running counts inside a group of rows, read at the anchor.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.similarity_transform.labels import Clicks
from components.similarity_transform.popularity import Popularity
from components.similarity_transform.timeline import SECOND, Groups, Timeline, ranges
from models import features as names
from schemas.events import (
    ADD_TO_CART,
    CATEGORY_JOINER,
    CHECKOUT,
    DETAIL_VIEW,
    PURCHASE,
    REMOVE_FROM_CART,
    UNKNOWN,
)


def click_features(
    events: Timeline, clicks: Clicks, popularity: Popularity, leaf_prices: dict[str, float]
) -> dict[str, np.ndarray | pa.Array]:
    """All features and keys of the examples.

    Args:
        leaf_prices: mean catalog price by leaf, for `price_to_leaf`.

    Returns:
        Column name -> [m] values: strings (Arrow), int64, float32, and lists of strings for the sequences.
    """
    at = clicks.anchor
    columns: dict[str, np.ndarray | pa.Array] = {
        **_identity(events, at),
        **_history(events, clicks),
        **popularity.features(events, at),
        **_prices(events, at, leaf_prices),
        **_recent(events, clicks),
    }
    columns[names.USER_ACTIVITY] = _activity(columns["user_clicks"])
    return columns


def _identity(events: Timeline, at: np.ndarray) -> dict[str, np.ndarray | pa.Array]:
    leaf = events.names["leaf"]
    top = pc.list_element(pc.split_pattern(leaf, CATEGORY_JOINER, max_splits=1), 0)
    columns = {
        names.ITEM: events.strings("item", at),
        names.LEAF: events.strings("leaf", at),
        names.CATEGORY_TOP: top.take(pa.array(events.leaf[at])),
        "advertiser": events.strings("advertiser", at),
        names.USER_ID: events.strings("user_id", at),
        names.SESSION_ID: events.strings("session_id", at),
        "hour_of_day": events.hour[at].astype(np.int64),
        "day_of_week": events.weekday[at].astype(np.int64),
        names.EVENT_TIME: events.time[at],
    }
    for name, column in events.columns.items():
        if name == "brand" or names.is_context(name):
            columns[name] = pc.fill_null(column.take(pa.array(at)), UNKNOWN)
    return columns


def _history(events: Timeline, clicks: Clicks) -> dict[str, np.ndarray]:
    at, click = clicks.anchor, events.is_click
    cart, purchase = events.of_type(ADD_TO_CART), events.of_type(PURCHASE)
    user, session = events.by_user, events.by_session
    rows = np.arange(len(events))

    first_of_session = session.first(rows) == rows
    first_click = np.zeros(len(events), bool)
    first_click[at] = True  # of an item in the session
    session_leaf = Groups(events.pair(events.session, events.leaf))
    first_leaf = click & (session_leaf.count_before(click, rows) == 0)

    counts = {
        "session_clicks": session.count_before(click, at),
        "session_detail_views": session.count_before(events.of_type(DETAIL_VIEW), at),
        "session_carts": session.count_before(cart, at),
        "session_cart_removals": session.count_before(events.of_type(REMOVE_FROM_CART), at),
        "session_checkouts": session.count_before(events.of_type(CHECKOUT), at),
        "session_purchases": session.count_before(purchase, at),
        "session_items": session.count_before(first_click, at),
        "session_leaves": session.count_before(first_leaf, at),
        "session_leaf_clicks": session_leaf.count_before(click, at),
        "session_leaf_carts": session_leaf.count_before(cart, at),
        "user_sessions": user.count_before(first_of_session, at) - ~first_of_session[at],
        "user_clicks": user.count_before(click, at),
        "user_carts": user.count_before(cart, at),
        "user_purchases": user.count_before(purchase, at),
    }
    counts["click_position"] = counts["session_items"] + 1
    since = {
        "session_age_s": session.first(at),
        "since_event_s": user.latest_before(at),
        "since_session_s": _end_of_other_session(events, at),
        "since_purchase_s": user.latest_before(at, purchase),
        "user_age_s": user.first(at),
    }
    for kind in ("item", "leaf"):
        own = Groups(events.pair(events.user, getattr(events, kind)))
        counts[f"user_{kind}_clicks"] = own.count_before(click, at)
        counts[f"user_{kind}_carts"] = own.count_before(cart, at)
        counts[f"user_{kind}_purchases"] = own.count_before(purchase, at)
        since[f"since_{kind}_s"] = own.latest_before(at)
    return {
        **{name: values.astype(np.float32) for name, values in counts.items()},
        **{name: _seconds_since(events, at, row) for name, row in since.items()},
    }


def _end_of_other_session(events: Timeline, at: np.ndarray) -> np.ndarray:
    """The user's latest row outside the anchor's session, or -1: it precedes an unbroken run of rows."""
    starts = np.ones(len(events), bool)
    starts[1:] = events.session[1:] != events.session[:-1]
    start = np.maximum.accumulate(np.where(starts, np.arange(len(events)), 0))[at]
    before = start - 1
    return np.where((before >= 0) & (events.user[before] == events.user[at]), before, -1)


def _seconds_since(events: Timeline, at: np.ndarray, row: np.ndarray) -> np.ndarray:
    seconds = (events.time[at] - events.time[row]) / SECOND
    return np.where(row >= 0, seconds, names.NEVER).astype(np.float32)


def _prices(events: Timeline, at: np.ndarray, leaf_prices: dict[str, float]) -> dict[str, np.ndarray]:
    def known(name: str) -> np.ndarray:
        return pc.fill_null(pc.cast(events.columns[name].take(pa.array(at)), pa.float32()), np.nan).to_numpy(
            False
        )

    price, position = known("price"), known("list_position")
    leaf_price = np.array(
        [leaf_prices.get(leaf, np.nan) for leaf in events.names["leaf"].to_pylist()], np.float32
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = price / leaf_price[events.leaf[at]]
    return {
        "price": np.where(np.isfinite(price), price, np.float32(names.NEVER)),
        "price_to_leaf": np.where(np.isfinite(ratio), ratio, np.float32(names.NEVER)),
        "list_position": np.where(np.isfinite(position), position, np.float32(names.NEVER)),
    }


def _recent(events: Timeline, clicks: Clicks) -> dict[str, pa.Array]:
    """The user's clicks before the anchor, newest first, at most SEQUENCE_LENGTH."""
    before = np.searchsorted(clicks.click, clicks.anchor)
    length = np.minimum(events.by_user.count_before(events.is_click, clicks.anchor), names.SEQUENCE_LENGTH)
    owner, place = ranges(before - length, before)
    # Ascending places of each owner, turned around.
    newest_first = (2 * before - length)[owner] - 1 - place
    row = clicks.click[newest_first]
    offsets = pa.array(np.concatenate(([0], np.cumsum(length))).astype(np.int32))
    return {
        names.RECENT_ITEMS: pa.ListArray.from_arrays(offsets, events.strings("item", row)),
        names.RECENT_LEAVES: pa.ListArray.from_arrays(offsets, events.strings("leaf", row)),
    }


def _activity(user_clicks: np.ndarray) -> pa.Array:
    level = np.searchsorted([1, 5, 20], user_clicks + 1, side="left")
    return pa.array(names.USER_ACTIVITY_LEVELS).take(pa.array(level))
