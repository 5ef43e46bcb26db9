"""The cited rates against the real logs they come from, and the default world against the cited rates."""

from pathlib import Path

import polars as pl
import pytest

from simulator import measured
from simulator.store import simulate
from simulator.worlds import World
from tests import real_store


class Logs:
    """Clicked, carted and bought (session, item) pairs of a store in the input contract."""

    def __init__(self, directory: Path) -> None:
        catalog = pl.read_parquet(directory / "catalog.parquet")
        self.catalog = catalog.with_columns(item=pl.coalesce("item_group_id", "product_id"))
        events = pl.scan_parquet(directory / "events" / "*.parquet")
        events = events.select(
            "user_id",
            "session_id",
            "event_time",
            "product_id",
            "price",
            pl.col("event_type", "channel", "device", "country").cast(pl.String),
        )
        events = events.filter(pl.col("event_type") != "impression").collect()
        items = self.catalog.select("product_id", "item", "category_path")
        self.events = events.join(items, on="product_id", how="left").with_columns(
            item=pl.coalesce("item", "product_id")
        )
        pair = ["session_id", "item"]
        self.clicked = (
            self.of("click", "detail_view").group_by("user_id", *pair).agg(pl.col("event_time").min())
        )
        self.sessions = self.clicked["session_id"].unique()
        self.events = self.events.filter(pl.col("session_id").is_in(self.sessions.implode()))
        self.bought = self.of("purchase").group_by(pair).agg(paid=pl.col("event_time").max())
        self.carted, self.removed = (
            self.of(name).unique(pair).select(pair) for name in ("add_to_cart", "remove_from_cart")
        )

    def of(self, *event_types: str) -> pl.DataFrame:
        return self.events.filter(pl.col("event_type").is_in(event_types))

    def rates(self) -> dict[str, float]:
        pair = ["session_id", "item"]
        later = self.clicked.join(self.bought.rename({"item": "other"}), on="session_id").filter(
            pl.col("paid") >= pl.col("event_time")
        )
        caba = later.filter(pl.col("item") == pl.col("other")).unique(pair).height
        cabb = later.filter(pl.col("item") != pl.col("other")).unique(pair).height
        examples, sessions = self.clicked.height, len(self.sessions)
        items = self.clicked.group_by("session_id").len()
        buying = items.join(self.bought.select("session_id").unique(), on="session_id")
        leaf = self.catalog.unique("item").select("item", leaf="category_path")
        steps = (
            self.clicked.join(leaf, on="item", how="left")
            .sort("session_id", "event_time")
            .with_columns(before=pl.col("leaf").shift().over("session_id"))
            .drop_nulls("before")
        )
        leaves = (
            self.clicked.join(leaf, on="item").drop_nulls("leaf")["leaf"].value_counts(sort=True)["count"]
        )
        clicks = self.clicked["item"].value_counts(sort=True)["count"]
        return {
            "ORDER_RATE": buying.height / sessions,
            "ITEMS_PER_SESSION": items["len"].mean(),
            "ITEMS_PER_ORDERING_SESSION": buying["len"].mean(),
            "CART_RATE": self.clicked.join(self.carted, on=pair, how="semi").height / examples,
            "CABA_RATE": caba / examples,
            "CABB_RATE": cabb / examples,
            "CONVERSION_RATE": later.unique(pair).height / examples,
            "ITEMS_PER_ORDER": self.bought.height / buying.height,
            "UNCLICKED_PURCHASE_SHARE": self.bought.join(self.clicked, on=pair, how="anti").height
            / self.bought.height,
            "SAME_LEAF_STEP": (steps["leaf"] == steps["before"]).mean(),
            "TOP_TENTH_LEAVES": leaves[: len(leaves) // 10].sum() / leaves.sum(),
            "TOP_TENTH_ITEMS": clicks[: len(clicks) // 10].sum() / clicks.sum(),
            "REMOVAL_RATE": self.removed.height / self.carted.height,
            "CLICKS_PER_EXAMPLE": self.of("click").height / examples,
            "DETAIL_VIEWS_PER_CLICK": self.of("detail_view").height / self.of("click").height,
        }


@pytest.fixture(scope="module")
def real() -> Logs:
    return Logs(real_store.FOLDER)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    directory = tmp_path_factory.mktemp("default") / "store"
    simulate(World(users=100_000, impressions_per_click=0), directory)
    return Logs(directory)


@real_store.needed
def test_the_cited_rates_are_those_of_the_real_logs(real: Logs) -> None:
    for name, rate in real.rates().items():
        if name in ("TOP_TENTH_LEAVES", "TOP_TENTH_ITEMS"):
            assert rate == pytest.approx(getattr(measured, name), abs=0.03), name
        else:
            assert rate == pytest.approx(getattr(measured, name), rel=0.01), name


@real_store.needed
def test_the_cited_sessions_and_contexts_are_those_of_the_real_logs(real: Logs) -> None:
    users = real.clicked.group_by("user_id").agg(pl.col("session_id").n_unique())["session_id"]
    for sessions, share in enumerate(measured.SESSIONS_PER_USER[:4], start=1):
        assert (users == sessions).mean() == pytest.approx(share, abs=1e-4)
    clicks = real.of("click", "detail_view").sort("event_time")
    of_session = clicks.group_by("session_id").agg(pl.col("channel", "device", "country").first())
    ordered = of_session["session_id"].is_in(real.bought["session_id"].implode())
    for column, rates in (
        ("channel", measured.CHANNELS),
        ("device", measured.DEVICES),
        ("country", measured.COUNTRIES),
    ):
        for value, (share, order_rate) in rates.items():
            if value != "Other":
                rows = of_session[column] == value
                assert rows.mean() == pytest.approx(share, abs=2e-3), value
                assert ordered.filter(rows).mean() == pytest.approx(order_rate, abs=2e-3), value


def test_the_default_world_meets_the_cited_rates(simulated: Logs) -> None:
    for name, rate in simulated.rates().items():
        assert rate == pytest.approx(getattr(measured, name), rel=0.08), name
    users = simulated.clicked.group_by("user_id").agg(pl.col("session_id").n_unique())["session_id"]
    assert (users == 1).mean() == pytest.approx(measured.SESSIONS_PER_USER[0], abs=0.01)
