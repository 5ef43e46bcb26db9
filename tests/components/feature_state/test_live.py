"""Live features are the training features, bit by bit, whatever the order and number of times events come."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from components.feature_state.live import Ingested, LiveFeatures
from components.feature_state.settings import FeatureStateSettings
from components.feature_state.snapshot import Snapshot
from components.feature_state.snapshot_beam import build_snapshot
from components.feature_state.store import NoStateError, SqliteStore
from components.session_example_gen.catalog import read_catalog
from components.session_example_gen.checked_logs import read_logs
from components.session_example_gen.sessions import ARRIVAL, to_arrow, to_sessions
from components.session_example_gen.splits import SplitWindows
from components.similarity_transform.click_features import click_features
from components.similarity_transform.labels import Hours, LabelSettings, find_clicks, find_touches
from components.similarity_transform.leaf_prices import mean_leaf_prices
from components.similarity_transform.popularity import Popularity, daily_counts
from components.similarity_transform.timeline import timeline
from models import features as names
from schemas.errors import InputError
from schemas.events import LogSource
from simulator.store import simulate
from simulator.worlds import world_named
from tests import real_store

CONTEXT = ["channel", "device", "country"]
KEYS = ["user_id", "event_time_us", "item"]


class Case(NamedTuple):
    """A log; what the batch makes of its eval clicks; and the feature state before the eval days."""

    source: LogSource
    coming: pl.DataFrame
    """Checked events of the eval days."""
    clicks: dict[str, np.ndarray | pa.Array]
    """Batch features of the eval clicks."""
    snapshot: Snapshot


def case_of(
    source: LogSource,
    windows: SplitWindows,
    folder: Path,
    window: str | Hours = "session",
    settings: FeatureStateSettings | None = None,
) -> Case:
    labels = LabelSettings(window=window)
    events, catalog = read_logs(source).events, read_catalog(source)
    splits = windows.split(to_sessions(events, catalog, source, ">"), source.time_zone)
    tables = {split: to_arrow(rows, source) for split, rows in splits.items()}
    for split, table in tables.items():
        (folder / f"sessions/Split-{split}").mkdir(parents=True)
        pq.write_table(table, folder / f"sessions/Split-{split}/part-00000-of-00001.parquet")
    history = timeline(tables["train"], tables["eval"], source.time_zone)
    clicks = find_clicks(history)
    touches = find_touches(history, clicks, labels.window)
    gap = round(source.session_gap_minutes * 60e6)
    daily = daily_counts(history, clicks, touches, labels.window, gap, source.time_zone)
    columns = click_features(history, clicks, Popularity(daily), mean_leaf_prices(catalog))
    rows = np.flatnonzero(history.in_eval[clicks.anchor])
    taken = {n: v[rows] if isinstance(v, np.ndarray) else v.take(pa.array(rows)) for n, v in columns.items()}
    snapshot = build_snapshot(
        folder / "sessions",
        catalog,
        folder / "snapshot",
        source,
        labels,
        settings or FeatureStateSettings(),
        lambda: beam.Pipeline(runner="FnApiRunner"),
        splits=["train"],
    )
    begins = windows.bounds(source.time_zone)["eval"][0]
    coming = events.filter(pl.col("event_time") >= begins).sort("event_time", ARRIVAL)
    return Case(source, coming, taken, snapshot)


def simulated(folder: Path, users: int) -> tuple[LogSource, SplitWindows]:
    world = world_named("default", users=users)
    simulate(world, folder / "store")
    source = LogSource(
        events=[str(folder / "store/events/*.parquet")],
        catalog=str(folder / "store/catalog.parquet"),
        context_columns=CONTEXT,
    )
    days = pl.Series([world.start_date]).dt.offset_by(f"{world.days - 7}d").item()
    return source, SplitWindows(eval_start=days)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("case")
    return case_of(*simulated(folder, users=100), folder)


@pytest.fixture
def live(case: Case, tmp_path: Path) -> LiveFeatures:
    return LiveFeatures(SqliteStore.create(tmp_path / "live.sqlite", case.snapshot))


def frame(columns: dict[str, np.ndarray | pa.Array]) -> pl.DataFrame:
    """Columns side by side, floats by their bits, in the order of the keys."""
    made = {
        name: pl.Series(values.view(np.int32) if values.dtype == np.float32 else values)
        if isinstance(values, np.ndarray)
        else pl.Series(values.to_pylist(), dtype=pl.List(pl.String) if name in names.SEQUENCES else pl.String)
        for name, values in sorted(columns.items())
    }
    return pl.DataFrame(made).sort(KEYS)


def requests_of(case: Case) -> pl.DataFrame:
    """The eval clicks as they are before their event: its product, price, position and context."""
    catalog = pl.read_parquet(case.snapshot.home / "products.parquet")
    group = pl.coalesce(
        pl.col("product_id").replace_strict(
            catalog["product_id"], catalog["item_group_id"], default=None, return_dtype=pl.String
        ),
        "product_id",
    )
    keys = frame(case.clicks).select(KEYS)
    events = case.coming.filter(pl.col("event_type").is_in(case.source.click_types))
    events = events.with_columns(item=group, event_time_us=pl.col("event_time").dt.epoch("us"))
    return events.join(keys, on=KEYS, how="semi").unique(KEYS, keep="first", maintain_order=True)


def replay(case: Case, live: LiveFeatures) -> pl.DataFrame:
    """Live features of every eval click, each asked for when everything before it, and no more, has come."""
    asked = requests_of(case)
    day = pl.col("event_time").dt.convert_time_zone(case.source.time_zone).dt.date()
    coming = case.coming.with_columns(
        pl.int_range(pl.len()).over("user_id", day).alias("turn"),
        day.alias("day"),
        pl.col(ARRIVAL).is_in(asked[ARRIVAL].implode()).alias("asked"),
    )
    found, waiting = [], []
    # One turn holds at most one event of a user, so its clicks can be asked about together.
    for _, turn in sorted(coming.partition_by("day", "turn", as_dict=True).items()):
        if turn["asked"].any():
            if waiting:
                live.ingest(pl.concat(waiting).drop("turn", "day", "asked"))
                waiting = []
            found.append(frame(live.features(turn.filter("asked").drop("turn", "day", "asked"))))
        waiting.append(turn)
    return pl.concat(found).sort(KEYS)


def test_replayed_days_give_the_batch_features(case: Case, live: LiveFeatures) -> None:
    expected = frame(case.clicks)
    assert expected.height > 50 and expected["user_clicks"].n_unique() > 5
    assert expected.columns == sorted(case.clicks)
    assert_frame_equal(replay(case, live), expected)


def test_windows_of_hours_and_sessions_cut_by_silence(tmp_path: Path) -> None:
    source, windows = simulated(tmp_path, users=60)
    logs = pl.read_parquet(tmp_path / "store/events/*.parquet").drop("session_id")
    shutil.rmtree(tmp_path / "store/events")
    (tmp_path / "store/events").mkdir()
    logs.write_parquet(tmp_path / "store/events/loose.parquet")
    loose = case_of(source, windows, tmp_path, Hours(hours=30))
    live = LiveFeatures(SqliteStore.create(tmp_path / "live.sqlite", loose.snapshot))
    expected = frame(loose.clicks)
    assert expected.height > 20
    assert_frame_equal(replay(loose, live), expected)


@pytest.mark.slow
@real_store.needed
def test_replayed_days_of_a_real_store_give_the_batch_features(tmp_path: Path) -> None:
    """REPLAY_ONE_USER_IN=1 replays all users."""
    some = pl.col("user_id").hash(7) % int(os.environ.get("REPLAY_ONE_USER_IN", "40")) == 0
    logs = pl.scan_parquet(real_store.FOLDER / "events/*.parquet").filter(
        some & (pl.col("event_type") != "impression")
    )
    logs.collect().write_parquet(tmp_path / "events.parquet")
    source = LogSource(
        events=[str(tmp_path / "events.parquet")],
        catalog=str(real_store.FOLDER / "catalog.parquet"),
        context_columns=CONTEXT,
        time_zone="America/Los_Angeles",
    )
    real = case_of(source, SplitWindows(eval_start="2016-10-01", eval_end="2016-10-10"), tmp_path)
    live = LiveFeatures(SqliteStore.create(tmp_path / "live.sqlite", real.snapshot))
    expected = frame(real.clicks)
    assert expected.height > 100
    assert_frame_equal(replay(real, live), expected)


def state_of(live: LiveFeatures, users: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All that the features depend on: events but for their numbers, and counts."""
    events = live.store.events(users).drop(ARRIVAL)
    names = {kind: events[kind].unique().sort().to_list() for kind in ("item", "leaf", "advertiser")}
    daily = live.store.daily(names, 0)
    return events.sort(events.columns), daily.filter(pl.any_horizontal(pl.col(pl.Int64) != 0))


