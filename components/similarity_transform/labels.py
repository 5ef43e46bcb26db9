"""Labels and weights of clicks (CABB 3.2, 3.3 eq. 3).

An example is a (user, session, clicked item group), anchored at the first click, so that nothing about it
depends on its label. Purchases after the anchor and within the window make its labels:

    y_caba = 1 if the clicked item group was bought, y_cabb = 1 if another was, y_any = either,
    alpha  = mean (or max) over the other item groups bought of S(leaf clicked, leaf bought),
    last_click_credit = 1 if the example holds the latest click before a purchase.

Carts and checkouts make labels in the same way: y_cart_a = 1 if the clicked item group was put into the cart
after the anchor and within the window, y_cart_b = 1 if another was; y_checkout_a and y_checkout_b likewise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from components.category_similarity.similarity import ProductPairs, SimilarityTable
from components.similarity_transform.outages import Outage
from components.similarity_transform.timeline import Timeline, ranges
from models import features as names
from schemas.events import ADD_TO_CART, CHECKOUT, PURCHASE
from schemas.settings import MOST_DAYS, Settings

HOUR = 3_600_000_000  # microseconds


class Hours(Settings):
    """An attribution window of fixed length that spans the user's sessions, its end included."""

    hours: float = Field(gt=0, le=24 * MOST_DAYS)


class LabelSettings(Settings):
    """What a click is labelled with.

    Attributes:
        window: "session", or hours after the click across the user's sessions, as in {"hours": 24}.
        label_policy: "per_click", one row per click; "per_purchase", the paper's one row per (click, item
            group bought) of the training split. Evaluation rows are always per click.
        alpha_reduce: over the other item groups bought after a click; "max" grows with the basket.
        negative_alpha: weight in L_CABB of rows with y_cabb = 0, which have no B: the mean alpha of the
            training rows with y_cabb = 1 (keeps p_cabb calibrated), or one.
        row_weight: of per_purchase rows: "per_click" shares weight 1 among the K rows of a click (1/K each),
            "per_row" gives each row 1.
        outages: clicks whose window meets a stretch without logged purchases (`find_outages`) have no known
            outcome: "leave_out", or "keep" them as clicks without a purchase.
    """

    window: Literal["session"] | Hours = "session"
    label_policy: Literal["per_click", "per_purchase"] = "per_click"
    alpha_reduce: Literal["mean", "max"] = "mean"
    negative_alpha: Literal["mean", "one"] = "mean"
    row_weight: Literal["per_click", "per_row"] = "per_click"
    outages: Literal["leave_out", "keep"] = "leave_out"

    @property
    def label_days(self) -> float:
        """How long a label of fixed length takes to be known; 0 for a session, which no day count bounds."""
        return self.window.hours / 24 if isinstance(self.window, Hours) else 0.0


@dataclass(frozen=True)
class Clicks:
    """The examples of a timeline.

    Attributes:
        anchor: row of the first click of each example, increasing, int64 [m].
        click: rows of all clicks, [c]; `example`: which example each belongs to, [c].
    """

    anchor: np.ndarray
    click: np.ndarray
    example: np.ndarray


@dataclass(frozen=True)
class Touches:
    """Every (example, purchase) with the purchase after the anchor and within the window, by example, then
    row.

    Attributes:
        example: index into Clicks.anchor, [q].
        purchase: row of the purchase, [q].
        last_click: the purchase's last click before it, of any example, belongs to this example: bool [q].
    """

    example: np.ndarray
    purchase: np.ndarray
    last_click: np.ndarray


@dataclass(frozen=True)
class Labels:
    """Label rows, in order of their example. `alpha` is NaN where y_cabb is 0."""

    example: np.ndarray
    y_caba: np.ndarray
    y_cabb: np.ndarray
    last_click_credit: np.ndarray
    y_cart_a: np.ndarray
    y_cart_b: np.ndarray
    y_checkout_a: np.ndarray
    y_checkout_b: np.ndarray
    alpha: np.ndarray
    row_weight: np.ndarray

    def where(self, keep: np.ndarray) -> Labels:
        """The rows with `keep`, bool [rows]."""
        return Labels(**{name: values[keep] for name, values in vars(self).items()})


