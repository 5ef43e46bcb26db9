"""Sessions -> feature state through Beam: each partition writes its users' events and counts their days."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import apache_beam as beam
import polars as pl

from components.feature_state.kept import count_by_day, kept_schema, newest, within_kept_days
from components.feature_state.settings import FeatureStateSettings
from components.feature_state.snapshot import EVENTS_DIR, Facts, Snapshot
from components.session_example_gen.sessions import ARRIVAL, to_arrow
from components.similarity_transform.labels import LabelSettings
from components.similarity_transform.leaf_prices import mean_leaf_prices
from components.similarity_transform.popularity import first_day_of, sum_counts
from schemas.errors import InputError
from schemas.events import LogSource

_DAILY_DIR = ".daily"


def build_snapshot(
    sessions: str | Path,
    catalog: pl.DataFrame,
    output: str | Path,
    source: LogSource,
    labels: LabelSettings,
    settings: FeatureStateSettings,
    make_pipeline: Callable[[], beam.Pipeline],
    splits: Sequence[str] = ("*",),
) -> Snapshot:
    """Writes the feature state as of the last event of a Sessions artifact.

    Args:
        sessions: the artifact; part p of every split holds the same users.
        catalog: as `read_catalog` gives it.
        output: folder to fill.
        source, labels: of the run.
        settings: what is kept.
        make_pipeline: a new Beam pipeline; its workers share the file system.
        splits: whose events it has seen, by name or pattern.

    Raises:
        InputError: there are no sessions.
    """
    parts: dict[str, list[str]] = {}
    for split in splits:
        for path in sorted(Path(sessions).glob(f"Split-{split}/part-*.parquet")):
            parts.setdefault(path.name, []).append(str(path))
    snapshot = Snapshot(Path(output))
    for folder in (EVENTS_DIR, _DAILY_DIR):
        (snapshot.home / folder).mkdir(parents=True, exist_ok=True)
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Partitions" >> beam.Create([parts[name] for name in sorted(parts)])
            | "OneByOne" >> beam.Reshuffle()
            | "Keep" >> beam.Map(_keep, snapshot.home, source, labels, settings.max_events)
        )
    counted = [pl.read_parquet(path) for path in sorted((snapshot.home / _DAILY_DIR).iterdir())]
    shutil.rmtree(snapshot.home / _DAILY_DIR)
    if not counted:
        raise InputError(f"{sessions}: holds no sessions; check the split's dates against those of the log")
    last_us, last_arrival = (
        pl.scan_parquet(snapshot.home / EVENTS_DIR)
        .select(pl.col("event_time").max().to_physical(), pl.col(ARRIVAL).max())
        .collect()
        .row(0)
    )
    daily = sum_counts(counted)
    facts = Facts(
        source=source,
        labels=labels,
        max_events=settings.max_events,
        store=settings.store,
        first_day=first_day_of(daily),
        last_us=last_us,
        next_arrival=last_arrival + 1,
    )
    snapshot.write(facts, catalog, mean_leaf_prices(catalog), within_kept_days(daily, last_us))
    return snapshot


def _keep(paths: list[str], home: Path, source: LogSource, labels: LabelSettings, max_events: int) -> None:
    rows = pl.concat([pl.read_parquet(path) for path in paths])
    if not rows.height:
        return
    # A user's splits follow one another in time, so a stable sort keeps the order of arrival.
    rows = rows.sort("user_id", "event_time", maintain_order=True)
    name = Path(paths[0]).name
    count_by_day(to_arrow(rows, source), source, labels).write_parquet(home / _DAILY_DIR / name)
    rows = newest(rows.with_columns(pl.int_range(pl.len()).alias(ARRIVAL)), max_events)
    rows.select(pl.col(n).cast(kind) for n, kind in kept_schema(source).items()).write_parquet(
        home / EVENTS_DIR / name
    )