def test_missed_and_repeated_hours_are_caught_up(case: Case, live: LiveFeatures, tmp_path: Path) -> None:
    users = case.coming["user_id"].unique().sort().to_list()
    once = live.ingest(case.coming)
    assert once.added > 100 and once.late == 0
    expected = state_of(live, users)
    assert live.ingest(case.coming) == Ingested(0, case.coming.height, 0)
    for before, after in zip(expected, state_of(live, users), strict=True):
        assert_frame_equal(after, before)

    patchy = LiveFeatures(SqliteStore.create(tmp_path / "patchy.sqlite", case.snapshot))
    pieces = list(case.coming.iter_slices(97))
    for piece in (*pieces[::-2], *pieces[1:], pieces[0]):  # late, twice, and out of order
        patchy.ingest(piece)
    for before, after in zip(expected, state_of(patchy, users), strict=True):
        assert_frame_equal(after, before)


def test_events_after_the_moment_asked_about_change_nothing(case: Case, live: LiveFeatures) -> None:
    asked = requests_of(case).filter(pl.col("event_time") == pl.col("event_time").min().over("user_id"))
    known = [name for name in asked.columns if name not in ("item", "event_time_us")]
    before = frame(live.features(asked.select(known)))
    live.ingest(case.coming.filter(pl.col("event_time") > asked["event_time"].max()))
    own = [name for name in before.columns if "28d" not in name and "7d" not in name]
    assert_frame_equal(frame(live.features(asked.select(known)))[own], before[own])


