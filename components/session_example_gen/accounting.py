"""Where every row of the logs went: additive counts, and what is wrong when too many cannot be used."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from schemas.errors import InputError

SAMPLES = 3
"""Rejected rows quoted in an error."""
_SAMPLE_CHARS = 160


@dataclass
class FileCounts:
    """Rows of one log file: how many were read, and how many rejected for which reason."""

    read: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """Reason -> the first few rejected rows, as (row number, row as JSON)."""
    unreadable: str | None = None

    def merge(self, other: FileCounts) -> None:
        self.read += other.read
        self.rejected.update(other.rejected)
        for reason, rows in other.samples.items():
            self.samples[reason] = sorted([*self.samples.get(reason, []), *rows])[:SAMPLES]
        self.unreadable = self.unreadable or other.unreadable


@dataclass
class RowCounts:
    """Additive counts of a part of the logs; `merge` is associative and does not depend on the order."""

    files: dict[str, FileCounts] = field(default_factory=dict)
    set_aside: Counter[str] = field(default_factory=Counter)
    """Rows that are checked but not kept (impressions) or not looked at (ignored), by event type."""
    first_us: int | None = None
    last_us: int | None = None
    """Span of the usable rows, microseconds since the epoch."""
    duplicates: int = 0
    outside_window: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    """Kept rows by split."""
    events: Counter[str] = field(default_factory=Counter)
    """Kept rows by event type."""
    clicks: int = 0
    users: int = 0
    sessions: int = 0

    def merge(self, other: RowCounts) -> RowCounts:
        """Adds `other` to this one and returns this one."""
        for path, counts in other.files.items():
            self.files.setdefault(path, FileCounts()).merge(counts)
        self.saw_time(other.first_us, other.last_us)
        for total in ("set_aside", "kept", "events"):
            getattr(self, total).update(getattr(other, total))
        for total in ("duplicates", "outside_window", "clicks", "users", "sessions"):
            setattr(self, total, getattr(self, total) + getattr(other, total))
        return self

    def saw_time(self, first_us: int | None, last_us: int | None) -> None:
        """Widens the span."""
        self.first_us = min((time for time in (self.first_us, first_us) if time is not None), default=None)
        self.last_us = max((time for time in (self.last_us, last_us) if time is not None), default=None)

    def dump(self) -> str:
        """The whole state as JSON; `load` reads it."""
        return json.dumps(self, default=vars)

    @classmethod
    def load(cls, dumped: str) -> RowCounts:
        state = json.loads(dumped)
        files = {
            path: FileCounts(
                read=file["read"],
                rejected=Counter(file["rejected"]),
                samples={reason: list(map(tuple, rows)) for reason, rows in file["samples"].items()},
                unreadable=file["unreadable"],
            )
            for path, file in state.pop("files").items()
        }
        counters = {name: Counter(state.pop(name)) for name in ("set_aside", "kept", "events")}
        return cls(files=files, **counters, **state)

    @property
    def read(self) -> int:
        return sum(counts.read for counts in self.files.values())

    @property
    def rejected(self) -> Counter[str]:
        return sum((counts.rejected for counts in self.files.values()), Counter())

    def span(self, time_zone: str) -> str:
        """The days of the usable rows, for messages."""
        if self.first_us is None or self.last_us is None:
            return "no usable event"
        first, last = (
            datetime.fromtimestamp(us / 1e6, UTC).astimezone(ZoneInfo(time_zone))
            for us in (self.first_us, self.last_us)
        )
        return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} ({time_zone})"

    def unaccounted(self) -> int:
        """Rows read that are in none of the other counts; 0 unless there is a bug."""
        accounted = sum(map(Counter.total, (self.kept, self.set_aside, self.rejected)))
        return self.read - accounted - self.duplicates - self.outside_window

    def to_json(self) -> dict[str, Any]:
        """The content of `counts.json`."""
        return {
            "read": self.read,
            "kept": dict(sorted(self.kept.items())),
            "duplicates": self.duplicates,
            "set_aside": dict(sorted(self.set_aside.items())),
            "outside_window": self.outside_window,
            "rejected": dict(sorted(self.rejected.items())),
            "users": self.users,
            "sessions": self.sessions,
            "clicks": self.clicks,
            "events": dict(sorted(self.events.items())),
            "first_us": self.first_us,
            "last_us": self.last_us,
            "files": [
                {"path": path, "read": counts.read, "rejected": dict(sorted(counts.rejected.items()))}
                for path, counts in sorted(self.files.items())
            ],
        }


def count_file(read: int, rejected: pl.DataFrame | None = None, unreadable: str | None = None) -> FileCounts:
    """Counts of a part of a file; `rejected` has row, reason and raw."""
    if rejected is None or not rejected.height:
        return FileCounts(read, unreadable=unreadable)
    first = rejected.sort("row", maintain_order=True).group_by("reason", maintain_order=True).head(SAMPLES)
    samples: dict[str, list[tuple[int, str]]] = {}
    for reason, row, raw in first.select("reason", "row", "raw").iter_rows():
        samples.setdefault(reason, []).append((row, raw))
    return FileCounts(read, Counter(rejected["reason"].to_list()), samples, unreadable)


def refuse_unusable(counts: RowCounts, max_rejected_share: float) -> None:
    """Stops the run when a file could not be read or too many rows could not be used.

    Raises:
        InputError: naming the file, the reason and a few of its rows.
    """
    for path, file in sorted(counts.files.items()):
        if file.unreadable:
            raise InputError(f"{path} cannot be read: {file.unreadable}; export it again or leave it out")
    rejected = counts.rejected.total()
    if not counts.read:
        raise InputError(f"no rows in {', '.join(sorted(counts.files)) or 'any file'}; check `events`")
    if rejected <= max_rejected_share * counts.read:
        return
    _, reason, path = max(
        (number, reason, path)
        for path, file in counts.files.items()
        for reason, number in file.rejected.items()
    )
    file = counts.files[path]
    samples = "; ".join(f"row {row}: {_shortened(raw)}" for row, raw in file.samples[reason])
    raise InputError(
        f"{rejected:,} of {counts.read:,} rows cannot be used ({rejected / counts.read:.1%}, the limit is "
        f"{max_rejected_share:.1%}): {path}: {reason} ({file.rejected[reason]:,} rows), such as {samples}; "
        "fix the log or the mapping, or raise max_rejected_share"
    )


def _shortened(raw: str) -> str:
    line = raw.replace("\n", " ")
    return line if len(line) <= _SAMPLE_CHARS else line[: _SAMPLE_CHARS - 3] + "..."
