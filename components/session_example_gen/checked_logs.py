"""Logs -> checked events, a bounded number of rows at a time, with an account of every row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from components.session_example_gen.accounting import RowCounts, count_file, refuse_unusable
from components.session_example_gen.contract_rows import check_rows
from components.session_example_gen.formats import Layout, layout_of
from components.session_example_gen.readers import ReadUnit, UnreadableFileError, batches, plan
from components.session_example_gen.sessions import ARRIVAL
from schemas.errors import InputError
from schemas.events import LogSource

_FILE_BITS = 40
"""Arrival is file << _FILE_BITS | row."""


class CheckedLogs(NamedTuple):
    """Contract rows with ARRIVAL; rejected rows (row, reason, raw); and what became of all."""

    events: pl.DataFrame
    rejected: pl.DataFrame
    counts: RowCounts


def read_unit(unit: ReadUnit, layout: Layout) -> Iterator[CheckedLogs]:
    """Streams a unit.

    Raises:
        UnreadableFileError: the file breaks off or its bytes make no sense.
    """
    for batch in batches(unit, layout):
        checked = check_rows(batch.rows, layout)
        rejected = pl.concat([batch.malformed, checked.rejected])
        counts = RowCounts(
            files={unit.path: count_file(checked.read + batch.malformed.height, rejected)},
            set_aside=checked.set_aside,
            first_us=checked.first_us,
            last_us=checked.last_us,
        )
        arrival = pl.col("row") + (unit.file << _FILE_BITS)
        yield CheckedLogs(checked.events.with_columns(arrival.alias(ARRIVAL)).drop("row"), rejected, counts)


def read_logs(source: LogSource) -> CheckedLogs:
    """All checked events of logs that fit in memory.

    Raises:
        InputError: a file is not readable, or too many rows cannot be used.
    """
    layout = layout_of(source)
    parts: list[CheckedLogs] = []
    for unit in plan(source, layout):
        try:
            parts += read_unit(unit, layout)
        except UnreadableFileError as error:
            raise InputError(
                f"{unit.path} cannot be read: {error}; export it again or leave it out"
            ) from None
    if not parts:
        raise InputError(f"no rows in {', '.join(source.events)}")
    counts = RowCounts()
    for part in parts:
        counts.merge(part.counts)
    refuse_unusable(counts, source.max_rejected_share)
    return CheckedLogs(
        pl.concat([part.events for part in parts]), pl.concat([part.rejected for part in parts]), counts
    )
