"""Small logs in every shape, and the sessions that are made of them."""

import gzip
import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl

from components.session_example_gen.accounting import RowCounts
from components.session_example_gen.sessions_beam import build_sessions
from components.session_example_gen.splits import SplitWindows
from schemas.events import LogSource

WINDOWS = SplitWindows(eval_start="2024-03-02")
EVENT = {
    "user_id": "u1",
    "session_id": "s1",
    "event_time": "2024-03-01T10:00:00Z",
    "event_type": "click",
    "product_id": "p1",
    "price": 9.5,
}


def event(**changes: Any) -> dict[str, Any]:
    return {**EVENT, **changes}


EVENTS = [
    event(),
    event(event_time="2024-03-01T10:00:00.500Z", event_type="detail_view"),
    event(event_time="2024-03-01T10:03:00Z", event_type="add_to_cart", quantity=2),
    event(event_time="2024-03-01T10:05:00Z", event_type="purchase", quantity=2, revenue=19.0),
    event(event_time="2024-03-01T10:05:01Z", event_type="purchase"),
    event(user_id="u2", session_id=None, product_id="p2", event_time="2024-03-01T23:50:00Z", price=None),
    event(user_id="u2", session_id=None, product_id="p3", event_time="2024-03-02T00:10:00Z", list_position=4),
    event(user_id="u3", event_type="impression", event_time="2024-03-02T11:00:00Z"),
]


def write_csv(path: Path, rows: list[dict[str, Any]], header: bool = True) -> Path:
    pl.DataFrame(rows, infer_schema_length=None).write_csv(path, include_header=header)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]], row_group_size: int | None = None) -> Path:
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path, row_group_size=row_group_size)
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def gzipped(path: Path) -> Path:
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


def build(
    directory: Path, source: LogSource, windows: SplitWindows = WINDOWS, partitions: int = 3
) -> tuple[pl.DataFrame, RowCounts]:
    """Session rows of all splits (column `split`), in the contract's order, and what became of the rows."""
    counts = build_sessions(
        source, windows, str(directory), partitions, lambda: beam.Pipeline(argv=["--runner=FnApiRunner"])
    )
    assert counts.unaccounted() == 0
    parts = [
        pl.read_parquet(path).with_columns(
            pl.lit(name).alias("split"), pl.selectors.by_dtype(pl.Categorical).cast(pl.String)
        )
        for name in ("train", "eval")
        for path in sorted(directory.glob(f"Split-{name}/*.parquet"))
    ]
    assert len(parts) == 2 * partitions
    return pl.concat(parts).sort("user_id", "event_time", maintain_order=True), counts
