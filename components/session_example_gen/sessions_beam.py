"""Logs -> sessions through Beam: read and check, bring users together, clean each partition, write.

Workers write files and count; whatever is wrong with the input is found in the counts afterwards and raised
where the pipeline was started.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.columnar import PartitionByUser
from components.session_example_gen.accounting import RowCounts, count_file, refuse_unusable
from components.session_example_gen.catalog import read_catalog
from components.session_example_gen.checked_logs import read_unit
from components.session_example_gen.formats import layout_of
from components.session_example_gen.readers import ReadUnit, UnreadableFileError, plan
from components.session_example_gen.sessions import to_arrow, to_sessions
from components.session_example_gen.splits import SPLITS, SplitWindows
from schemas.errors import InputError
from schemas.events import LogSource, session_schema

COUNTS_FILE = "counts.json"
REJECTED_DIR = "rejected"
_WORK_DIR = ".unfinished"
_SHUFFLED_ROWS = 1 << 18
"""Kept rows that are gathered before they are split by user."""


def build_sessions(
    source: LogSource,
    windows: SplitWindows,
    output_dir: str,
    partitions: int,
    make_pipeline: Callable[[], beam.Pipeline],
    refused_dir: str | None = None,
) -> RowCounts:
    """Writes the sessions of a log.

    Args:
        output_dir: receives `Split-<name>/part-<p>-of-<P>.parquet`, `rejected/part-*.parquet` (file, row,
            reason, raw) and, last, `counts.json`. Sessions appear only when everything is well.
        partitions: files per split; a user's rows are in the same one of every split.
        make_pipeline: gives the Beam pipeline to run; its workers share the file system.
        refused_dir: receives the rejected rows if the logs are refused; by default `output_dir`/rejected.

    Returns:
        What became of every row.

    Raises:
        InputError: the logs or the catalog cannot be used, or a split would be empty.
    """
    units = plan(source, layout_of(source))
    if not units:  # Parquet files without row groups
        raise InputError(f"no rows in {', '.join(source.events)}; check `events`")
    catalog = read_catalog(source)
    output = Path(output_dir)
    work = output / _WORK_DIR
    shutil.rmtree(work, ignore_errors=True)
    for directory in (REJECTED_DIR, *map(_split_dir, SPLITS)):
        (work / directory).mkdir(parents=True)
    catalog.write_parquet(work / "catalog.parquet")
    try:
        with make_pipeline() as pipeline:
            read = (
                pipeline
                | "Units" >> beam.Create(list(enumerate(units)))
                | "Spread" >> beam.Reshuffle()
                | "Read" >> beam.ParDo(_ReadLogs(source, str(work)))
            )
            read_counts = read | "Counts" >> beam.Filter(isinstance, RowCounts)
            write_counts = (
                read
                | "Events" >> beam.Filter(isinstance, pl.DataFrame)
                | "Users" >> PartitionByUser(partitions)
                | "Sessions" >> beam.ParDo(_WriteSessions(source, windows, str(work), partitions))
            )
            _ = (
                (read_counts, write_counts)
                | beam.Flatten()
                | "Account" >> beam.CombineGlobally(_merged).without_defaults()
                | "Note" >> beam.Map(_write_text, str(work / "accounting.json"), RowCounts.dump)
            )
        counts = RowCounts.load((work / "accounting.json").read_text())
        try:
            refuse_unusable(counts, source.max_rejected_share)
            _refuse_empty_splits(counts, windows, source.time_zone)
        except InputError as error:
            if not counts.rejected:
                raise
            kept_in = Path(refused_dir) if refused_dir else output / REJECTED_DIR
            _replace(work / REJECTED_DIR, kept_in)
            raise InputError(f"{error}; all rejected rows with reasons: {kept_in}") from None
        if counts.unaccounted():
            raise RuntimeError(f"{counts.unaccounted()} rows are not accounted for: {counts.to_json()}")
        _fill_up(work, source, partitions)
        for directory in (REJECTED_DIR, *map(_split_dir, SPLITS)):
            _replace(work / directory, output / directory)
        _write_text(counts, str(output / COUNTS_FILE), lambda total: json.dumps(total.to_json(), indent=1))
        return counts
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _ReadLogs(beam.DoFn):
    """(index, ReadUnit) -> frames of checked events in bounded memory, and counts: what became of rows.

    Both come out of one output, told apart by their kind: Beam's Dask runner mixes tagged outputs up.
    Rejected rows are written as they come.
    """

    def __init__(self, source: LogSource, work_dir: str):
        self._source = source
        self._rejected_dir = Path(work_dir) / REJECTED_DIR

    def process(self, element: tuple[int, ReadUnit]) -> Iterator:
        index, unit = element
        layout = layout_of(self._source)
        counts = RowCounts()
        pending: list[pl.DataFrame] = []
        pending_rows = 0
        try:
            for number, checked in enumerate(read_unit(unit, layout)):
                counts.merge(checked.counts)
                if checked.rejected.height:
                    table = checked.rejected.select(
                        pl.lit(unit.path).alias("file"), "row", "reason", "raw"
                    ).to_arrow()
                    _write_parquet(table, self._rejected_dir / f"part-{index:05d}-{number:05d}.parquet")
                pending.append(checked.events)
                pending_rows += checked.events.height
                if pending_rows >= _SHUFFLED_ROWS:
                    yield pl.concat(pending)
                    pending, pending_rows = [], 0
        except UnreadableFileError as error:
            counts.merge(RowCounts(files={unit.path: count_file(0, unreadable=str(error))}))
        if pending_rows:
            yield pl.concat(pending)
        yield counts


class _WriteSessions(beam.DoFn):
    """(partition, events of its users) -> counts; writes the partition's file of each split."""

    def __init__(self, source: LogSource, windows: SplitWindows, work_dir: str, partitions: int):
        self._source = source
        self._windows = windows
        self._work_dir = Path(work_dir)
        self._partitions = partitions

    def setup(self) -> None:
        self._catalog = pl.read_parquet(self._work_dir / "catalog.parquet")

    def process(self, element: tuple[int, pl.DataFrame]) -> Iterator[RowCounts]:
        partition, events = element
        separator = layout_of(self._source).category_separator
        sessions = to_sessions(events, self._catalog, self._source, separator)
        splits = self._windows.split(sessions, self._source.time_zone)
        for name, rows in splits.items():
            path = self._work_dir / _split_dir(name) / _part(partition, self._partitions)
            _write_parquet(to_arrow(rows, self._source), path)
        kept = pl.concat(list(splits.values()))
        yield RowCounts(
            duplicates=events.height - sessions.height,
            outside_window=sessions.height - kept.height,
            kept={name: rows.height for name, rows in splits.items()},
            events=dict(kept.group_by("event_type").len().iter_rows()),
            clicks=int(kept["is_click"].sum()),
            users=kept["user_id"].n_unique(),
            sessions=kept.select("user_id", "session_id").n_unique() if kept.height else 0,
        )


