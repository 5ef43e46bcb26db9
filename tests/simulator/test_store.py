import json
import os
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import InputError
from simulator import store as store_module
from simulator.shoppers import EVENT_TYPES
from simulator.store import Store, is_complete, simulate
from simulator.worlds import World

SMALL = World(users=900, users_per_chunk=400, items_per_leaf=3)


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("simulated") / "store"
    simulate(SMALL, directory)
    return directory


@pytest.fixture(scope="module")
def events(written: Path) -> pl.DataFrame:
    return pl.read_parquet(written / "events" / "*.parquet").with_columns(
        pl.col("event_type").cast(pl.String)
    )


def test_the_same_world_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    simulate(SMALL, tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(written)


def test_another_seed_gives_another_store(written: Path, tmp_path: Path) -> None:
    simulate(SMALL.model_copy(update={"seed": 2}), tmp_path / "other")
    other, first = files_of(tmp_path / "other"), files_of(written)
    assert all(other[name] != first[name] for name in first if name != "truth/relatedness.parquet")


def test_chunks_are_independent_of_each_other(written: Path) -> None:
    store = Store(SMALL)
    for index in (2, 0, 1):
        events, truth = store.tables(index)
        assert pl.from_arrow(events).equals(pl.read_parquet(written / "events" / f"part-{index:05d}.parquet"))
        assert pl.from_arrow(truth).equals(pl.read_parquet(written / "truth" / f"clicks-{index:05d}.parquet"))


def test_the_record_counts_what_is_written(written: Path, events: pl.DataFrame) -> None:
    record = json.loads((written / "truth" / "world.json").read_text())
    assert World(**record["settings"]) == SMALL and record["sha256"] == SMALL.sha256()
    assert {**dict.fromkeys(EVENT_TYPES, 0), **dict(events["event_type"].value_counts().rows())} == record[
        "events"
    ]
    truth = pl.read_parquet(written / "truth" / "clicks-*.parquet")
    assert record["click_examples"] == truth.height
    assert record["mean"]["p_caba"] == pytest.approx(truth["p_caba"].cast(pl.Float64).mean())
    assert record["files"] == [name for name in files_of(written) if name.endswith(".parquet")]


def test_columns_follow_the_input_contract(events: pl.DataFrame) -> None:
    expected = {
        "user_id": pl.String,
        "session_id": pl.String,
        "event_time": pl.Datetime("us", "UTC"),
        "event_type": pl.String,
        "product_id": pl.String,
        "price": pl.Float32,
        "quantity": pl.Int32,
        "revenue": pl.Float32,
        "list_position": pl.Int32,
        "channel": pl.Categorical,
        "device": pl.Categorical,
        "country": pl.Categorical,
    }
    assert list(events.columns) == list(expected)
    strings = [name for name, kind in expected.items() if kind == pl.Categorical]
    assert {name: kind for name, kind in events.schema.items() if name not in strings} == {
        name: kind for name, kind in expected.items() if name not in strings
    }
    required = events.select("user_id", "session_id", "event_time", "event_type", "product_id", "price")
    assert required.null_count().sum_horizontal().item() == 0
    assert set(events["event_type"]) == set(EVENT_TYPES)
    assert events.group_by("session_id").agg(pl.col("user_id").n_unique())["user_id"].max() == 1


def test_clicks_carry_the_parent_sku_and_purchases_a_variant(written: Path, events: pl.DataFrame) -> None:
    catalog = pl.read_parquet(written / "catalog.parquet")
    assert catalog["product_id"].is_unique().all()
    assert events["product_id"].is_in(catalog["product_id"].implode()).all()
    grouped = events.join(catalog, on="product_id").filter(pl.col("item_group_id").is_not_null())
    is_variant = pl.col("product_id").str.contains("-", literal=True)
    clicks = grouped.filter(pl.col("event_type").is_in(["impression", "click", "detail_view"]))
    orders = grouped.filter(pl.col("event_type").is_in(["add_to_cart", "purchase"]))
    assert clicks.select(is_variant.any()).item() is False
    assert orders.select(is_variant.all()).item() is True
    alone = catalog.filter(pl.col("item_group_id").is_null())
    assert 0 < alone.height < catalog.height
    assert 0 < catalog["category_path"].null_count() < 0.1 * catalog.height


def test_every_purchase_line_has_a_twin_within_two_seconds_without_quantity(events: pl.DataFrame) -> None:
    lines = events.filter(pl.col("event_type") == "purchase").group_by("session_id", "product_id")
    lines = lines.agg(
        pl.len(),
        pl.col("quantity").null_count().alias("without"),
        (pl.col("event_time").max() - pl.col("event_time").min()).dt.total_milliseconds().alias("apart_ms"),
    )
    assert lines.height > 20
    assert (lines["len"] == 2).all() and (lines["without"] == 1).all()
    assert lines["apart_ms"].max() < 2000


def test_the_share_of_twins_is_a_setting(tmp_path: Path) -> None:
    simulate(SMALL.model_copy(update={"duplicated_purchases": 0.5}), tmp_path / "store")
    orders = pl.read_parquet(tmp_path / "store" / "events" / "*.parquet").filter(
        pl.col("event_type").cast(pl.String) == "purchase"
    )
    lines = orders.group_by("session_id", "product_id").len()["len"]
    assert set(lines) == {1, 2}


def test_a_detail_view_follows_its_click_within_two_seconds(events: pl.DataFrame) -> None:
    clicks = events.filter(pl.col("event_type") == "click").select("session_id", "product_id", "event_time")
    views = events.filter(pl.col("event_type") == "detail_view").select(
        "session_id", "product_id", "event_time"
    )
    near = views.sort("event_time").join_asof(
        clicks.with_columns(clicked=pl.col("event_time")).sort("event_time"),
        on="event_time",
        by=["session_id", "product_id"],
        tolerance="2s",
        check_sortedness=False,
    )
    assert near["clicked"].null_count() == 0
    assert 0.7 < views.height / clicks.height < 0.9


def test_several_files_each_span_the_whole_period(written: Path, events: pl.DataFrame) -> None:
    files = sorted((written / "events").iterdir())
    assert len(files) == 3
    for file in files:
        days = pl.read_parquet(file)["event_time"].dt.date().n_unique()
        assert days >= SMALL.days
    assert events["event_time"].min().date() >= SMALL.start_date.replace(day=SMALL.start_date.day - 1)


def test_a_complete_store_of_the_world_is_left_alone(written: Path) -> None:
    before = {path: os.stat(path).st_mtime_ns for path in written.rglob("*")}
    seen = []
    record = simulate(SMALL, written, lambda done, users: seen.append((done, users)))
    assert {path: os.stat(path).st_mtime_ns for path in written.rglob("*")} == before
    assert record["sha256"] == SMALL.sha256() and seen == [(SMALL.users, SMALL.users)]
    assert is_complete(SMALL, written) and not is_complete(SMALL.model_copy(update={"seed": 9}), written)


def test_a_store_with_a_missing_file_is_written_again(tmp_path: Path) -> None:
    simulate(SMALL, tmp_path / "store")
    (tmp_path / "store" / "events" / "part-00001.parquet").unlink()
    simulate(SMALL, tmp_path / "store")
    assert (tmp_path / "store" / "events" / "part-00001.parquet").exists()


def test_an_earlier_store_is_replaced_as_a_whole(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    simulate(SMALL, directory)
    simulate(SMALL.model_copy(update={"users": 300}), directory)
    assert [path.name for path in (directory / "events").iterdir()] == ["part-00000.parquet"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="exists and is not a simulated store"):
        simulate(SMALL, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "store"
    simulate(SMALL, directory)
    before = files_of(directory)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "_relatedness", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(SMALL.model_copy(update={"seed": 3}), directory)
    assert files_of(directory) == before
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_relatedness_is_written_in_both_directions(written: Path) -> None:
    pairs = pl.read_parquet(written / "truth" / "relatedness.parquet")
    turned = pairs.select(leaf_a="leaf_b", leaf_b="leaf_a", relatedness="relatedness")
    assert pairs.sort("leaf_a", "leaf_b").equals(turned.sort("leaf_a", "leaf_b"))
    assert pairs["relatedness"].is_between(0, 1).all()


def test_a_noisy_taxonomy_logs_wrong_categories_and_keeps_the_true_ones(tmp_path: Path) -> None:
    world = SMALL.model_copy(update={"wrong_category": 0.25, "users": 10})
    simulate(world, tmp_path / "store")
    catalog = pl.read_parquet(tmp_path / "store" / "catalog.parquet").with_columns(
        item=pl.coalesce("item_group_id", "product_id")
    )
    truth = pl.read_parquet(tmp_path / "store" / "truth" / "items.parquet")
    both = catalog.unique("item").drop_nulls("category_path").join(truth, on="item")
    assert both.height > 0.9 * truth.height
    assert 0.2 < (both["category_path"] != both["leaf"]).mean() < 0.3


def test_a_drifted_world_changes_from_its_day_on(tmp_path: Path) -> None:
    world = SMALL.model_copy(update={"drift_day": 14, "users": 2000})
    simulate(world, tmp_path / "store")
    events = pl.read_parquet(tmp_path / "store" / "events" / "*.parquet")
    late = (events["event_time"].dt.date() - world.start_date).dt.total_days() >= world.drift_day
    paid = events["channel"].cast(pl.String) == "Paid Search"
    assert paid.filter(~late).mean() < 0.1 and paid.filter(late).mean() > 0.3
    prices = events["price"]
    assert prices.filter(late).median() > 1.3 * prices.filter(~late).median()
