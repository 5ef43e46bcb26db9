"""A list of items shown in the middle of a session: what is clicked, ordered and paid, as shoppers do.

A list is shown on the page of the session's first clicked item, after the shopper has decided about the cart
and before the plan goes on. The shopper reads it from the top: item i is clicked with its attraction a_i;
without a click the shopper reads on with probability `persistence`; after a click the list is left (a
cascade, Craswell et al. 2008). A click on i joins the plan as any other: it adds u_i to the session's
log-odds of ordering and q_i to what may be bought; the rest of the plan stays as it was (formulas:
simulator.shoppers). An item that was going to be clicked anyway changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from schemas.settings import Settings
from simulator import measured
from simulator.shoppers import Chunk, Shoppers, runs, sigmoid

SHOWN_AT = 0.95
"""Share of the time on the page that has passed: carts are decided by 0.9 of it."""


class ClickModel(Settings):
    """How lists are clicked. All three are assumptions: the real logs say nothing of lists without clicks.

    Attributes:
        attraction: of an item that has nothing to do with the intent.
        attraction_of_fit: what an item of the intent's leaf has more; in between by relatedness.
        persistence: probability of reading on after an item that was not clicked.
    """

    attraction: float = Field(0.01, ge=0, le=1)
    attraction_of_fit: float = Field(0.15, ge=0, le=0.5)
    persistence: float = Field(0.9, gt=0, le=1)

    def list_clicks(self, attraction: np.ndarray) -> np.ndarray:
        """Probability of a click at each place of a list: [users, places] from attractions in list order."""
        passed = np.cumprod((1 - attraction) * self.persistence, axis=1)
        reached = np.concatenate([np.ones((len(attraction), 1)), passed[:, :-1]], axis=1)
        return reached * attraction


@dataclass(frozen=True)
class Visits:
    """Sessions at the moment a list is shown; all but `session`, `page` and `time_us` is hidden.

    Attributes:
        session: row of the chunk's sessions, [visits].
        page: item whose page is looked at, [visits].
        time_us: the moment, microseconds since the epoch, UTC.
        intent, ready, budget, drifted, order_log_odds: of the session, [visits].
        slot_visit, slot_item, slot_clicked, slot_q: the plan by visit: whether planned to be clicked, and
            P(bought | ordering) as far as carts are decided, [slots].
    """

    session: np.ndarray
    page: np.ndarray
    time_us: np.ndarray
    intent: np.ndarray
    ready: np.ndarray
    budget: np.ndarray
    drifted: np.ndarray
    order_log_odds: np.ndarray
    slot_visit: np.ndarray
    slot_item: np.ndarray
    slot_clicked: np.ndarray
    slot_q: np.ndarray

    def __len__(self) -> int:
        return len(self.session)


def visits(chunk: Chunk, sessions: np.ndarray) -> Visits:
    """The given sessions (rows of the chunk's) on the page of their first clicked item."""
    plan = chunk.plans
    by_session = np.argsort(plan["session"], kind="stable")
    size = np.bincount(plan["session"], minlength=len(chunk.session_user))
    first = (np.cumsum(size) - size)[sessions]
    slots = by_session[np.repeat(first, size[sessions]) + runs(size[sessions])]
    opening = by_session[first]
    is_first = np.zeros(len(plan["session"]), bool)
    is_first[opening] = True
    on_page = plan["until_us"][opening] - plan["time_us"][opening]
    return Visits(
        session=sessions,
        page=plan["item"][opening],
        time_us=plan["time_us"][opening] + (SHOWN_AT * on_page).astype(np.int64),
        **{name: values[sessions] for name, values in chunk.minds.items()},
        slot_visit=np.repeat(np.arange(len(sessions)), size[sessions]),
        slot_item=plan["item"][slots],
        slot_clicked=plan["clicked"][slots],
        slot_q=np.where(is_first, plan["q_carted"], plan["q"])[slots],
    )


class ShownItems:
    """The truth about some items, [visits, items], should they be shown to some visits and clicked there.

    Attributes:
        attraction: P(click) when the shopper reads it.
        p_order, p_own, value: if clicked: P(anything is ordered), P(the item itself is), mean money spent.
        p_order_without, value_without: if nothing of the list is clicked, [visits].
    """

    def __init__(self, shoppers: Shoppers, clicks: ClickModel, at: Visits, items: np.ndarray):
        catalog = shoppers.catalog
        hidden = {name: getattr(at, name)[:, None] for name in ("intent", "ready", "budget", "drifted")}
        fit = shoppers.relatedness[catalog.leaf[items], hidden["intent"]]
        self.attraction = clicks.attraction + clicks.attraction_of_fit * fit
        self._slot_visit, self._slot_q = at.slot_visit, at.slot_q
        self._slot_price = catalog.price[at.slot_item] * shoppers.price_factor(at.drifted)[at.slot_visit]
        self._price = catalog.price[items] * shoppers.price_factor(hidden["drifted"])

        self._slot = self._planned(at, items, len(catalog.leaf))
        planned = self._slot >= 0
        planned_click = planned & at.slot_clicked[self._slot]
        own_cart = shoppers.cart_probability(items, **hidden) * (1 - measured.REMOVAL_RATE)
        planned_q = np.where(planned, at.slot_q[self._slot], 0.0)
        # A want that is clicked after all becomes a click: carts decide, as in a plan of its own.
        self._q = np.where(planned_click, planned_q, own_cart)
        self._log_odds = at.order_log_odds[:, None] + np.where(
            planned_click, 0.0, shoppers.touch_effect(items, hidden["intent"])
        )
        self._log_odds_without = at.order_log_odds

        n = len(at)
        log_none = np.bincount(at.slot_visit, np.log1p(-at.slot_q), n)
        spent = np.bincount(at.slot_visit, at.slot_q * self._slot_price, n)
        others_none = np.exp(log_none[:, None] - np.log1p(-planned_q))
        going, going_without = sigmoid(self._log_odds), sigmoid(self._log_odds_without)
        self.p_order = going * (1 - others_none * (1 - self._q))
        self.p_own = going * self._q
        self.value = going * (spent[:, None] + (self._q - planned_q) * self._price)
        self.p_order_without = going_without * (1 - np.exp(log_none))
        self.value_without = going_without * spent

    @staticmethod
    def _planned(at: Visits, items: np.ndarray, catalog_items: int) -> np.ndarray:
        """The slot of each item in its visit's plan, or -1: [visits, items]."""
        key = at.slot_visit * catalog_items + at.slot_item
        order = np.argsort(key)
        wanted = np.arange(len(at))[:, None] * catalog_items + items
        place = np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)
        return np.where(key[order][place] == wanted, order[place], -1)

    def expected(self, clicks: ClickModel, shown: np.ndarray) -> dict[str, np.ndarray]:
        """What lists lead to in the mean.

        Args:
            shown: columns of the items shown, in list order, [visits, places].

        Returns:
            clicked, ordered, own (the clicked item was bought), ordered_after (a click and an order) and
            value, [visits].
        """

        def listed(values: np.ndarray) -> np.ndarray:
            return np.take_along_axis(values, shown, axis=1)

        p = clicks.list_clicks(listed(self.attraction))
        clicked = p.sum(axis=1)
        after = (p * listed(self.p_order)).sum(axis=1)
        return {
            "clicked": clicked,
            "ordered": after + (1 - clicked) * self.p_order_without,
            "own": (p * listed(self.p_own)).sum(axis=1),
            "ordered_after": after,
            "value": (p * listed(self.value)).sum(axis=1) + (1 - clicked) * self.value_without,
        }

    def draw(self, rng: np.random.Generator) -> Draw:
        """Everything random about what would happen, whichever items are shown: common random numbers."""
        visits, items = self.attraction.shape
        return Draw(
            click=rng.random((visits, items)),
            reads_on=rng.random((visits, items)),
            orders=rng.random(visits),
            buys=rng.random((visits, items)),
            buys_planned=rng.random(len(self._slot_q)),
        )

    def happens(self, clicks: ClickModel, shown: np.ndarray, draw: Draw) -> dict[str, np.ndarray]:
        """What a draw leads to when lists are shown; arguments and columns as of `expected`."""
        n = len(shown)
        row = np.arange(n)
        wants = np.take_along_axis(draw.click < self.attraction, shown, axis=1)
        stops = draw.reads_on[:, : shown.shape[1]] >= clicks.persistence
        left = np.cumsum(wants | stops, axis=1) - (wants | stops) > 0
        clicked_here = wants & ~left
        clicked = clicked_here.any(axis=1)
        column = shown[row, clicked_here.argmax(axis=1)]
        log_odds = np.where(clicked, self._log_odds[row, column], self._log_odds_without)
        goes = draw.orders < sigmoid(log_odds)
        slot = np.where(clicked, self._slot[row, column], -1)
        u = np.where(slot >= 0, draw.buys_planned[slot], draw.buys[row, column])
        own = goes & clicked & (u < self._q[row, column])
        replaced = np.zeros(len(self._slot_q), bool)
        replaced[slot[slot >= 0]] = True
        planned = goes[self._slot_visit] & (draw.buys_planned < self._slot_q) & ~replaced
        spent = np.bincount(self._slot_visit, planned * self._slot_price, n)
        ordered = (np.bincount(self._slot_visit, planned, n) > 0) | own
        return {
            "clicked": clicked.astype(float),
            "ordered": ordered.astype(float),
            "own": own.astype(float),
            "ordered_after": (ordered & clicked).astype(float),
            "value": spent + own * self._price[row, column],
        }


