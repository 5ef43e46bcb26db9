"""Logs that must not make a model: the run stops before it trains."""

from pathlib import Path

import polars as pl
import pytest

from pipeline.config import Config
from pipeline.local_run import Outcome
from pipeline.run_inputs import last_days
from schemas.errors import InputError
from simulator.store import simulate
from simulator.worlds import World, world_named
from tests.end_to_end.small_runs import USERS, config_at, run

pytestmark = pytest.mark.slow


def config_of_logs(events: Path, catalog: Path, world: World, output: Path) -> Config:
    """A run on files, as if they were somebody's own."""
    data = {
        "events": [str(events)],
        "catalog": str(catalog),
        "context_columns": ["channel", "device", "country"],
    }
    return config_at(output, data=data, split=last_days(world).model_dump(mode="json"))


def test_drifted_data_stops_the_run(tmp_path: Path) -> None:
    drifted = world_named("drifted", users=USERS)
    store = tmp_path / "drifted"
    simulate(drifted, store, None)
    config = config_of_logs(store / "events/*.parquet", store / "catalog.parquet", drifted, tmp_path / "out")
    result, printed = run(config)
    assert result.outcome is Outcome.ANOMALIES, printed
    assert "Trainer" not in printed
    assert "train vs eval" in result.message
    assert "context_channel" in result.message


def plant_bad_rows(events: pl.DataFrame, share: float) -> pl.DataFrame:
    """Breaks a share of the rows, three ways in turn."""
    row = pl.int_range(pl.len())
    every = round(1 / share)
    return events.with_columns(
        user_id=pl.when(row % (3 * every) == 0).then(None).otherwise(pl.col("user_id")),
        event_type=pl.when(row % (3 * every) == every)
        .then(pl.lit("teleport"))
        .otherwise(pl.col("event_type").cast(pl.String)),
        product_id=pl.when(row % (3 * every) == 2 * every).then(pl.lit("")).otherwise(pl.col("product_id")),
    )


def test_bad_rows_over_the_limit_stop_the_run(tmp_path: Path) -> None:
    world, store, logs = world_named("default", users=USERS), tmp_path / "store", tmp_path / "events.parquet"
    simulate(world, store, None)
    plant_bad_rows(pl.read_parquet(store / "events/*.parquet"), share=0.05).write_parquet(logs)
    with pytest.raises(InputError) as error:
        run(config_of_logs(logs, store / "catalog.parquet", world, tmp_path / "out"))
    message = str(error.value)
    assert "\n" not in message
    assert "events.parquet" in message
    assert not list((tmp_path / "out/artifacts").glob("SessionExampleGen/sessions/*/Split-*"))