def find_clicks(events: Timeline) -> Clicks:
    """One example per (user, session, clicked item group)."""
    click = np.flatnonzero(events.is_click)
    key = _with_item(events, events.session)[click]
    _, first, example = np.unique(key, return_index=True, return_inverse=True)
    anchor = click[first]
    by_row = np.argsort(anchor)
    rank = np.empty_like(by_row)
    rank[by_row] = np.arange(len(by_row))
    return Clicks(anchor=anchor[by_row], click=click, example=rank[example])


def find_touches(events: Timeline, clicks: Clicks, window: str | Hours) -> Touches:
    """Which purchases count for which examples, and which example holds the latest click before each."""
    scope = _scope(events, window)
    purchases = _by_scope(scope, events.of_type(PURCHASE))
    example, place = ranges(*_within_window(events, clicks, scope, purchases, window))
    purchase = purchases[place]
    return Touches(example, purchase, _holds_last_click(events, clicks, example, purchase))


def find_actions(events: Timeline, clicks: Clicks, window: str | Hours) -> dict[str, np.ndarray]:
    """names.ACTIONS -> whether an example led to it, float32 [m].

    Counts, not pairs: carts of a session times its clicks are many when a machine is at work.
    """
    scope = _scope(events, window)
    _, of_item = np.unique(_with_item(events, scope), return_inverse=True)
    found = {}
    for event_type, clicked, another in (
        (ADD_TO_CART, names.Y_CART_A, names.Y_CART_B),
        (CHECKOUT, names.Y_CHECKOUT_A, names.Y_CHECKOUT_B),
    ):
        chosen = events.of_type(event_type)
        all_items, same_item = (_count(events, clicks, each, chosen, window) for each in (scope, of_item))
        found[clicked] = (same_item > 0).astype(np.float32)
        found[another] = (all_items > same_item).astype(np.float32)
    return found


def _count(
    events: Timeline, clicks: Clicks, scope: np.ndarray, chosen: np.ndarray, window: str | Hours
) -> np.ndarray:
    """How many chosen rows, bool [n], of its scope an example's window holds, int64 [m]; an example of the
    training split sees none of the eval split."""

    def held(visible: np.ndarray) -> np.ndarray:
        low, high = _within_window(events, clicks, scope, _by_scope(scope, visible), window)
        return high - low

    return np.where(events.in_eval[clicks.anchor], held(chosen), held(chosen & ~events.in_eval))


def _scope(events: Timeline, window: str | Hours) -> np.ndarray:
    """Whose events a window looks at, codes [n]."""
    return events.session if window == "session" else events.user


def _with_item(events: Timeline, scope: np.ndarray) -> np.ndarray:
    """One code, int64 [n], for a row's scope and item."""
    return scope.astype(np.int64) * (int(events.item.max(initial=0)) + 1) + events.item


