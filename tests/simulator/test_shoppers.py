"""The truth against what is drawn from it."""

import itertools

import numpy as np
import pytest

from simulator.shoppers import (
    ADD_TO_CART,
    CLICK,
    PURCHASE,
    Chunk,
    purchase_probabilities,
    sigmoid,
)
from simulator.store import Store
from simulator.taxonomy import RELATED_FLOOR
from simulator.worlds import PRESETS, World


class Outcomes:
    """Labels of the click examples of one chunk, derived from its events alone."""

    def __init__(self, store: Store, chunk: Chunk) -> None:
        catalog, log, truth = store.catalog, chunk.events, chunk.truth
        items = len(catalog.leaf)
        item_of_sku = np.repeat(np.arange(items), 1 + catalog.variants)
        self.key = log["session"] * items + item_of_sku[log["sku"]]
        self.example = truth["session"] * items + truth["item"]
        bought = np.unique(self.key[log["type"] == PURCHASE])
        sessions = len(chunk.session_user)
        basket_session, basket_item = np.divmod(bought, items)
        basket = np.bincount(basket_session, minlength=sessions)[truth["session"]]
        self.caba = np.isin(self.example, bought)
        self.cabb = basket > self.caba
        self.conversion = basket > 0
        self.related = np.zeros(len(self.example), bool)
        self.unrelated = np.zeros(len(self.example), bool)
        order = np.argsort(basket_session, kind="stable")
        first = np.searchsorted(basket_session[order], np.arange(sessions))
        for nth in range(int(basket.max())):
            has = basket > nth
            other = basket_item[order[first[truth["session"][has]] + nth]]
            leaf, other_leaf = catalog.leaf[truth["item"][has]], catalog.leaf[other]
            related = store.taxonomy.relatedness[leaf, other_leaf] >= RELATED_FLOOR
            is_other = other != truth["item"][has]
            self.related[has] |= related & is_other
            self.unrelated[has] |= ~related & is_other


@pytest.fixture(scope="module", params=list(PRESETS))
def simulated(request: pytest.FixtureRequest) -> tuple[Store, Chunk, Outcomes]:
    world = World(**{**PRESETS[request.param].model_dump(), "users": 12_000, "users_per_chunk": 12_000})
    store = Store(world)
    chunk = store.shoppers.chunk(0)
    return store, chunk, Outcomes(store, chunk)


OUTCOME_OF = {
    "p_caba": "caba",
    "p_cabb": "cabb",
    "p_cabb_related": "related",
    "p_cabb_unrelated": "unrelated",
    "p_conversion": "conversion",
}


def z_score(outcome: np.ndarray, p: np.ndarray, session: np.ndarray) -> float:
    """Of sum(outcome - p). Examples of a session share its fate, so the variance is taken between sessions.

    It is at least that of independent outcomes, plus one for parts where less than an outcome is expected.
    """
    between_sessions = (np.bincount(session, outcome - p) ** 2).sum()
    return float((outcome - p).sum() / np.sqrt(1 + max(between_sessions, (p * (1 - p)).sum())))


@pytest.mark.parametrize("column", list(OUTCOME_OF))
def test_outcomes_follow_the_true_probabilities(
    simulated: tuple[Store, Chunk, Outcomes], column: str
) -> None:
    _, chunk, outcomes = simulated
    p, y, session = chunk.truth[column], getattr(outcomes, OUTCOME_OF[column]), chunk.truth["session"]
    assert abs(z_score(y, p, session)) < 4
    edges = np.quantile(p, [0, 0.25, 0.5, 0.75, 0.9, 1])
    for low, high in itertools.pairwise(edges):
        part = (p >= low) & (p <= high)
        assert abs(z_score(y[part], p[part], session[part])) < 4


def test_the_check_of_probabilities_can_fail(simulated: tuple[Store, Chunk, Outcomes]) -> None:
    _, chunk, outcomes = simulated
    assert abs(z_score(outcomes.caba, chunk.truth["p_caba"] * 1.25, chunk.truth["session"])) > 4


