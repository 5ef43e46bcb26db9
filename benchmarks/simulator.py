"""Events per second of the simulated store on one core, against the same draw as a plain Python loop.

    python -m benchmarks.simulator [--users 40000]

The peer draws sessions one by one with the standard library: plan, carts, order, the truth of every click and
a tuple per event, for users with one session each. It leaves out what would only slow it further: journeys of
several sessions, prices, contexts, ids and files. Seconds are CPU seconds of this process.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

import numpy as np

from simulator import measured
from simulator.shoppers import EVENT_TYPES, MOST_ITEMS
from simulator.store import Store, simulate
from simulator.taxonomy import RELATED_FLOOR
from simulator.worlds import World

Event = tuple[int, float, str, int]


class LoopShoppers:
    """The peer: one shopper, one item, one event at a time."""

    def __init__(self, store: Store) -> None:
        self.world, catalog = store.world, store.catalog
        self.leaf = catalog.leaf.tolist()
        self.quality = catalog.quality.tolist()
        self.touch_factor = catalog.touch_factor.tolist()
        self.relatedness = store.taxonomy.relatedness.tolist()
        self.popular = np.cumsum(catalog.leaf_popularity).tolist()
        related = store.taxonomy.relatedness
        beside = np.where(related < 1, related, 0) ** 2 * catalog.leaf_popularity
        self.related_rows = [np.cumsum(row / row.sum()).tolist() for row in beside]
        leaves = np.arange(len(related))
        self.items = [np.flatnonzero(catalog.leaf == leaf).tolist() for leaf in leaves]
        self.item_rows = [np.cumsum(catalog.item_share[catalog.leaf == leaf]).tolist() for leaf in leaves]
        self.log_series_norm = 1 / math.log(1 - self.world.items_log_series)

    def draw(self, rng: random.Random, cumulative: list[float]) -> int:
        return min(bisect_right(cumulative, rng.random()), len(cumulative) - 1)

    def leaf_of(self, rng: random.Random, kind: int, intent: int) -> int:
        if kind == 0:
            return intent
        return self.draw(rng, self.related_rows[intent] if kind == 1 else self.popular)

    def items_in_session(self, rng: random.Random) -> int:
        u, k, p = rng.random(), 1, self.world.items_log_series
        share = -p * self.log_series_norm
        while u > share and k < MOST_ITEMS:
            u -= share
            k += 1
            share *= p * (k - 1) / k
        return k

    def session(self, rng: random.Random, number: int) -> tuple[list[Event], list[tuple[float, ...]]]:
        """Events and truth of one session."""
        world = self.world
        intent = self.draw(rng, self.popular)
        ready = rng.gauss(0, world.readiness_sd)
        mix = (world.same_leaf, world.related_leaf, 1 - world.same_leaf - world.related_leaf)
        plan: dict[int, int] = {}
        kinds = rng.choices((0, 1, 2), mix, k=self.items_in_session(rng))
        for want, kind in [(-1, kind) for kind in kinds] + [(0, 0), (1, 1), (2, 2)]:
            leaf = self.leaf_of(rng, kind, intent)
            plan.setdefault(self.items[leaf][self.draw(rng, self.item_rows[leaf])], want)

        slots, touches, at = [], 0.0, 0.0
        events: list[Event] = []
        for item, want in plan.items():
            fit = self.relatedness[self.leaf[item]][intent]
            if want >= 0:
                p = min(world.unclicked_per_order * mix[want], 0.95)
                slots.append((item, False, p, p, rng.random() < p, 0.0))
                continue
            touch = world.touch_log_odds * fit * self.touch_factor[item]
            touches += touch
            log_odds = world.cart_log_odds + world.cart_readiness * ready + self.quality[item]
            k = 1 / (1 + math.exp(-(log_odds + world.unrelated_cart_log_odds * (1 - fit))))
            carted = rng.random() < k
            removed = carted and rng.random() < measured.REMOVAL_RATE
            kept = 1 - measured.REMOVAL_RATE
            slots.append((item, True, k * kept, carted * kept, carted and not removed, touch))
            for _ in range(world.impressions_per_click):
                events.append((number, at - rng.uniform(1, 10), "impression", item))
            clicks = [at]
            while rng.random() < 1 - 1 / measured.CLICKS_PER_EXAMPLE:
                clicks.append(at + rng.expovariate(1 / 60))
            for when in clicks:
                events.append((number, when, "click", item))
                if rng.random() < measured.DETAIL_VIEWS_PER_CLICK:
                    events.append((number, when + rng.uniform(0.005, 1.5), "detail_view", item))
            if carted:
                events.append((number, at + 2, "add_to_cart", item))
            if removed:
                events.append((number, at + 3, "remove_from_cart", item))
            at += 4 + rng.lognormvariate(math.log(measured.ITEM_GAP_MEDIAN_S - 4), measured.ITEM_GAP_LOG_SD)

        order_log_odds = world.order_log_odds + ready + touches
        pi = 1 / (1 + math.exp(-order_log_odds))
        goes = rng.random() < pi
        basket = [item for item, _, _, _, would, _ in slots if would]
        if basket and (goes or rng.random() < measured.CHECKOUT_WITHOUT_ORDER):
            for item in basket:
                steps = measured.CHECKOUT_LINES_PER_ITEM
                events.extend((number, at + 20 + 15 * step, "checkout", item) for step in range(steps))
        if goes:
            for item in basket:
                events.append((number, at + 120, "purchase", item))
                if rng.random() < world.duplicated_purchases:
                    events.append((number, at + 120 + rng.expovariate(20), "purchase", item))
        return events, [self.truth(slots, i, order_log_odds, pi) for i, slot in enumerate(slots) if slot[1]]

    def truth(self, slots: list, i: int, order_log_odds: float, pi: float) -> tuple[float, ...]:
        item, _, own, _, _, touch = slots[i]
        related = unrelated = 1.0
        for j, (other, _, q, q_carted, _, _) in enumerate(slots):
            if j != i:
                not_bought = 1 - (q_carted if j < i else q)
                if self.relatedness[self.leaf[item]][self.leaf[other]] >= RELATED_FLOOR:
                    related *= not_bought
                else:
                    unrelated *= not_bought
        none = related * unrelated
        conversion = pi * (1 - none * (1 - own))
        without = (1 - none) / (1 + math.exp(touch - order_log_odds))
        return (
            pi * own,
            pi * (1 - none),
            pi * (1 - related),
            pi * (1 - unrelated),
            conversion,
            conversion - without,
        )


def rate(work: Callable[[], int]) -> float:
    """Events per CPU second of some work that returns its number of events."""
    began = time.process_time()
    events = work()
    return events / (time.process_time() - began)


def main() -> None:
    """Print the three rates and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=40_000)
    world = World(users=parser.parse_args().users)
    store = Store(world)
    loop, rng = LoopShoppers(store), random.Random(world.seed)

    def drawn() -> int:
        return sum(len(store.shoppers.chunk(i).events["type"]) for i in range(store.shoppers.chunks))

    def looped() -> int:
        return sum(len(loop.session(rng, number)[0]) for number in range(world.users // 4))

    def written() -> int:
        with tempfile.TemporaryDirectory() as directory:
            return sum(simulate(world, Path(directory) / "store")["events"].values())

    ours, peer, whole = rate(drawn), rate(looped), rate(written)
    print(f"{len(EVENT_TYPES)} event types, {world.users:,} users, one core, CPU time")
    print(f"draw, NumPy by chunks        {ours:>12,.0f} events/s")
    print(f"draw, Python loop by events  {peer:>12,.0f} events/s   ratio {ours / peer:.1f}")
    print(f"draw and write to Parquet    {whole:>12,.0f} events/s   ({whole * 60 / 1e6:.1f} M a minute)")


if __name__ == "__main__":
    main()
