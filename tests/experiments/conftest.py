"""A small simulated store, prepared once for all tests of experiments."""

from __future__ import annotations

from datetime import timedelta

import pytest

from components.category_similarity.settings import SimilaritySettings
from components.session_example_gen.splits import SplitWindows
from experiments.prepare import Recipe, prepare
from models.settings import PreprocessingSettings
from schemas.events import LogSource
from simulator.store import simulate
from simulator.worlds import World


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """(folder of the truth, recipe of the arrays): the truth is not where the logs are."""
    home = tmp_path_factory.mktemp("store")
    world = World(users=1500, days=12, impressions_per_click=0)
    simulate(world, home)
    truth = tmp_path_factory.mktemp("hidden") / "truth"
    (home / "truth").rename(truth)
    end = world.start_date + timedelta(days=world.days)
    return truth, Recipe(
        source=LogSource(
            events=[str(home / "events" / "*.parquet")],
            catalog=str(home / "catalog.parquet"),
            context_columns=["channel", "device", "country"],
        ),
        fingerprint="store",
        windows=SplitWindows(eval_start=end - timedelta(days=3), eval_end=end),
        schemes={
            "taxonomy_cf": SimilaritySettings(),
            "static": SimilaritySettings(scheme="static"),
        },
        preprocessing=PreprocessingSettings(vocabulary_min_count=2),
        partitions=2,
    )


@pytest.fixture(scope="session")
def prepared(store, tmp_path_factory):
    return prepare(store[1], tmp_path_factory.mktemp("prepared"))