def test_what_was_carted_before_a_click_is_in_its_truth(simulated: tuple[Store, Chunk, Outcomes]) -> None:
    """Clicks whose predecessor was carted, and those whose was not, are calibrated each by themselves."""
    _, chunk, outcomes = simulated
    session = chunk.truth["session"]
    carted = np.isin(outcomes.example, outcomes.key[chunk.events["type"] == ADD_TO_CART])
    follows = np.concatenate([[False], session[1:] == session[:-1]])
    after_cart = follows & np.roll(carted, 1)
    for part in (after_cart, follows & ~after_cart):
        y, p = outcomes.cabb[part], chunk.truth["p_cabb"][part]
        assert abs(z_score(y, p, session[part])) < 4
    rates = [chunk.truth["p_cabb"][part].mean() for part in (after_cart, follows & ~after_cart)]
    assert rates[0] > 1.5 * rates[1]


def test_every_click_example_has_one_row_of_truth(simulated: tuple[Store, Chunk, Outcomes]) -> None:
    _, chunk, outcomes = simulated
    clicked = np.unique(outcomes.key[chunk.events["type"] == CLICK])
    np.testing.assert_array_equal(clicked, np.sort(outcomes.example))


def test_uplift_is_never_negative_and_a_placebo_click_only_adds_its_own_item(
    simulated: tuple[Store, Chunk, Outcomes],
) -> None:
    _, chunk, _ = simulated
    uplift, truth = chunk.truth["uplift"], chunk.truth
    assert uplift.min() >= 0 and uplift.max() < 1
    # Own purchases that would not come with others: the least any click adds.
    assert (uplift - (truth["p_conversion"] - truth["p_cabb"]) >= -1e-12).all()
    placebo = np.isclose(uplift, truth["p_conversion"] - truth["p_cabb"], atol=1e-12)
    assert 0.02 < placebo.mean() < 0.6


def test_purchases_follow_all_clicks_of_their_session(simulated: tuple[Store, Chunk, Outcomes]) -> None:
    _, chunk, _ = simulated
    log, sessions = chunk.events, len(chunk.session_user)
    last_click, first_purchase = np.zeros(sessions, np.int64), np.full(sessions, 2**62)
    clicks, purchases = log["type"] == CLICK, log["type"] == PURCHASE
    np.maximum.at(last_click, log["session"][clicks], log["time_us"][clicks])
    np.minimum.at(first_purchase, log["session"][purchases], log["time_us"][purchases])
    assert (first_purchase > last_click).all()


def test_probabilities_equal_enumeration_of_all_baskets() -> None:
    """Three clicks and a want: the closed form against a sum over all 2^4 baskets; click 1 of 3 is carted."""
    relatedness = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    leaf = np.array([0, 1, 2, 1])
    q = np.array([0.3, 0.2, 0.5, 0.4])
    q_carted = np.array([0.86, 0.0, 0.0, 0.4])
    touch = np.array([0.5, 0.2, 0.0, 0.0])
    order = np.array([-0.4])
    clicked = np.array([True, True, True, False])
    found = purchase_probabilities(order, touch, q, q_carted, leaf, np.zeros(4, int), clicked, relatedness)
    for i in range(3):
        expected = dict.fromkeys(
            ("p_caba", "p_cabb", "p_cabb_related", "p_cabb_unrelated", "p_conversion"), 0.0
        )
        without = 0.0
        known = np.where(np.arange(4) < i, q_carted, q)
        for basket in itertools.product([False, True], repeat=4):
            bought = np.array(basket)
            weight = np.prod(np.where(bought, known, 1 - known))
            others = bought & (np.arange(4) != i)
            related = relatedness[leaf[i], leaf] >= RELATED_FLOOR
            p = weight * sigmoid(order[0])
            expected["p_caba"] += p * bought[i]
            expected["p_cabb"] += p * others.any()
            expected["p_cabb_related"] += p * (others & related).any()
            expected["p_cabb_unrelated"] += p * (others & ~related).any()
            expected["p_conversion"] += p * bought.any()
            without += weight * sigmoid(order[0] - touch[i]) * others.any()
        for name, value in expected.items():
            assert found[name][i] == pytest.approx(value, abs=1e-12)
        assert found["uplift"][i] == pytest.approx(expected["p_conversion"] - without, abs=1e-12)
