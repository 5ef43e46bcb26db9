"""Shoppers: hidden intents, the sessions they lead to, and the true probability of everything they buy.

A user has an intent (a leaf) that lives until it ends in an order. Each session has a hidden plan: the items
that will be clicked, in order, and up to three wants that will never be clicked (a substitute in the intent's
leaf, a complement from a related leaf, a coincidence). With sigma the logistic function,

    Z      ~ Bernoulli(pi),  pi = sigma(readiness + carry + sum_i u_i)     the session is going to order
    cart_j ~ Bernoulli(k_j), k_j depends on readiness, the item's quality and price and the intent
    buy_j  = Z and cart_j and not removed_j   for a clicked item;   Z and want_j   for an item never clicked

u_i is the causal effect of touch i: a click raises the log-odds of ordering by u_i in its own session, and by
what is left of it in later ones through `carry`, the sum of earlier touches of the intent decayed by
exp(-days / memory). All purchases follow all clicks. Given the plan, the readiness and the carts before click
i, with q_j = P(buy_j | Z) for those carts,

    P(buy i)            = pi q_i
    P(buy some B != i)  = pi (1 - prod_{j != i} (1 - q_j));  the related (unrelated) part has related j only
    P(buy anything)     = pi (1 - prod_j (1 - q_j))
    uplift of i         = P(buy anything) - P(buy anything, had i not been clicked: u_i = 0, q_i = 0)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from simulator import measured
from simulator.catalog import Catalog
from simulator.taxonomy import RELATED_FLOOR, Taxonomy
from simulator.worlds import World

EVENT_TYPES = (
    "impression",
    "click",
    "detail_view",
    "add_to_cart",
    "remove_from_cart",
    "checkout",
    "purchase",
)
IMPRESSION, CLICK, DETAIL_VIEW, ADD_TO_CART, REMOVE_FROM_CART, CHECKOUT, PURCHASE = range(len(EVENT_TYPES))

DRIFTED_CHANNELS = {"Paid Search": 0.45, "Social": 0.30, "Display": 0.15, "Direct": 0.10}
DAY_S = 86_400.0
HOUR_S = 3_600.0
SECOND_US = 1_000_000
SESSION_PAUSE_S = 2 * HOUR_S
MOST_ITEMS = 30
NEVER = 1e12  # seconds
WANTS = 3


@dataclass
class Chunk:
    """The logs and the truth of one chunk of users; events in time order.

    `events`: session (row of `session_*`), time_us, type, sku, price, quantity and list_position (-1: none).
    `truth`: session, item and what `purchase_probabilities` returns, one per click example.
    `minds`: what is hidden of each session: intent, ready (with what earlier touches left), budget, drifted,
    order_log_odds.
    `plans`: the planned items sorted by session and order: session, item, clicked, q and q_carted (see
    `purchase_probabilities`), time_us of the click and until_us, when the shopper moves on.
    """

    first_user: int
    users: int
    session_user: np.ndarray  # [sessions], from 0 within the chunk
    session_ordinal: np.ndarray  # [sessions], the user's first is 1
    session_channel: np.ndarray
    session_device: np.ndarray
    session_country: np.ndarray
    events: dict[str, np.ndarray] = field(default_factory=dict)
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    minds: dict[str, np.ndarray] = field(default_factory=dict)
    plans: dict[str, np.ndarray] = field(default_factory=dict)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def log_odds(p: np.ndarray | float) -> np.ndarray | float:
    return np.log(p) - np.log1p(-p)


def runs(lengths: np.ndarray) -> np.ndarray:
    """0..n-1 for each length n, concatenated."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def cumulative_rows(weights: np.ndarray) -> np.ndarray:
    """Row-wise cumulative distributions plus the row's index: searchsorted(row + u) draws from a row."""
    cumulative = np.cumsum(weights, axis=1)
    cumulative /= cumulative[:, -1:]
    return (cumulative + np.arange(len(weights))[:, None]).ravel()


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


