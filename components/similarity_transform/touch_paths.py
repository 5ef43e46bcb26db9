"""The touches of a purchase: whom an attribution view may credit (MAL 3.1).

A touch of a purchase is a click of the same user before it, at most `look_back_days` old and in scope. Scopes
widen from one to the next: the clicked item group is the bought one; or its leaf is; or S(clicked, bought) is
at least `related_floor`; or anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field

from components.category_similarity.similarity import SimilarityTable
from components.similarity_transform.labels import HOUR, Clicks, relatedness
from components.similarity_transform.timeline import Timeline, ranges
from schemas.events import PURCHASE, UNKNOWN
from schemas.settings import MOST_DAYS, Settings


class TouchSettings(Settings):
    """Which clicks before a purchase are its touches.

    Attributes:
        scope: `related` asks for S(clicked, bought) >= related_floor.
        look_back_days: age of the oldest touch, included; across the user's sessions.
        touches: `one_per_session` keeps the latest click in scope of each session.
        most_touches: of a purchase's clicks, those older than the latest so many are never its touches, in
            scope or not: what a bot's clicks cost grows with their number, not with its square.
    """

    scope: Literal["same_item", "same_leaf", "related", "any"] = "any"
    related_floor: float = Field(0.1, gt=0, le=1)
    look_back_days: float = Field(7, gt=0, le=MOST_DAYS)
    touches: Literal["every_click", "one_per_session"] = "every_click"
    most_touches: int = Field(500, ge=1)

    @property
    def look_back(self) -> int:
        """Microseconds."""
        return int(self.look_back_days * 24 * HOUR)


@dataclass(frozen=True)
class TouchPaths:
    """Purchases with at least one touch, and their touches, oldest first.

    Attributes:
        end: row that each path leads to: its purchase, [p].
        start: where each path's touches begin, [p]; `size`: how many they are, [p].
        path: path of each touch, [q].
        touch: index of each touch into Clicks.click, [q].
        age: microseconds from each touch to the path's end, [q].
    """

    end: np.ndarray
    start: np.ndarray
    size: np.ndarray
    path: np.ndarray
    touch: np.ndarray
    age: np.ndarray

    @cached_property
    def position(self) -> np.ndarray:
        """Of each touch in its path, the oldest 0, [q]."""
        return np.arange(len(self.path)) - self.start[self.path]

    @cached_property
    def from_end(self) -> np.ndarray:
        """Touches of the path that follow each touch, the latest 0, [q]."""
        return self.size[self.path] - 1 - self.position


def purchase_paths(
    events: Timeline, clicks: Clicks, similarity: SimilarityTable, settings: TouchSettings
) -> TouchPaths:
    """All purchases of a timeline with their touches. Purchases without a touch have no path."""
    return find_paths(events, clicks, np.flatnonzero(events.of_type(PURCHASE)), similarity, settings)


def find_paths(
    events: Timeline,
    clicks: Clicks,
    end: np.ndarray,
    similarity: SimilarityTable,
    settings: TouchSettings,
) -> TouchPaths:
    """The same for any rows, as if each were a purchase; a click among them is a touch of its own path."""
    low, high = _reach(events, clicks.click, end, settings.look_back)
    low = np.maximum(low, high - settings.most_touches)
    owner, touch = ranges(low, high)
    if settings.scope != "any":
        inside = _in_scope(events, clicks.click[touch], end[owner], similarity, settings)
        owner, touch = owner[inside], touch[inside]
    if settings.touches == "one_per_session":
        latest = _latest_of_session(events.session[clicks.click[touch]], owner)
        owner, touch = owner[latest], touch[latest]
    size = np.bincount(owner, minlength=len(end))
    touched = size > 0
    size, end = size[touched], end[touched]
    path = np.repeat(np.arange(len(size)), size)
    return TouchPaths(
        end=end,
        start=np.cumsum(size) - size,
        size=size,
        path=path,
        touch=touch,
        age=events.time[end[path]] - events.time[clicks.click[touch]],
    )


def _reach(
    events: Timeline, click: np.ndarray, end: np.ndarray, look_back: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each row: the range of `click` that is the user's, not after it and within the look-back."""
    moments = np.unique(events.time[click])
    oldest = np.searchsorted(moments, events.time[end] - look_back, side="left")
    span = len(moments) + 1
    at = events.user[click].astype(np.int64) * span + np.searchsorted(moments, events.time[click])
    low = np.searchsorted(at, events.user[end].astype(np.int64) * span + oldest, side="left")
    high = np.searchsorted(click, end, side="right")
    # A click at the look-back's first moment may follow the row in order: then `high` falls short.
    return low, np.maximum(high, low)


def _in_scope(
    events: Timeline, a: np.ndarray, b: np.ndarray, similarity: SimilarityTable, settings: TouchSettings
) -> np.ndarray:
    """Whether a click's row is in scope of a purchase's row, elementwise: bool [len(a)]."""
    same_item = events.item[a] == events.item[b]
    if settings.scope == "same_item":
        return same_item
    known = np.array(events.names["leaf"].to_pylist(), object) != UNKNOWN
    same_leaf = (events.leaf[a] == events.leaf[b]) & known[events.leaf[a]]
    if settings.scope == "same_leaf":
        return same_item | same_leaf
    return same_item | same_leaf | (relatedness(events, a, b, similarity) >= settings.related_floor)


def _latest_of_session(session: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Which touches are the last of their session in their path, in order: int64 indices."""
    order = np.lexsort((session, owner))
    last = np.ones(len(order), bool)
    last[:-1] = (owner[order][1:] != owner[order][:-1]) | (session[order][1:] != session[order][:-1])
    return np.sort(order[last])
