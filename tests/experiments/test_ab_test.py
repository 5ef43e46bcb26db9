"""The A/B loop on a tiny world: arms are functions of the candidates' columns; no model is trained."""

from datetime import timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from components.session_example_gen.catalog import read_catalog
from components.session_example_gen.sessions import to_arrow
from components.similarity_transform.click_features import click_features
from components.similarity_transform.labels import find_clicks, find_touches
from components.similarity_transform.popularity import Popularity, daily_counts, sum_counts
from components.similarity_transform.timeline import timeline
from experiments.ab_test.arms import OUTCOMES
from experiments.ab_test.candidate_features import candidate_features, history, shelf
from experiments.ab_test.comparison import compare
from experiments.ab_test.loop import CONTEXTS, LoopSettings, by_arm, run_loop
from experiments.ab_test.page import answer, render, sentences
from schemas.errors import InputError
from schemas.events import IMPRESSION, LogSource
from simulator.recommendations import ClickModel
from simulator.store import Store
from simulator.worlds import World

WORLD = World(
    users=600,
    users_per_chunk=600,
    days=8,
    items_per_leaf=3,
    impressions_per_click=0,
    order_log_odds=-2.0,
    without_category=0.0,
    sessions_per_user=(0.3, 0.4, 0.3),
)
DAYS = (WORLD.start_date + timedelta(days=5), WORLD.start_date + timedelta(days=8))
SETTINGS = LoopSettings(
    users=500, candidates=20, places=5, clicks=ClickModel(attraction=0.05, attraction_of_fit=0.4)
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """(source, catalog, past of the store's own users, their timeline, popularity)."""
    store = Store(WORLD)
    path = tmp_path_factory.mktemp("shop") / "catalog.parquet"
    store.catalog.table.write_parquet(path)
    source = LogSource(events=["simulated"], catalog=str(path), context_columns=CONTEXTS)
    catalog = read_catalog(source)
    log = pl.from_arrow(store.events(store.shoppers.chunk(0)))
    past = history(log.filter(pl.col("event_type").cast(pl.String) != IMPRESSION), catalog, source)
    events = timeline(None, to_arrow(past, source), "UTC")
    clicks = find_clicks(events)
    touches = find_touches(events, clicks, "session")
    daily = daily_counts(events, clicks, touches, "session", 1_800_000_000, "UTC")
    return source, catalog, past, events, Popularity(sum_counts([daily]))


def test_features_of_a_candidate_are_those_of_the_click_had_it_happened(shop):
    """Of clicks that did happen, asked for before they did, beside candidates that were not clicked."""
    source, catalog, past, events, popularity = shop
    found = find_clicks(events)
    truth = click_features(events, found, popularity, {"x": 1.0})
    later = np.flatnonzero(events.by_session.latest_before(found.anchor, events.is_click) >= 0)
    _, one_per_user = np.unique(events.user[found.anchor[later]], return_index=True)
    chosen = later[one_per_user]
    anchor = found.anchor[chosen]
    rows = past.with_row_index("row")
    target = rows[anchor]
    until = target.select("user_id", until="row")
    before = rows.join(until, on="user_id", how="inner", maintain_order="left")
    before = before.filter(pl.col("row") < pl.col("until")).drop("row", "until")
    products = shelf(catalog["product_id"].to_list(), catalog)
    position = {product: row for row, product in enumerate(products["product_id"])}
    mine = np.array([position[product] for product in target["product_id"]])
    # Another item first, so that rows are not picked by accident.
    clicked = set(zip(past["session_id"], past["item"], strict=True))
    other = np.array(
        [
            next(row for row, item in enumerate(products["item"]) if (session, item) not in clicked)
            for session in target["session_id"]
        ]
    )
    got = candidate_features(
        before,
        target.select("user_id", "session_id", "event_time", *source.context_names),
        np.stack([other, mine], axis=1),
        np.repeat(target["price"].to_numpy()[:, None], 2, axis=1),
        products,
        popularity,
        {"x": 1.0},
        source,
    )
    assert set(got) == set(truth)
    assert len(chosen) > 100
    for name, values in got.items():
        if name == "list_position":
            continue
        wanted = truth[name]
        if isinstance(wanted, pa.Array):
            assert values.take(pa.array(np.arange(len(chosen)) * 2 + 1)).equals(
                wanted.take(pa.array(chosen))
            ), name
        else:
            np.testing.assert_array_equal(values[1::2], wanted[chosen], err_msg=name)


@pytest.fixture(scope="module")
def shown(shop):
    def by_rate(columns, shape):
        return columns["leaf_cabb_rate_28d"].reshape(shape).astype(float)

    def again(columns, shape):
        return by_rate(columns, shape) * 3.0  # the same order

    def dear(columns, shape):
        return 1 / (1 + columns["price"].reshape(shape).astype(float)) ** 2

    arms = {("rate", 0): by_rate, ("same", 0): again, ("cheap", 0): dear}
    return by_arm(run_loop(WORLD, DAYS, arms, shop[-1], SETTINGS))


def test_every_arm_shows_every_user_a_list(shown):
    for (each,) in shown.values():
        assert each.items.shape == (500, 5)
        assert (np.diff(np.sort(each.items, axis=1), axis=1) > 0).all()
        assert set(each.expected) == set(each.drawn) == set(OUTCOMES)


def test_identical_arms_differ_by_exactly_nothing(shown):
    results = compare(shown, "rate", "same", Store(WORLD).catalog)
    for metric, lift in results["lifts"].items():
        assert lift["difference"] == 0 and lift["interval"] == [0, 0], metric
        assert lift["verdict"] == "cannot tell"
    np.testing.assert_array_equal(shown["rate"][0].drawn["value"], shown["same"][0].drawn["value"])
    assert results["power"]["value"]["detectable_paired"] == 0
    assert results["power"]["value"]["live_users_for_this_effect"] is None


def test_the_oracle_beats_a_random_list(shown):
    results = compare(shown, "random list", "oracle", Store(WORLD).catalog)
    for metric in ("value", "ordered", "clicked"):
        assert results["lifts"][metric]["verdict"] == "higher", metric
    arm = {each["name"]: each["value"] for each in results["arms"]}
    assert arm["oracle"] == max(arm.values())
    assert (
        compare(shown, "oracle", "random list", Store(WORLD).catalog)["lifts"]["value"]["verdict"] == "lower"
    )


def test_common_random_numbers_and_true_probabilities_narrow_the_test(shown):
    power = compare(shown, "rate", "cheap", Store(WORLD).catalog)["power"]
    for metric in power.values():
        assert metric["detectable_exact"] < metric["detectable_paired"] < metric["detectable_live"]


def test_the_loop_repeats_and_depends_on_its_seed(shop, shown):
    small = SETTINGS.model_copy(update={"users": 60})

    def flat(columns, shape):
        return np.ones(shape)

    arms = {("flat", 0): flat}
    one, other = (run_loop(WORLD, DAYS, arms, shop[-1], small) for _ in range(2))
    for key in one:
        np.testing.assert_array_equal(one[key].items, other[key].items)
        np.testing.assert_array_equal(one[key].drawn["value"], other[key].drawn["value"])
    # An arm that knows nothing ranks by clicks alone: both are given the same click model.
    np.testing.assert_array_equal(one["flat", 0].items, one["clicks alone", 0].items)
    moved = run_loop(WORLD, DAYS, arms, shop[-1], small.model_copy(update={"seed": 1}))
    assert (moved["flat", 0].items != one["flat", 0].items).any()


def test_the_luck_of_trainings_widens_the_interval(shown):
    """Two trainings that differ are a mean between them, with an interval that reaches both."""
    catalog = Store(WORLD).catalog
    both = shown | {"lucky or not": [*shown["oracle"], *shown["random list"]]}
    results = compare(both, "clicks alone", "lucky or not", catalog)
    arm = {each["name"]: each["value"] for each in results["arms"]}
    assert arm["lucky or not"] == pytest.approx((arm["oracle"] + arm["random list"]) / 2)
    low, high = results["lifts"]["value"]["interval"]
    assert low < arm["random list"] - arm["clicks alone"] + 1e-9
    assert high > arm["oracle"] - arm["clicks alone"] - 1e-9


def test_days_of_another_world_are_refused(shop):
    nobody = (WORLD.start_date - timedelta(days=9), WORLD.start_date)
    with pytest.raises(InputError, match="not within the world"):
        run_loop(WORLD, nobody, {}, shop[-1], SETTINGS)


def test_the_page_says_what_was_found(shown):
    results = compare(shown, "random list", "oracle", Store(WORLD).catalog)
    results |= {"world": "world <tiny>", "settings": SETTINGS.model_dump(mode="json")}
    assert answer(results) == "oracle earns more than random list"
    assert "higher" in sentences(results)[0]
    page = render(results)
    assert "world &lt;tiny&gt;" in page
    assert "one training of either arm" in page
    assert "http" not in page.replace("http://www.w3.org", "")