class ContextMix:
    """One context column: names, shares and the log-odds of ordering that go with each value."""

    def __init__(self, rates: dict[str, tuple[float, float]]) -> None:
        self.names = tuple(rates)
        shares, orders = np.array(list(rates.values())).T
        self.shares = shares / shares.sum()
        self.effect = log_odds(orders) - log_odds(measured.ORDER_RATE)

    def draw(self, rng: np.random.Generator, size: int, shares: np.ndarray | None = None) -> np.ndarray:
        return rng.choice(len(self.names), size, p=self.shares if shares is None else shares)


CHANNEL = ContextMix(measured.CHANNELS)
DEVICE = ContextMix(measured.DEVICES)
COUNTRY = ContextMix(measured.COUNTRIES)
DRIFTED_CHANNEL_SHARES = np.array([DRIFTED_CHANNELS.get(name, 0.0) for name in CHANNEL.names])


def purchase_probabilities(
    order_log_odds: np.ndarray,
    touch: np.ndarray,
    q: np.ndarray,
    q_carted: np.ndarray,
    leaf: np.ndarray,
    session: np.ndarray,
    clicked: np.ndarray,
    relatedness: np.ndarray,
) -> dict[str, np.ndarray]:
    """The true probabilities of every click of some plans; see the module's formulas.

    Args:
        order_log_odds: readiness + carry + touches of each session, shape [sessions].
        touch: u_i, zero for wants, shape [slots]; slots are the planned items, sorted by session and order.
        q: P(buy_j | Z) before it is known whether j is carted, shape [slots].
        q_carted: P(buy_j | Z) once that is known, shape [slots].
        leaf, session, clicked: of each slot; clicked is false for wants, shape [slots].
        relatedness: [leaves, leaves].

    Returns:
        Arrays over the clicked slots, in order.
    """
    size = np.bincount(session, minlength=len(order_log_odds))
    first = np.cumsum(size) - size
    click = np.flatnonzero(clicked)
    others = size[session[click]]
    row = np.repeat(np.arange(len(click)), others)
    i = click[row]
    j = first[session[i]] + runs(others)
    log_not = np.log1p(-np.where(j < i, q_carted[j], q[j])) * (j != i)
    related = relatedness[leaf[i], leaf[j]] >= RELATED_FLOOR
    none_related = np.exp(np.bincount(row, log_not * related, len(click)))
    none_unrelated = np.exp(np.bincount(row, log_not * ~related, len(click)))
    none = none_related * none_unrelated
    own = q[click]
    at_order = order_log_odds[session[click]]
    pi = sigmoid(at_order)
    p_conversion = pi * (1 - none * (1 - own))
    return {
        "p_caba": pi * own,
        "p_cabb": pi * (1 - none),
        "p_cabb_related": pi * (1 - none_related),
        "p_cabb_unrelated": pi * (1 - none_unrelated),
        "p_conversion": p_conversion,
        "uplift": p_conversion - sigmoid(at_order - touch[click]) * (1 - none),
    }