def test_a_failed_ingest_leaves_nothing(case: Case, live: LiveFeatures, monkeypatch) -> None:
    users = case.coming["user_id"].unique().sort().to_list()
    before = state_of(live, users)

    def write(**_):
        type(live.store).write(live.store, **_)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(live.store, "write", write)
        with pytest.raises(KeyboardInterrupt):
            live.ingest(case.coming)
    for was, now in zip(before, state_of(live, users), strict=True):
        assert_frame_equal(now, was)
    assert live.ingest(case.coming).added > 100


def test_a_user_keeps_a_bounded_number_of_events(case: Case, tmp_path: Path) -> None:
    live = LiveFeatures(SqliteStore.create(tmp_path / "live.sqlite", case.snapshot))
    live._max_events = 100
    template = case.coming.head(1)
    times = template["event_time"].item() + pl.duration(seconds=pl.int_range(250) * 60)
    many = pl.concat([template] * 250).with_columns(event_time=times, user_id=pl.lit("busy"))
    many = many.with_columns(pl.int_range(pl.len()).alias(ARRIVAL), event_type=pl.lit("click"))
    for piece in many.iter_slices(50):
        live.ingest(piece)
    assert live.store.events(["busy"]).height == 100
    assert live.ingest(many.head(10)) == Ingested(0, 0, 10)
    (item,) = live.store.events(["busy"])["item"].unique()
    assert live.store.daily({"item": [item]}, 0)["clicks"].sum() >= 250, (
        "forgetting an event uncounts nothing"
    )