def _merged(counts: Iterable[RowCounts]) -> RowCounts:
    total = RowCounts()
    for part in counts:
        total.merge(part)
    return total


def _refuse_empty_splits(counts: RowCounts, windows: SplitWindows, time_zone: str) -> None:
    empty = [name for name in SPLITS if not counts.kept[name]]
    if empty:
        days = (
            f"train_start {windows.train_start}, eval_start {windows.eval_start}, eval_end {windows.eval_end}"
        )
        raise InputError(
            f"no event for the split {' and '.join(empty)} with {days}; the log's usable events are from "
            f"{counts.span(time_zone)}; choose days within"
        )


def _fill_up(work: Path, source: LogSource, partitions: int) -> None:
    """Gives partitions without users their empty files and removes what failed attempts left unfinished."""
    empty = session_schema(source.context_columns).empty_table()
    for name in SPLITS:
        for leftover in (work / _split_dir(name)).glob("*.unfinished"):
            leftover.unlink()
        for partition in range(partitions):
            path = work / _split_dir(name) / _part(partition, partitions)
            if not path.exists():
                _write_parquet(empty, path)


def _split_dir(split: str) -> str:
    return f"Split-{split}"


def _part(partition: int, partitions: int) -> str:
    return f"part-{partition:05d}-of-{partitions:05d}.parquet"


def _write_parquet(table: pa.Table, path: Path) -> None:
    """Writes all or nothing: a retried bundle replaces what an earlier attempt left."""
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.unfinished")
    pq.write_table(table, unfinished, compression="zstd")
    os.replace(unfinished, path)


def _write_text(value: RowCounts, path: str, dump: Callable[[RowCounts], str]) -> None:
    unfinished = Path(f"{path}.unfinished")
    unfinished.write_text(dump(value))
    os.replace(unfinished, path)


def _replace(origin: Path, destination: Path) -> None:
    shutil.rmtree(destination, ignore_errors=True)
    destination.parent.mkdir(parents=True, exist_ok=True)
    os.replace(origin, destination)
