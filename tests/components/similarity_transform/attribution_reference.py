"""Touches and credits written from their definitions, one purchase at a time. Slow and plain on purpose."""

from __future__ import annotations

import numpy as np

from schemas.events import UNKNOWN

from .event_streams import is_eval

DAY_US = 86_400_000_000


def touches_of(rows: list[dict], purchase: int, s, settings) -> list[int]:
    """Rows of the clicks that a purchase is shared among, oldest first. `s` is S of two leaf names."""
    b = rows[purchase]
    found = []
    clicks = [r for r, a in enumerate(rows[:purchase]) if a["is_click"] and a["user_id"] == b["user_id"]]
    for r in clicks[-settings.most_touches :]:
        a = rows[r]
        if b["event_time"] - a["event_time"] > settings.look_back_days * DAY_US:
            continue
        same_leaf = a["leaf"] == b["leaf"] != UNKNOWN
        in_scope = {
            "same_item": False,
            "same_leaf": same_leaf,
            "related": same_leaf or s(a["leaf"], b["leaf"]) >= settings.related_floor,
            "any": True,
        }[settings.scope]
        if in_scope or a["item"] == b["item"]:
            found.append(r)
    if settings.touches == "one_per_session":
        latest = {rows[r]["session_id"]: r for r in found}
        found = sorted(latest.values())
    return found


def shares(view: str, rows: list[dict], touches: list[int], settings) -> list[float]:
    """Credit of each touch of one purchase."""
    n = len(touches)
    if view == "last_click":
        weights = [0.0] * (n - 1) + [1.0]
    elif view == "first_click":
        weights = [1.0] + [0.0] * (n - 1)
    elif view == "linear":
        weights = [1.0] * n
    elif view == "time_decay":
        latest = rows[touches[-1]]["event_time"]
        days = [(latest - rows[r]["event_time"]) / DAY_US for r in touches]
        weights = [0.5 ** (d / settings.half_life_days) for d in days]
    else:
        first, last, between = settings.position_weights
        weights = [between / max(n - 2, 1)] * n
        weights[0], weights[-1] = (first, last) if n > 1 else (1.0, 1.0)
        if not sum(weights):
            weights[-1] = 1.0
    return [w / sum(weights) for w in weights]


def credits(view: str, rows: list[dict], anchors: list[int], s, settings) -> dict[int, tuple]:
    """Anchor -> (credit, credit_caba, credit_cabb, alpha or None), capped, of all examples."""
    key = ("user_id", "session_id", "item")
    anchor_of = {tuple(rows[a][k] for k in key): a for a in anchors}
    caba, cabb, related = (dict.fromkeys(anchors, 0.0) for _ in range(3))
    for p, b in enumerate(rows):
        if b["event_type"] != "purchase":
            continue
        touches = touches_of(rows, p, s, settings)
        for r, share in zip(touches, shares(view, rows, touches, settings) if touches else [], strict=True):
            anchor = anchor_of[tuple(rows[r][k] for k in key)]
            if is_eval(b) and not is_eval(rows[anchor]):
                continue
            if rows[anchor]["item"] == b["item"]:
                caba[anchor] += share
            else:
                cabb[anchor] += share
                related[anchor] += share * s(rows[anchor]["leaf"], b["leaf"])
    return {
        a: (
            min(caba[a] + cabb[a], 1.0),
            min(caba[a], 1.0),
            min(cabb[a], 1.0),
            related[a] / cabb[a] if np.float32(cabb[a]) else None,
        )
        for a in anchors
    }


def is_final(rows: list[dict], anchor: int, settings, train_end: int, eval_end: int) -> bool:
    """Every click of the example has been followed for the look-back inside the example's split."""
    key = ("user_id", "session_id", "item")
    end = eval_end if is_eval(rows[anchor]) else train_end
    mine = [r for r in rows if r["is_click"] and all(r[k] == rows[anchor][k] for k in key)]
    return max(r["event_time"] for r in mine) + settings.look_back_days * DAY_US <= end
