"""`cabb ingest`: events into the live feature state."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from schemas.errors import InputError


def _checked_store(_: click.Context, __: click.Parameter, store: str | None) -> str | None:
    from components.feature_state.settings import FeatureStateSettings

    try:
        return store if store is None else FeatureStateSettings(store=store).store
    except ValueError:
        raise InputError(
            f"--store {store!r}: give `sqlite` or a Redis URL, as in redis://host:6379/0"
        ) from None


store_option = click.option(
    "--store",
    callback=_checked_store,
    help="`sqlite` or redis://host:port/db [what the run's settings say].",
)


@click.command()
@click.argument("events", nargs=-1)
@click.option(
    "--serving-dir",
    type=click.Path(path_type=Path),
    help="Where versions are published [the one below runs/cabb].",
)
@store_option
@click.option("--rebuild", is_flag=True, help="Start again from the pushed version's own feature state.")
def ingest(events: tuple[str, ...], serving_dir: Path | None, store: str | None, rebuild: bool) -> None:
    """Take EVENTS into the live feature state, so that `cabb score --user` knows them.

    EVENTS are log files of the run's own format: paths, folders or globs. The state begins as the pushed
    version has it, as of the last event of its logs. Giving the same events twice changes nothing: after an
    outage, give all of the last hours.

    \b
    Examples:
      cabb ingest logs/2016-10-10.parquet
      cabb ingest --rebuild                        after a push: the new version's state
      cabb ingest "logs/today/*.jsonl" --store redis://cache:6379/0
    """
    from rich.console import Console

    from components.feature_state.live import LiveFeatures
    from components.feature_state.place import live_store
    from components.session_example_gen.checked_logs import read_logs
    from pipeline.commands.serve import default_serving_dir

    if not events and not rebuild:
        raise InputError("name log files to ingest, or --rebuild the state of the pushed version")
    console = Console(highlight=False, soft_wrap=True)
    live = LiveFeatures(live_store(serving_dir or default_serving_dir(), store, rebuild))
    if events:
        logs = read_logs(live.source.model_copy(update={"events": list(events)}))
        found = live.ingest(logs.events)
        console.print(
            f"{logs.counts.read:,} rows: {found.added:,} new, {found.known:,} known, "
            f"{found.late:,} too late, {logs.counts.set_aside.total():,} set aside, "
            f"{logs.counts.rejected.total():,} rejected"
        )
    last = datetime.fromtimestamp(live.store.facts().last_us / 1e6, UTC)
    console.print(f"the feature state is as of {last:%Y-%m-%d %H:%M:%S} UTC")
    live.store.close()