@dataclass(frozen=True)
class Draw:
    """Uniform numbers: per item for clicks and own purchases, per place for reading on, per visit, per
    slot."""

    click: np.ndarray
    reads_on: np.ndarray
    orders: np.ndarray
    buys: np.ndarray
    buys_planned: np.ndarray


def page_attraction(shoppers: Shoppers, clicks: ClickModel) -> np.ndarray:
    """P(click | read) of an item of each leaf, given the leaf of the page alone: [page's leaf, leaf].

    The intent is integrated out: it is as popular as its leaf and leads to pages as plans do. This is the
    click model that every recommender is given; it is exact for a user of whom nothing else is known.
    """
    world, relatedness = shoppers.world, shoppers.relatedness
    popular = shoppers.catalog.leaf_popularity
    beside = shoppers.beside()
    elsewhere = 1 - world.same_leaf - world.related_leaf
    page_of_intent = world.same_leaf * np.eye(len(popular)) + world.related_leaf * beside
    page_of_intent = page_of_intent + elsewhere * popular
    intent_of_page = popular[:, None] * page_of_intent
    intent_of_page /= intent_of_page.sum(axis=0)
    return clicks.attraction + clicks.attraction_of_fit * (intent_of_page.T @ relatedness)


def candidates(shoppers: Shoppers, page: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Distinct items that could be shown on each page, [pages, count].

    A third each of the weight is on the page's leaf, on leaves related to it and on anything popular. Drawn
    without replacement, by Gumbel keys.

    Raises:
        ValueError: more candidates than items.
    """
    catalog = shoppers.catalog
    if count >= len(catalog.leaf):
        raise ValueError(f"{count} candidates of {len(catalog.leaf)} items")
    leaves = np.eye(len(catalog.leaf_popularity)) + shoppers.beside() + catalog.leaf_popularity
    weight = leaves[catalog.leaf[page]][:, catalog.leaf] * catalog.item_share
    weight[np.arange(len(page)), page] = 0
    with np.errstate(divide="ignore"):
        key = np.log(weight) + rng.gumbel(size=weight.shape)
    return np.argpartition(-key, count, axis=1)[:, :count]
