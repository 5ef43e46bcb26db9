"""The A/B loop: every arm shows every user a list, and the shoppers' truth says what it leads to (CABB 5)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from datetime import date

import numpy as np
import pyarrow as pa
from pydantic import Field

from components.session_example_gen.catalog import read_catalog
from components.similarity_transform.leaf_prices import mean_leaf_prices
from components.similarity_transform.popularity import Popularity
from experiments.ab_test.arms import Shown, Value, joined, show
from experiments.ab_test.audience import Audience, audiences
from experiments.ab_test.candidate_features import candidate_features, history, shelf
from schemas.events import CONTEXT_PREFIX, LogSource
from schemas.settings import Settings
from simulator.recommendations import ClickModel, ShownItems, candidates, page_attraction
from simulator.store import Store
from simulator.worlds import World

Columns = Mapping[str, np.ndarray | pa.Array]
Arm = Callable[[Columns, tuple[int, int]], np.ndarray]
"""Columns of the candidates and their shape [users, candidates] -> p_conversion of each."""

Key = tuple[str, int]
"""An arm and the number of its training."""

CONTEXTS = ["channel", "device", "country"]
REFERENCES = ("random list", "clicks alone", "oracle")
"""Lists without a model: any order; click probability x value; the true gain of a click x the true click
probability."""


class LoopSettings(Settings):
    """What is shown to whom.

    Attributes:
        users: who come, one visit each; every arm shows each of them a list.
        candidates: items to choose from, the same for all arms.
        places: length of a list.
        value: of a conversion in the ranking: the item's price, or the same for all.
        clicks: how lists are clicked.
        seed: of candidates and draws.
    """

    users: int = Field(4000, ge=2)
    candidates: int = Field(40, ge=2)
    places: int = Field(10, ge=2)
    value: Value = "price"
    clicks: ClickModel = ClickModel()
    seed: int = 0


def run_loop(
    world: World,
    days: tuple[date, date],
    arms: Mapping[Key, Arm],
    popularity: Popularity,
    settings: LoopSettings,
    progress: Callable[[int], None] = lambda users: None,
) -> dict[Key, Shown]:
    """What the lists of every arm's trainings and of `REFERENCES` lead to, by user.

    All arms see the same users, candidates, click model and random numbers.

    Args:
        days: the first on which users come, and the one after the last.
        arms: (arm, number of the training) -> its scores.
        popularity: that of the run that trained the arms (`popularity_of`).
        progress: told how many users are done.

    Raises:
        InputError: fewer users come on these days.
    """
    parts: dict[Key, list[Shown]] = {key: [] for key in (*arms, *((name, 0) for name in REFERENCES))}
    done = 0
    shop: _Shop | None = None
    for number, (store, audience) in enumerate(audiences(world, days, settings.users)):
        if shop is None:
            shop = _Shop(store, settings.clicks)
        for key, shown in _shown(shop, popularity, audience, arms, settings, number).items():
            parts[key].append(shown)
        done += len(audience)
        progress(done)
    return {key: joined(each) for key, each in parts.items()}


def by_arm(shown: Mapping[Key, Shown]) -> dict[str, list[Shown]]:
    """Arm -> its trainings."""
    arms: dict[str, list[Shown]] = {}
    for (name, _), each in shown.items():
        arms.setdefault(name, []).append(each)
    return arms


class _Shop:
    """What does not depend on the visit."""

    def __init__(self, store: Store, clicks: ClickModel):
        self.store = store
        with tempfile.TemporaryDirectory(prefix="cabb-catalog-") as scratch:
            path = f"{scratch}/catalog.parquet"
            store.catalog.table.write_parquet(path)
            self.source = LogSource(events=["simulated"], catalog=path, context_columns=CONTEXTS)
            self.catalog = read_catalog(self.source)
        self.leaf_prices = mean_leaf_prices(self.catalog)
        parents = np.array(store.catalog.product_ids)[store.catalog.sku]
        self.products = shelf(parents.tolist(), self.catalog)
        self.page_attraction = page_attraction(store.shoppers, clicks)


def _shown(
    shop: _Shop,
    popularity: Popularity,
    audience: Audience,
    arms: Mapping[Key, Arm],
    settings: LoopSettings,
    number: int,
) -> dict[Key, Shown]:
    rng = np.random.default_rng([settings.seed, number])
    shoppers, catalog, at = shop.store.shoppers, shop.store.catalog, audience.at
    items = candidates(shoppers, at.page, settings.candidates, rng)
    truth = ShownItems(shoppers, settings.clicks, at, items)
    draw, anything = truth.draw(rng), rng.random(items.shape)
    prices = catalog.price[items] * shoppers.price_factor(at.drifted)[:, None]
    value = prices if settings.value == "price" else np.ones(items.shape)
    clicked = shop.page_attraction[catalog.leaf[at.page][:, None], catalog.leaf[items]]
    columns = candidate_features(
        history(audience.events, shop.catalog, shop.source),
        audience.moments.rename({name: CONTEXT_PREFIX + name for name in CONTEXTS}),
        items,
        prices,
        shop.products,
        popularity,
        shop.leaf_prices,
        shop.source,
    )
    gain = (
        truth.value - truth.value_without[:, None]
        if settings.value == "price"
        else truth.p_order - truth.p_order_without[:, None]
    )
    scores = {key: clicked * arm(columns, items.shape) * value for key, arm in arms.items()}
    known = (anything, clicked * value, truth.attraction * gain)
    scores |= {(name, 0): score for name, score in zip(REFERENCES, known, strict=True)}
    return {
        key: show(
            score,
            items,
            truth,
            settings.clicks,
            draw,
            catalog,
            shoppers.relatedness,
            settings.places,
        )
        for key, score in scores.items()
    }
