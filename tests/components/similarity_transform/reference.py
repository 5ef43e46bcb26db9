"""Labels and features written from their definitions, one click at a time. Slow and plain on purpose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from models import features as names
from schemas.events import UNKNOWN

from .event_streams import is_eval

DAY_US = 86_400_000_000


def examples(rows: list[dict]) -> list[int]:
    """Rows of the first click of each (user, session, item)."""
    seen, anchors = set(), []
    for r, row in enumerate(rows):
        key = (row["user_id"], row["session_id"], row["item"])
        if row["is_click"] and key not in seen:
            seen.add(key)
            anchors.append(r)
    return anchors


def in_window(rows: list[dict], anchor: int, other: int, window) -> bool:
    a, b = rows[anchor], rows[other]
    if other <= anchor or a["user_id"] != b["user_id"]:
        return False
    if window == "session":
        return a["session_id"] == b["session_id"]
    return b["event_time"] <= a["event_time"] + int(window.hours * 3600e6)


def events_after(rows: list[dict], anchor: int, window, event_type: str = "purchase") -> list[int]:
    return [
        r
        for r in range(len(rows))
        if rows[r]["event_type"] == event_type and in_window(rows, anchor, r, window)
    ]


def actions(rows: list[dict], anchor: int, window) -> dict[str, float]:
    a, found = rows[anchor], {}
    for name, event_type in (("cart", "add_to_cart"), ("checkout", "checkout")):
        seen = [
            rows[r]
            for r in events_after(rows, anchor, window, event_type)
            if is_eval(a) or not is_eval(rows[r])
        ]
        found[f"y_{name}_a"] = float(any(r["item"] == a["item"] for r in seen))
        found[f"y_{name}_b"] = float(any(r["item"] != a["item"] for r in seen))
    return found


def credited(rows: list[dict], window) -> dict[int, int]:
    """Purchase row -> anchor of the example that holds the latest click before it."""
    anchors = examples(rows)
    owner = {}
    for r, row in enumerate(rows):
        if row["event_type"] != "purchase":
            continue
        best = -1
        for anchor in anchors:
            if not in_window(rows, anchor, r, window):
                continue
            for c in range(anchor, r):
                click = rows[c]
                same = all(click[k] == rows[anchor][k] for k in ("user_id", "session_id", "item"))
                if click["is_click"] and same and c > best:
                    best, owner[r] = c, anchor
    return owner


def labels(rows: list[dict], s, settings, policy: str) -> dict[int, list[dict]]:
    """Anchor -> label rows. Train examples see no purchase of the eval split. `s` is S of two leaf names."""
    owner = credited(rows, settings.window)
    result = {}
    for anchor in examples(rows):
        a = rows[anchor]
        bought = [
            r for r in events_after(rows, anchor, settings.window) if is_eval(a) or not is_eval(rows[r])
        ]
        done = actions(rows, anchor, settings.window)
        items = sorted({rows[r]["item"] for r in bought})
        alphas = {
            b: s(a["leaf"], next(rows[r]["leaf"] for r in reversed(bought) if rows[r]["item"] == b))
            for b in items
        }
        others = [b for b in items if b != a["item"]]
        credit = {rows[r]["item"] for r in bought if owner.get(r) == anchor}
        if policy == "per_click" or not items:
            reduce = np.mean if settings.alpha_reduce == "mean" else np.max
            result[anchor] = [
                {
                    "y_caba": float(a["item"] in items),
                    "y_cabb": float(bool(others)),
                    "last_click_credit": float(bool(credit)),
                    **done,
                    "alpha": float(reduce([alphas[b] for b in others])) if others else None,
                    "row_weight": 1.0,
                }
            ]
        else:
            weight = 1 / len(items) if settings.row_weight == "per_click" else 1.0
            result[anchor] = [
                {
                    "y_caba": float(b == a["item"]),
                    "y_cabb": float(b != a["item"]),
                    "last_click_credit": float(b in credit),
                    **done,
                    "alpha": alphas[b] if b != a["item"] else None,
                    "row_weight": weight,
                }
                for b in items
            ]
    return result


def is_mature(rows: list[dict], anchor: int, window, gap: int, train_end: int, eval_end: int) -> bool:
    a = rows[anchor]
    end = eval_end if is_eval(a) else train_end
    if window != "session":
        return a["event_time"] + int(window.hours * 3600e6) <= end
    mine = [r for r in rows if (r["user_id"], r["session_id"]) == (a["user_id"], a["session_id"])]
    if not is_eval(a) and any(is_eval(r) for r in mine):
        return False
    return max(r["event_time"] for r in mine) + gap <= end


def local(time: int, zone: str) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)).astimezone(ZoneInfo(zone))


def day_of(time: int, zone: str) -> int:
    return local(time, zone).date().toordinal()


def day_start(time: int, zone: str) -> int:
    midnight = datetime.combine(local(time, zone).date(), datetime.min.time(), ZoneInfo(zone))
    return int(midnight.astimezone(UTC).timestamp()) * 1_000_000


def outcome_by(rows: list[dict], anchor: int, window, gap: int, moment: int) -> tuple[int, bool, bool] | None:
    """(when the window closed, caba, cabb) as known at `moment`; None if still open."""
    known = [r for r in range(len(rows)) if rows[r]["event_time"] < moment]
    if anchor not in known:
        return None
    a = rows[anchor]
    if window == "session":
        mine = [
            r
            for r in known
            if (rows[r]["user_id"], rows[r]["session_id"]) == (a["user_id"], a["session_id"]) and r >= anchor
        ]
        stretch = [mine[0]]
        for r in mine[1:]:
            if rows[r]["event_time"] - rows[stretch[-1]]["event_time"] >= gap:
                break
            stretch.append(r)
        closes = rows[stretch[-1]]["event_time"] + gap
        bought = [r for r in stretch[1:] if rows[r]["event_type"] == "purchase"]
    else:
        closes = a["event_time"] + int(window.hours * 3600e6)
        bought = events_after(rows, anchor, window)
    if closes > moment:
        return None
    items = {rows[r]["item"] for r in bought}
    return closes, a["item"] in items, bool(items - {a["item"]})


def features(
    rows: list[dict], anchor: int, window, gap: int, zone: str, leaf_prices: dict[str, float]
) -> dict:
    """Every feature of the click at row `anchor`."""
    a = rows[anchor]
    now = a["event_time"]
    user = [r for r in rows[:anchor] if r["user_id"] == a["user_id"]]
    session = [r for r in user if r["session_id"] == a["session_id"]]

    def count(where: list[dict], kind: str, **same) -> float:
        return float(
            sum(
                (r["is_click"] if kind == "is_click" else r["event_type"] == kind)
                and all(r[k] == v for k, v in same.items())
                for r in where
            )
        )

    def since(where: list[dict]) -> float:
        return (now - where[-1]["event_time"]) / 1e6 if where else names.NEVER

    def age(where: list[dict]) -> float:
        return (now - where[0]["event_time"]) / 1e6 if where else 0.0

    clicked = {r["item"] for r in session if r["is_click"]}
    leaf, item = {"leaf": a["leaf"]}, {"item": a["item"]}
    clicks = [r for r in user if r["is_click"]][::-1][: names.SEQUENCE_LENGTH]
    price = names.NEVER if a["price"] is None else a["price"]
    values = {
        "item": a["item"],
        "leaf": a["leaf"],
        "category_top": a["leaf"].split(" > ")[0],
        "brand": a["brand"],
        "advertiser": a["advertiser"],
        "context_channel": a["context_channel"],
        "user_id": a["user_id"],
        "session_id": a["session_id"],
        "event_time_us": now,
        "hour_of_day": local(now, zone).hour,
        "day_of_week": local(now, zone).weekday(),
        "recent_items": [r["item"] for r in clicks],
        "recent_leaves": [r["leaf"] for r in clicks],
        "click_position": len(clicked) + 1.0,
        "list_position": names.NEVER if a["list_position"] is None else a["list_position"],
        "session_clicks": count(session, "is_click"),
        "session_detail_views": count(session, "detail_view"),
        "session_carts": count(session, "add_to_cart"),
        "session_cart_removals": count(session, "remove_from_cart"),
        "session_checkouts": count(session, "checkout"),
        "session_purchases": count(session, "purchase"),
        "session_items": float(len(clicked)),
        "session_leaves": float(len({r["leaf"] for r in session if r["is_click"]})),
        "session_leaf_clicks": count(session, "is_click", **leaf),
        "session_leaf_carts": count(session, "add_to_cart", **leaf),
        "user_sessions": float(len({r["session_id"] for r in user} - {a["session_id"]})),
        "user_clicks": count(user, "is_click"),
        "user_carts": count(user, "add_to_cart"),
        "user_purchases": count(user, "purchase"),
        "session_age_s": age(session),
        "since_event_s": since(user),
        "since_session_s": since([r for r in user if r["session_id"] != a["session_id"]]),
        "since_purchase_s": since([r for r in user if r["event_type"] == "purchase"]),
        "since_item_s": since([r for r in user if r["item"] == a["item"]]),
        "since_leaf_s": since([r for r in user if r["leaf"] == a["leaf"]]),
        "user_age_s": age(user),
        "price": price,
        "price_to_leaf": price / leaf_prices[a["leaf"]]
        if price != names.NEVER and a["leaf"] in leaf_prices
        else names.NEVER,
    }
    for name, same in (("item", item), ("leaf", leaf)):
        values[f"user_{name}_clicks"] = count(user, "is_click", **same)
        values[f"user_{name}_carts"] = count(user, "add_to_cart", **same)
        values[f"user_{name}_purchases"] = count(user, "purchase", **same)
    total = values["user_clicks"] + 1
    values["user_activity"] = names.USER_ACTIVITY_LEVELS[int(total > 1) + int(total > 5) + int(total > 20)]

    today, midnight = day_of(now, zone), day_start(now, zone)
    kinds = ("item", "leaf", "advertiser")
    first_day = min(
        (
            day_of(r["event_time"], zone)
            for r in rows
            if r["is_click"] and any(r[kind] != UNKNOWN for kind in kinds)
        ),
        default=0,
    )
    outcomes = [
        (row, *outcome)
        for r, row in ((r, rows[r]) for r in examples(rows))
        if (outcome := outcome_by(rows, r, window, gap, midnight))
    ]
    for kind in kinds:
        name = a[kind]

        def clicks_of(days: int, kind=kind, name=name) -> float:
            clicks = sum(
                r["is_click"]
                and r[kind] == name != UNKNOWN
                and today - days <= day_of(r["event_time"], zone) < today
                for r in rows
            )
            return clicks * days / min(max(today - first_day, 1), days)

        values[f"{kind}_clicks_28d"] = clicks_of(28)
        if kind == "item":
            values["item_clicks_7d"] = clicks_of(7)
    for which, outcome in ((2, "caba"), (3, "cabb")):
        rate = {}
        for kind, strength in (("leaf", 100.0), ("item", 20.0), ("advertiser", 100.0)):
            mine = [
                o
                for o in outcomes
                if o[0][kind] == a[kind] != UNKNOWN and day_of(o[1] - 1, zone) >= today - 28
            ]
            prior = rate["leaf"] if kind == "item" else 0.05
            rate[kind] = (sum(o[which] for o in mine) + strength * prior) / (len(mine) + strength)
            values[f"{kind}_{outcome}_rate_28d"] = rate[kind]
    return values
