"""The data stage gives the same sessions whatever carries its work."""

import os
from pathlib import Path

import polars as pl
import pytest

from pipeline.beam_profiles import PROFILES, BeamSettings
from pipeline.run_inputs import last_days
from schemas.events import LogSource
from simulator.store import simulate
from simulator.worlds import world_named

pytestmark = pytest.mark.slow


def sessions(
    source: LogSource, world: object, folder: Path, settings: BeamSettings
) -> dict[str, pl.DataFrame]:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.session_example_gen.sessions_beam import build_sessions

    build_sessions(
        source,
        last_days(world),
        str(folder),
        4,
        lambda: beam.Pipeline(options=PipelineOptions(settings.arguments())),
        refused_dir=str(folder / "refused"),
    )
    files = sorted(folder.glob("Split-*/*.parquet"))
    assert files
    return {os.path.join(*each.parts[-2:]): pl.read_parquet(each) for each in files}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_names_a_runner_that_beam_has(profile: str) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners.runner import create_runner

    options = PipelineOptions(list(PROFILES[profile][0]))
    assert create_runner(options.view_as(StandardOptions).runner)


def test_the_portable_path_gives_the_same_sessions(tmp_path: Path) -> None:
    world = world_named("default", users=200)
    simulate(world, tmp_path / "store", None)
    source = LogSource(
        events=[str(tmp_path / "store/events/*.parquet")],
        catalog=str(tmp_path / "store/catalog.parquet"),
        context_columns=["channel", "device", "country"],
    )
    local = sessions(source, world, tmp_path / "local", BeamSettings())
    portable = sessions(source, world, tmp_path / "portable", BeamSettings(profile="portable"))
    assert local.keys() == portable.keys()
    for name, rows in local.items():
        assert rows.equals(portable[name]), name