def test_candidates_of_a_user_differ_in_the_candidates_features_only(case: Case, live: LiveFeatures) -> None:
    live.ingest(case.coming)
    (busiest,) = case.coming["user_id"].mode().sort().head(1)
    products = pl.read_parquet(case.snapshot.home / "products.parquet")["product_id"].head(40).to_list()
    products += case.coming.filter(user_id=busiest)["product_id"].unique(maintain_order=True).to_list()
    asked = pl.DataFrame({"product_id": products}).with_columns(
        user_id=pl.lit(busiest), event_time=pl.lit(live.store.facts().last_us).cast(pl.Datetime("us", "UTC"))
    )
    found = frame(live.features(asked))
    differ = {name for name in found.columns if found[name].n_unique() > 1}
    assert differ <= set(names.OF_CANDIDATE)
    assert {"item", "price", "user_item_clicks", "since_item_s", "item_clicks_28d"} <= differ


def test_strangers_and_unknown_products_have_features(live: LiveFeatures) -> None:
    asked = pl.DataFrame({"user_id": ["nobody"], "product_id": ["nothing"], "event_time": [None]})
    asked = asked.with_columns(event_time=pl.lit(live.store.facts().last_us).cast(pl.Datetime("us", "UTC")))
    found = frame(live.features(asked))
    assert found["item"].item() == "nothing" and found["leaf"].item() == "__unknown__"
    assert found["context_device"].item() == "__unknown__" and found["user_clicks"].item() == 0


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoStateError, match="no feature state"):
        SqliteStore(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("no database" * 100)
    with pytest.raises(InputError, match="not a feature state"):
        SqliteStore(tmp_path / "text.sqlite")


def test_a_state_of_another_version_is_said_in_one_line(case: Case, tmp_path: Path) -> None:
    SqliteStore.create(tmp_path / "old.sqlite", case.snapshot).close()
    with sqlite3.connect(tmp_path / "old.sqlite") as old:
        old.execute("UPDATE facts SET value = json_remove(value, '$.first_day')")
    with pytest.raises(InputError, match="--rebuild") as said:
        SqliteStore(tmp_path / "old.sqlite")
    assert "\n" not in str(said.value)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory):
    """A server of its own on a free loopback port."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    folder = tmp_path_factory.mktemp("redis")
    with subprocess.Popen([program, *options], cwd=folder, stdout=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


def test_redis_answers_as_the_embedded_store_does(case: Case, live: LiveFeatures, redis_url: str) -> None:
    from components.feature_state.redis_store import RedisStore

    with pytest.raises(NoStateError, match="no feature state of shop"):
        RedisStore(redis_url, "shop")
    RedisStore.create(redis_url, "shop", case.snapshot).close()
    shared = LiveFeatures(RedisStore(redis_url, "shop"))
    users = case.coming["user_id"].unique().sort().to_list()
    for piece in (case.coming.head(300), case.coming.tail(400), case.coming):
        assert shared.ingest(piece) == live.ingest(piece)
    for ours, theirs in zip(state_of(live, users), state_of(shared, users), strict=True):
        assert_frame_equal(theirs, ours)
    asked = requests_of(case).drop("item", "event_time_us")
    assert_frame_equal(frame(shared.features(asked)), frame(live.features(asked)))
    assert shared.store.facts() == live.store.facts()
    again = RedisStore.create(redis_url, "shop", case.snapshot)
    assert again.facts() == case.snapshot.facts, "a rebuilt state begins as the snapshot"
    assert not list(again._redis.scan_iter("cabb:shop:1:*")), "the generation before is gone"


def test_a_redis_server_that_is_not_there_is_named() -> None:
    from components.feature_state.redis_store import RedisStore

    with pytest.raises(InputError, match="no Redis server answers"):
        RedisStore("redis://127.0.0.1:1/0", "shop")
    with pytest.raises(InputError, match="redis://host:port/db: no Redis URL"):
        RedisStore("redis://host:port/db", "shop")