def _by_scope(scope: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Chosen rows, bool [n], by scope, then row."""
    rows = np.flatnonzero(chosen)
    return rows[np.argsort(scope[rows], kind="stable")]


def _within_window(
    events: Timeline, clicks: Clicks, scope: np.ndarray, rows: np.ndarray, window: str | Hours
) -> tuple[np.ndarray, np.ndarray]:
    """Where the rows, sorted by scope, that are after an example's anchor and within its window begin and
    end, [m] each."""
    at, own = events.pair(scope[rows], rows), scope[clicks.anchor]
    low = np.searchsorted(at, events.pair(own, clicks.anchor), side="right")
    if window == "session":
        high = np.searchsorted(at, events.pair(own + 1, np.zeros_like(own)), side="left")
    else:
        moments, moment = events.moments
        until = events.time[clicks.anchor] + int(window.hours * HOUR)
        last = np.searchsorted(moments, until, side="right") - 1
        at = events.pair(scope[rows], moment[rows])
        high = np.searchsorted(at, events.pair(own, last), side="right")
    # A row at the anchor's own time may precede it in order: then `high` falls short of `low`.
    return low, np.maximum(high, low)


def _holds_last_click(
    events: Timeline, clicks: Clicks, example: np.ndarray, purchase: np.ndarray
) -> np.ndarray:
    """Among the examples whose window holds a purchase, the one with the latest click before it."""
    by_example = np.argsort(clicks.example, kind="stable")
    click = clicks.click[by_example]
    at = events.pair(clicks.example[by_example], click)
    latest = (
        click[np.searchsorted(at, events.pair(example, purchase), side="left") - 1]
        if len(example)
        else example
    )
    order = np.lexsort((latest, purchase))
    final = np.ones(len(order), bool)
    final[:-1] = purchase[order][1:] != purchase[order][:-1]
    holds = np.zeros(len(order), bool)
    holds[order[final]] = True
    return holds


def label_rows(
    events: Timeline,
    clicks: Clicks,
    touches: Touches,
    actions: dict[str, np.ndarray],
    similarity: SimilarityTable,
    settings: LabelSettings,
    policy: str = "per_click",
) -> Labels:
    """Labels of every example by the given policy; every row of a click carries the click's actions.

    `last_click_credit` is the example's number of credited purchases, clipped to 1: a buyer of three things
    is one positive. Of per_purchase rows it is that of the row's own item.
    """
    bought = _bought_items(events, clicks, touches, similarity)
    m = len(clicks.anchor)
    if policy == "per_purchase":
        rows_of = np.bincount(bought.example, minlength=m)
        silent = np.flatnonzero(rows_of == 0)
        example = np.concatenate([bought.example, silent])
        order = np.argsort(example, kind="stable")
        zeros = np.zeros(len(silent), np.float32)

        def column(values: np.ndarray) -> np.ndarray:
            return np.concatenate([values.astype(np.float32), zeros])[order]

        example = example[order]
        y_cabb = column(~bought.same)
        return Labels(
            example=example,
            y_caba=column(bought.same),
            y_cabb=y_cabb,
            last_click_credit=column(bought.credited),
            **{name: values[example] for name, values in actions.items()},
            alpha=np.where(y_cabb > 0, column(bought.alpha), np.nan).astype(np.float32),
            row_weight=(
                1.0 / np.maximum(rows_of, 1)[example]
                if settings.row_weight == "per_click"
                else np.ones(len(example))
            ).astype(np.float32),
        )
    other = ~bought.same
    others = np.bincount(bought.example[other], minlength=m)
    alpha = np.full(m, np.nan, np.float32)
    has = others > 0
    if settings.alpha_reduce == "mean":
        total = np.bincount(bought.example[other], weights=bought.alpha[other], minlength=m)
        alpha[has] = (total[has] / others[has]).astype(np.float32)
    elif has.any():
        first = np.cumsum(others)[has] - others[has]
        alpha[has] = np.maximum.reduceat(bought.alpha[other], first)
    return Labels(
        example=np.arange(m),
        y_caba=_any(bought.example[bought.same], m),
        y_cabb=has.astype(np.float32),
        last_click_credit=_any(touches.example[touches.last_click], m),
        **actions,
        alpha=alpha,
        row_weight=np.ones(m, np.float32),
    )


@dataclass(frozen=True)
class _Bought:
    """Distinct item groups bought within the window of an example, by example."""

    example: np.ndarray
    same: np.ndarray
    credited: np.ndarray
    alpha: np.ndarray


def _bought_items(events: Timeline, clicks: Clicks, touches: Touches, similarity: SimilarityTable) -> _Bought:
    item = events.item[touches.purchase]
    order = np.lexsort((touches.purchase, item, touches.example))
    example, item, purchase = touches.example[order], item[order], touches.purchase[order]
    final = np.ones(len(order), bool)
    final[:-1] = (example[1:] != example[:-1]) | (item[1:] != item[:-1])
    ends = np.flatnonzero(final)
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    credited = np.maximum.reduceat(touches.last_click[order], starts) if len(ends) else np.zeros(0, bool)
    # An item group whose leaf changes between purchases counts with its latest.
    example, item, bought = example[ends], item[ends], purchase[ends]
    clicked = clicks.anchor[example]
    return _Bought(
        example=example,
        same=item == events.item[clicked],
        credited=credited,
        alpha=relatedness(events, clicked, bought, similarity),
    )


def relatedness(
    events: Timeline, clicked: np.ndarray, bought: np.ndarray, similarity: SimilarityTable
) -> np.ndarray:
    """S of the products of two lists of rows, elementwise: float32 [len(clicked)]."""
    pairs = ProductPairs(
        user=events.user[clicked],
        leaf_a=events.coded("leaf", clicked),
        leaf_b=events.coded("leaf", bought),
        item_a=events.coded("item", clicked),
        item_b=events.coded("item", bought),
    )
    return similarity.alpha(pairs, lambda: _training_rows(events, pairs.user))


def _training_rows(events: Timeline, users: np.ndarray) -> pl.DataFrame:
    """What these users did in the training split, for the similarity's sums; users and sessions as codes."""
    chosen = np.zeros(len(events.names["user_id"]), bool)
    chosen[users] = True
    rows = np.flatnonzero(chosen[events.user] & ~events.in_eval)
    return pl.DataFrame(
        {
            "user_id": events.user[rows],
            "session_id": events.session[rows],
            "event_time": pl.Series(events.time[rows]).cast(pl.Datetime("us", "UTC")),
            "event_type": events.coded("event_type", rows),
            "is_click": events.is_click[rows],
            "leaf": events.coded("leaf", rows),
        }
    )


def mature(
    events: Timeline, clicks: Clicks, window: str | Hours, gap: int, train_end: int, eval_end: int
) -> np.ndarray:
    """Which examples had their whole label window observed inside their split: bool [m].

    Args:
        gap: inactivity that ends a session, microseconds.
        train_end, eval_end: first moment that a split does not hold, microseconds since the epoch.

    A window of hours must end by then. A session must have been silent for `gap` by then, and must not go on
    in the next split.
    """
    in_eval = events.in_eval[clicks.anchor]
    end = np.where(in_eval, eval_end, train_end)
    if window != "session":
        return events.time[clicks.anchor] + int(window.hours * HOUR) <= end
    last = events.by_session.last(clicks.anchor)
    goes_on = ~in_eval & events.in_eval[last]
    return ~goes_on & (events.time[last] + gap <= end)


def in_outage(
    events: Timeline, clicks: Clicks, window: str | Hours, outages: tuple[Outage, ...]
) -> np.ndarray:
    """Which examples have an outage in their label window: bool [m].

    The window of a session ends with its last event.
    """
    first = events.time[clicks.anchor]
    if window == "session":
        last = events.time[events.by_session.last(clicks.anchor)]
    else:
        last = first + int(window.hours * HOUR)
    met = np.zeros(len(first), bool)
    for start, end in outages:
        met |= (first < end) & (last >= start)
    return met


def within_train(events: Timeline, clicks: Clicks, touches: Touches) -> Touches:
    """Touches without the purchases that an example of the training split must not see: those of the eval
    split.

    Who holds the latest click is settled before, so such a purchase is not passed on to another example.
    """
    keep = events.in_eval[clicks.anchor[touches.example]] | ~events.in_eval[touches.purchase]
    return Touches(touches.example[keep], touches.purchase[keep], touches.last_click[keep])


def _any(example: np.ndarray, m: int) -> np.ndarray:
    return (np.bincount(example, minlength=m) > 0).astype(np.float32)