class Shoppers:
    """Draws chunks of users of a world. A chunk depends on the world and its index alone."""

    def __init__(self, world: World, taxonomy: Taxonomy, catalog: Catalog) -> None:
        self.world, self.catalog = world, catalog
        self.relatedness = taxonomy.relatedness
        popularity = catalog.leaf_popularity
        self._beside = np.where(self.relatedness < 1, self.relatedness, 0) ** 2 * popularity
        self._related_rows = cumulative_rows(self._beside)
        self._popular = np.cumsum(popularity) / popularity.sum()
        turned = popularity[np.argsort(np.argsort(-popularity))[::-1].argsort()]
        self._drifted_popular = np.cumsum(turned) / turned.sum()
        sizes = np.bincount(catalog.leaf, minlength=len(popularity))
        self._leaf_first = np.cumsum(sizes) - sizes
        self._items_by_share = np.cumsum(catalog.item_share)
        self._epoch_us = (
            int(datetime.combine(world.start_date, datetime.min.time(), UTC).timestamp()) * SECOND_US
        )
        self._hours = np.concatenate([[0], np.cumsum(measured.HOURS)]) / sum(measured.HOURS)

    @property
    def chunks(self) -> int:
        return -(-self.world.users // self.world.users_per_chunk)

    def _drifted(self, seconds: np.ndarray) -> np.ndarray:
        day = self.world.drift_day
        return np.zeros(len(seconds), bool) if day is None else seconds >= day * DAY_S

    def _popular_leaf(self, rng: np.random.Generator, drifted: np.ndarray) -> np.ndarray:
        u = rng.random(len(drifted))
        leaf = np.searchsorted(self._popular, u, side="right")
        if drifted.any():
            leaf[drifted] = np.searchsorted(self._drifted_popular, u[drifted], side="right")
        return np.minimum(leaf, len(self._popular) - 1)

    def _related_leaf(self, rng: np.random.Generator, leaf: np.ndarray) -> np.ndarray:
        n = len(self._popular)
        drawn = np.searchsorted(self._related_rows, leaf + rng.random(len(leaf)), side="right") - leaf * n
        return np.minimum(drawn, n - 1)

    def _item(self, rng: np.random.Generator, leaf: np.ndarray) -> np.ndarray:
        # The shares of each leaf's items sum to 1, so leaf + u falls on one of its items.
        drawn = np.searchsorted(self._items_by_share, leaf + rng.random(len(leaf)), side="right")
        return np.minimum(np.maximum(drawn, self._leaf_first[leaf]), len(self.catalog.leaf) - 1)

    def _planned_starts(self, rng: np.random.Generator, sessions: np.ndarray) -> np.ndarray:
        """Seconds since the first midnight, ascending, shape [users, most sessions of a user].

        A journey that would leave the window goes on at its beginning: no day has more sessions than another.
        Beyond a user's last session the time is NEVER.
        """
        world = self.world
        most = len(world.sessions_per_user)
        log_gap = rng.normal(
            np.log(world.session_gap_median_h), world.session_gap_log_sd, (len(sessions), most)
        )
        gap = SESSION_PAUSE_S + np.exp(log_gap) * HOUR_S
        gap[:, 0] = rng.random(len(sessions)) * world.days * DAY_S
        start = np.cumsum(gap, axis=1) % (world.days * DAY_S)
        start = np.sort(np.where(np.arange(most) < sessions[:, None], start, NEVER), axis=1)
        midnight = start // DAY_S * DAY_S
        of_day = np.interp((start - midnight) / DAY_S, self._hours, np.arange(25) / 24)
        return midnight + of_day * DAY_S

    def chunk(self, index: int) -> Chunk:
        """Simulate the users of one chunk, session by session: the k-th sessions of all users at once."""
        world = self.world
        rng = np.random.default_rng(np.random.SeedSequence(world.seed, spawn_key=(1, index)))
        first_user = index * world.users_per_chunk
        users = min(world.users_per_chunk, world.users - first_user)
        shares = np.array(world.sessions_per_user)
        sessions = 1 + rng.choice(len(shares), users, p=shares / shares.sum())
        starts = self._planned_starts(rng, sessions)
        country, device = COUNTRY.draw(rng, users), DEVICE.draw(rng, users)
        readiness = rng.normal(world.return_log_odds * np.log(sessions), world.readiness_sd)
        readiness += COUNTRY.effect[country] + DEVICE.effect[device]
        budget = rng.normal(0, 0.4, users)
        intent = self._popular_leaf(rng, self._drifted(starts[:, 0]))
        carry = np.zeros(users)
        free_from = np.zeros(users)
        events, truths, plans, minds, rows = [], [], [], [], []
        session_rows = 0
        for k in range(int(sessions.max())):
            user = np.flatnonzero(sessions > k)
            start = np.maximum(starts[user, k], free_from[user])
            if k:
                carry[user] *= np.exp(-(start - free_from[user]).clip(0) / DAY_S / world.touch_memory_days)
            drifted = self._drifted(start)
            channel = CHANNEL.draw(rng, len(user))
            if drifted.any():
                channel[drifted] = CHANNEL.draw(rng, int(drifted.sum()), DRIFTED_CHANNEL_SHARES)
            ready = readiness[user] + CHANNEL.effect[channel] + rng.normal(0, world.mood_sd, len(user))
            ready += carry[user] + self.catalog.leaf_effect[intent[user]]
            mind = {"intent": intent[user], "ready": ready, "budget": budget[user], "drifted": drifted}
            log, truth, plan, ordered, touches, end = self._sessions(rng, start, mind)
            for part in (log, truth, plan):
                part["session"] = part["session"] + session_rows
            session_rows += len(user)
            events.append(log)
            truths.append(truth)
            plans.append(plan)
            minds.append(mind)
            rows.append((user, np.full(len(user), k + 1), channel))
            # An order ends the intent: the next one is as often something that goes with it as anything else.
            carry[user] = np.where(ordered, 0, carry[user] + touches)
            follows = rng.random(len(user)) < 0.5
            next_intent = np.where(
                follows, self._related_leaf(rng, intent[user]), self._popular_leaf(rng, drifted)
            )
            intent[user] = np.where(ordered, next_intent, intent[user])
            free_from[user] = end + SESSION_PAUSE_S
        user, ordinal, channel = (np.concatenate(column) for column in zip(*rows, strict=True))
        log = _joined(events)
        order = np.argsort(log["time_us"], kind="stable")
        return Chunk(
            first_user=first_user,
            users=users,
            session_user=user,
            session_ordinal=ordinal,
            session_channel=channel,
            session_device=device[user],
            session_country=country[user],
            events={key: values[order] for key, values in log.items()},
            truth=_joined(truths),
            minds=_joined(minds),
            plans=_joined(plans),
        )

    def beside(self) -> np.ndarray:
        """Where a step to a related leaf leads, [from leaf, to leaf], rows sum to 1."""
        return self._beside / self._beside.sum(axis=1, keepdims=True)

    def touch_effect(self, item: np.ndarray, intent: np.ndarray) -> np.ndarray:
        """u_i of a click on `item` under `intent`, log-odds; arrays broadcast."""
        fit = self.relatedness[self.catalog.leaf[item], intent]
        return self.world.touch_log_odds * fit * self.catalog.touch_factor[item]

    def cart_probability(
        self, item: np.ndarray, intent: np.ndarray, ready: np.ndarray, budget: np.ndarray, drifted: np.ndarray
    ) -> np.ndarray:
        """k_i of a clicked `item`; arrays broadcast."""
        world, catalog = self.world, self.catalog
        fit = self.relatedness[catalog.leaf[item], intent]
        expensive = catalog.log_price_to_leaf[item] + np.log(self.price_factor(drifted)) - budget
        cart_log_odds = world.cart_log_odds + world.cart_readiness * ready + catalog.quality[item]
        misfit = world.price_log_odds * expensive + world.unrelated_cart_log_odds * (1 - fit)
        return sigmoid(cart_log_odds + misfit)

    def price_factor(self, drifted: np.ndarray) -> np.ndarray:
        """What prices are multiplied with."""
        return np.where(drifted, self.world.drift_price_factor, 1.0)

    def _plan(
        self, rng: np.random.Generator, intent: np.ndarray, drifted: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(session, item, want) of each planned slot.

        want: -1 a click, 0 a substitute, 1 a complement, 2 a coincidence.
        """
        world = self.world
        n = len(intent)
        clicks = np.minimum(rng.logseries(world.items_log_series, n), MOST_ITEMS)
        session = np.concatenate([np.repeat(np.arange(n), clicks), np.repeat(np.arange(n), WANTS)])
        rank = np.concatenate([runs(clicks), np.tile(MOST_ITEMS + np.arange(WANTS), n)])
        u = rng.random(len(session))
        kind = (u >= world.same_leaf).astype(int) + (u >= world.same_leaf + world.related_leaf)
        want = rank - MOST_ITEMS
        kind = np.where(want >= 0, want, kind)
        leaf = intent[session]
        related, popular = np.flatnonzero(kind == 1), np.flatnonzero(kind == 2)
        leaf[related] = self._related_leaf(rng, leaf[related])
        leaf[popular] = self._popular_leaf(rng, drifted[session[popular]])
        item = self._item(rng, leaf)
        # An item is planned once per session; a click comes before a want.
        by_item = np.lexsort((rank, session * len(self.catalog.leaf) + item))
        same = session[by_item] * len(self.catalog.leaf) + item[by_item]
        keep = by_item[np.concatenate([[True], same[1:] != same[:-1]])]
        keep = keep[np.lexsort((rank[keep], session[keep]))]
        return session[keep], item[keep], np.maximum(want[keep], -1)

    def _sessions(
        self, rng: np.random.Generator, start: np.ndarray, mind: dict[str, np.ndarray]
    ) -> tuple[
        dict[str, np.ndarray],
        dict[str, np.ndarray],
        dict[str, np.ndarray],
        np.ndarray,
        np.ndarray,
        np.ndarray,
    ]:
        """One session each of some users: (events, truth, plan, ordered, sum of touches, end in seconds).

        Adds `order_log_odds` to what is given of `mind`.
        """
        world, catalog = self.world, self.catalog
        n = len(start)
        intent, ready, drifted = mind["intent"], mind["ready"], mind["drifted"]
        session, item, want = self._plan(rng, intent, drifted)
        clicked = want < 0
        leaf = catalog.leaf[item]
        touch = self.touch_effect(item, intent[session]) * clicked
        touches = np.bincount(session, touch, n)
        order_log_odds = mind["order_log_odds"] = world.order_log_odds + ready + touches
        p_cart = clicked * self.cart_probability(
            item, intent[session], ready[session], mind["budget"][session], drifted[session]
        )
        mix = np.array([world.same_leaf, world.related_leaf, 1 - world.same_leaf - world.related_leaf, 0.0])
        p_want = np.minimum(world.unclicked_per_order * mix, 0.95)[want]
        kept = 1 - measured.REMOVAL_RATE

        # Everything random about the outcome, then the truth of it.
        cart = rng.random(len(item)) < p_cart
        removed = cart & (rng.random(len(item)) < measured.REMOVAL_RATE)
        going = rng.random(n) < sigmoid(order_log_odds)
        bought = going[session] & ((cart & ~removed) | (rng.random(len(item)) < p_want))
        ordered = np.bincount(session, bought, n) > 0
        q = p_cart * kept + p_want
        q_carted = np.where(clicked, cart * kept, q)
        truth = {"session": session[clicked], "item": item[clicked]} | purchase_probabilities(
            order_log_odds,
            touch,
            q,
            q_carted,
            leaf,
            session,
            clicked,
            self.relatedness,
        )

        # When it happens: clicks at growing times, the cart before the next click, orders after the last.
        gap = 4 + np.exp(
            rng.normal(np.log(measured.ITEM_GAP_MEDIAN_S - 4), measured.ITEM_GAP_LOG_SD, len(item))
        )
        gap = np.minimum(gap, HOUR_S / 3) * clicked
        ends = np.cumsum(gap)
        last = np.cumsum(np.bincount(session, minlength=n)) - 1
        before = np.concatenate([[0.0], ends[last][:-1]])
        browsed = start + ends[last] - before
        at = start[session] + ends - gap - before[session]

        parts: list[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        parent, price = catalog.sku[item], catalog.price[item] * self.price_factor(drifted)[session]
        variant = parent + np.minimum(
            1 + np.floor(rng.random(len(item)) * catalog.variants[item]), catalog.variants[item]
        ).astype(np.int64)
        none = np.full(len(item), -1)

        def log(
            kind: int, slots: np.ndarray, when: np.ndarray, sku=parent, quantity=none, position=none
        ) -> None:
            parts.append((kind, slots, when, sku[slots], quantity[slots], position[slots]))

        position = rng.geometric(0.2, len(item)) - 1
        clicks = np.flatnonzero(clicked)
        again = np.repeat(clicks, rng.poisson(measured.CLICKS_PER_EXAMPLE - 1, len(clicks)))
        slots = np.concatenate([clicks, again])
        repeats = at[again] + rng.random(len(again)) * (browsed[session[again]] - at[again])
        when = np.concatenate([at[clicks], repeats])
        log(CLICK, slots, when, position=position)
        twin = rng.random(len(slots)) < measured.DETAIL_VIEWS_PER_CLICK
        log(DETAIL_VIEW, slots[twin], when[twin] + rng.uniform(0.005, 1.5, int(twin.sum())))
        shown = np.tile(clicks, world.impressions_per_click)
        if len(shown):
            parts.append(self._impressions(rng, shown, len(clicks), item, parent, position, at))

        carts = np.flatnonzero(cart)
        log(ADD_TO_CART, carts, at[carts] + gap[carts] * rng.uniform(0.1, 0.9, len(carts)), sku=variant)
        late = np.flatnonzero(bought & ~clicked)
        log(ADD_TO_CART, late, browsed[session[late]] + rng.uniform(1, 9, len(late)), sku=variant)
        out = np.flatnonzero(removed)
        log(REMOVE_FROM_CART, out, browsed[session[out]] + rng.uniform(10, 19, len(out)), sku=variant)
        leaves_basket = rng.random(n) < measured.CHECKOUT_WITHOUT_ORDER
        in_checkout = np.flatnonzero(bought | (cart & ~removed & ~ordered[session] & leaves_basket[session]))
        steps = np.repeat(in_checkout, measured.CHECKOUT_LINES_PER_ITEM)
        step = np.tile(np.arange(measured.CHECKOUT_LINES_PER_ITEM), len(in_checkout))
        log(CHECKOUT, steps, browsed[session[steps]] + 20 + 15 * step, sku=variant)
        lines = np.flatnonzero(bought)
        quantities = list(measured.QUANTITIES)
        quantity = rng.choice(quantities, len(item), p=list(measured.QUANTITIES.values()))
        paid = browsed[session[lines]] + 120
        log(PURCHASE, lines, paid, sku=variant, quantity=quantity)
        twice = rng.random(len(lines)) < world.duplicated_purchases
        delay = np.minimum(rng.exponential(0.045, int(twice.sum())) + 0.001, 1.5)
        log(PURCHASE, lines[twice], paid[twice] + delay, sku=variant)

        kinds, slot, seconds, sku, quantity, position = zip(*parts, strict=True)
        slot = np.concatenate(slot)
        sku = np.concatenate(sku)
        plan = {
            "session": session,
            "item": item,
            "clicked": clicked,
            "q": q,
            "q_carted": q_carted,
            "time_us": self._us(at),
            "until_us": self._us(at + gap),
        }
        events = {
            "session": session[slot],
            "time_us": self._us(np.concatenate(seconds)),
            "type": np.repeat(np.array(kinds, np.int8), [len(s) for s in seconds]),
            "sku": sku,
            "price": price[slot].astype(np.float32),
            "quantity": np.concatenate(quantity).astype(np.int32),
            "list_position": np.concatenate(position).astype(np.int32),
        }
        return events, truth, plan, ordered, touches, browsed + 150

    def _us(self, seconds: np.ndarray) -> np.ndarray:
        """Microseconds since the epoch of seconds since the first midnight."""
        return self._epoch_us + np.round(seconds * SECOND_US).astype(np.int64)

    def _impressions(
        self,
        rng: np.random.Generator,
        shown: np.ndarray,
        clicks: int,
        item: np.ndarray,
        parent: np.ndarray,
        position: np.ndarray,
        at: np.ndarray,
    ) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The clicked item itself and popular items of its leaf, seen up to ten seconds before the click."""
        other = self._item(rng, self.catalog.leaf[item[shown]])
        sku = self.catalog.sku[other]
        sku[:clicks] = parent[shown[:clicks]]
        place = rng.geometric(0.1, len(shown)) - 1
        place[:clicks] = position[shown[:clicks]]
        seconds = at[shown] - rng.uniform(1, 10, len(shown))
        return IMPRESSION, shown, seconds, sku, np.full(len(shown), -1), place
