"""Small random session logs, many ties, re-clicks, gaps and split crossings."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.events import UNKNOWN, session_schema

SCHEMA = session_schema(["channel"])
START = int(datetime(2024, 3, 8, tzinfo=UTC).timestamp()) * 1_000_000
BOUNDARY = int(datetime(2024, 3, 12, 7, tzinfo=UTC).timestamp()) * 1_000_000  # midnight in Los Angeles (DST)
END = int(datetime(2024, 3, 14, 7, tzinfo=UTC).timestamp()) * 1_000_000
TIME_ZONE = "America/Los_Angeles"
GAP = 30 * 60 * 1_000_000

LEAVES = ("Home > Kitchen > Mugs", "Home > Kitchen > Kettles", "Toys", UNKNOWN)
ITEMS = {f"i{k}": LEAVES[k % len(LEAVES)] for k in range(7)}
TYPES = ("click", "detail_view", "add_to_cart", "remove_from_cart", "checkout", "purchase")
ODDS = (0.45, 0.15, 0.12, 0.05, 0.05, 0.18)


def random_events(seed: int, users: int = 5, per_user: int = 24) -> list[dict]:
    """Session rows, `arranged`; sessions of a user may overlap, and cross the boundary."""
    rng = np.random.default_rng(seed)
    rows = []
    for u in range(users):
        n = int(rng.integers(0, per_user + 1))
        steps = rng.choice([0, 1, 20, 600, 1900, 20_000, 90_000], n) * 1_000_000
        start = START + int(rng.integers(0, 5 * 86400)) * 1_000_000
        session = 0
        for time in (start + np.cumsum(steps)).tolist():
            if rng.random() < 0.15:
                session += 1
            item = f"i{rng.integers(len(ITEMS))}"
            kind = str(rng.choice(TYPES, p=ODDS))
            rows.append(
                {
                    "user_id": f"u{u}",
                    "session_id": f"s{max(session - int(rng.random() < 0.1), 0)}",
                    "event_time": time,
                    "event_type": kind,
                    "is_click": kind in ("click", "detail_view") and rng.random() < 0.9,
                    "product_id": item + "-m",
                    "item": item,
                    "leaf": ITEMS[item],
                    "brand": str(rng.choice(["", "acme"])),
                    "advertiser": str(rng.choice(["adv1", "adv2", UNKNOWN])),
                    "price": None if rng.random() < 0.3 else float(rng.integers(0, 50)),
                    "quantity": 1,
                    "revenue": None,
                    "list_position": None if rng.random() < 0.5 else int(rng.integers(0, 9)),
                    "context_channel": str(rng.choice(["email", "", UNKNOWN])),
                }
            )
    return arranged([row for row in rows if row["event_time"] < END])


def arranged(rows: list[dict]) -> list[dict]:
    """Rows in the order of a timeline: users of the train split first, by (user, time, arrival)."""
    trained = {row["user_id"] for row in rows if not is_eval(row)}
    return sorted(rows, key=lambda row: (row["user_id"] not in trained, row["user_id"], row["event_time"]))


def is_eval(row: dict) -> bool:
    return row["event_time"] >= BOUNDARY


def to_table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, SCHEMA)


def split_tables(rows: list[dict]) -> tuple[pa.Table, pa.Table]:
    return to_table([r for r in rows if not is_eval(r)]), to_table([r for r in rows if is_eval(r)])


def write_sessions(rows: list[dict], home: Path, partitions: int = 3) -> Path:
    """A Sessions artifact: user uK goes to partition K mod partitions."""
    for split, wanted in (("train", False), ("eval", True)):
        folder = home / f"Split-{split}"
        folder.mkdir(parents=True)
        for p in range(partitions):
            mine = [r for r in rows if int(r["user_id"][1:]) % partitions == p and is_eval(r) == wanted]
            pq.write_table(to_table(mine), folder / f"part-{p:05d}-of-{partitions:05d}.parquet")
    return home
