"""Lists shown to shoppers: draws against expectations, both against the formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.recommendations import ClickModel, ShownItems, Visits, candidates, page_attraction, visits
from simulator.store import Store
from simulator.worlds import World

WORLD = World(users=4000, users_per_chunk=4000, items_per_leaf=3, order_log_odds=-1.5)
CLICKS = ClickModel(attraction=0.05, attraction_of_fit=0.4)


@pytest.fixture(scope="module")
def store() -> Store:
    return Store(WORLD)


@pytest.fixture(scope="module")
def shown(store: Store) -> tuple[Visits, np.ndarray, ShownItems]:
    chunk = store.shoppers.chunk(0)
    at = visits(chunk, np.arange(len(chunk.session_user)))
    items = candidates(store.shoppers, at.page, 12, np.random.default_rng(0))
    return at, items, ShownItems(store.shoppers, CLICKS, at, items)


def test_without_a_click_the_session_is_the_plan(store: Store, shown) -> None:
    """The probability of an order that the truth of the logs says, given the first item's cart."""
    at, _, found = shown
    chunk = store.shoppers.chunk(0)
    plan = chunk.plans
    second = np.flatnonzero(chunk.truth["session"][1:] == chunk.truth["session"][:-1]) + 1
    second = second[np.r_[True, np.diff(chunk.truth["session"][second]) > 0]]
    same = {session: k for k, session in enumerate(at.session)}
    mine = [same[s] for s in chunk.truth["session"][second]]
    # The second click's truth knows whether the first item was carted, and not its own.
    np.testing.assert_allclose(found.p_order_without[mine], chunk.truth["p_conversion"][second], rtol=1e-10)
    assert len(plan["session"]) == len(at.slot_visit)


def test_a_click_on_a_planned_item_changes_nothing(store: Store, shown) -> None:
    at, _, _ = shown
    later = np.flatnonzero(at.slot_clicked & np.r_[False, at.slot_visit[1:] == at.slot_visit[:-1]])
    items = at.page[:, None].copy()
    items[at.slot_visit[later], 0] = at.slot_item[later]
    found = ShownItems(store.shoppers, CLICKS, at, items)
    np.testing.assert_allclose(found.p_order[:, 0], found.p_order_without, rtol=1e-12)
    np.testing.assert_allclose(found.value[:, 0], found.value_without, rtol=1e-9)


def test_a_click_adds_its_touch_and_its_own_purchase(store: Store, shown) -> None:
    at, items, found = shown
    gain = found.p_order - found.p_order_without[:, None]
    fresh = found._slot < 0
    assert (gain[fresh] > 0).all()
    fit = store.taxonomy.relatedness[store.catalog.leaf[items], at.intent[:, None]]
    assert gain[fresh & (fit == 1)].mean() > 2 * gain[fresh & (fit == 0)].mean()


@given(st.integers(0, 2**32 - 1))
def test_list_clicks_are_the_cascade(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.random((1, 4))
    got = CLICKS.list_clicks(a)[0]
    reach = 1.0
    for place in range(4):
        assert got[place] == pytest.approx(reach * a[0, place])
        reach *= (1 - a[0, place]) * CLICKS.persistence


def test_draws_have_the_expected_means(shown) -> None:
    _, items, found = shown
    rng = np.random.default_rng(3)
    lists = np.argsort(rng.random(items.shape), axis=1)[:, :6]
    expected = found.expected(CLICKS, lists)
    draws = [found.happens(CLICKS, lists, found.draw(rng)) for _ in range(40)]
    for name, means in expected.items():
        mean = np.mean([draw[name] for draw in draws], axis=0)
        spread = np.std([draw[name].mean() for draw in draws], ddof=1) / np.sqrt(len(draws))
        assert abs(mean.mean() - means.mean()) < 4 * spread, name
    assert (expected["own"] <= expected["ordered_after"] + 1e-12).all()


def test_common_random_numbers_say_the_same_of_the_same_list(shown) -> None:
    _, items, found = shown
    lists = np.tile(np.arange(5), (len(items), 1))
    draw = found.draw(np.random.default_rng(1))
    one, other = (found.happens(CLICKS, lists, draw) for _ in range(2))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_candidates_are_distinct_and_never_the_page(store: Store, shown) -> None:
    at, items, _ = shown
    assert (np.diff(np.sort(items, axis=1), axis=1) > 0).all()
    assert (items != at.page[:, None]).all()
    leaf = store.catalog.leaf
    assert 0.02 < (leaf[items] == leaf[at.page][:, None]).mean() < 0.5


def test_the_shared_click_model_is_calibrated(store: Store, shown) -> None:
    """Over first pages of first sessions, as often clicked as it says, leaf by relation to the page."""
    at, items, found = shown
    chunk = store.shoppers.chunk(0)
    first = chunk.session_ordinal[at.session] == 1
    leaf = store.catalog.leaf
    said = page_attraction(store.shoppers, CLICKS)[leaf[at.page][:, None], leaf[items]]
    near = store.taxonomy.relatedness[leaf[at.page][:, None], leaf[items]]
    for part in (near == 1, (near > 0) & (near < 1), near == 0):
        rows = part & first[:, None]
        assert said[rows].mean() == pytest.approx(found.attraction[rows].mean(), rel=0.05)
