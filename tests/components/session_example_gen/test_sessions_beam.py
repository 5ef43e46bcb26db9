"""Logs to sessions as a whole: every row is somewhere, whatever the files look like; bad logs are refused."""

import json
import random
import re
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from components.session_example_gen import readers
from components.session_example_gen.splits import SplitWindows
from schemas.errors import InputError
from schemas.events import LogSource, session_schema
from tests.components.session_example_gen.logs import (
    EVENTS,
    build,
    event,
    gzipped,
    write_csv,
    write_jsonl,
    write_parquet,
)

BAD = {
    "no user_id": event(user_id=None),
    "no event_time": event(event_time=" "),
    "no event_type": event(event_type=""),
    "no product_id": event(product_id="  "),
    "event_time cannot be read": event(event_time="yesterday"),
    "event_time is not between 1990 and 2100": event(event_time="1970-01-01 00:00:00"),
    "unknown event_type": event(event_type="teleport"),
    "user_id is longer than 1024 bytes": event(user_id="x" * 1025),
    "price is negative or not finite": event(price=-1.0),
    "price is not a number": event(price="cheap"),
    "quantity is not a whole number": event(quantity=1.5),
    "quantity is not a number": event(quantity="two"),
    "revenue is not finite": event(revenue="inf"),
}


def as_text(rows: list[dict]) -> list[dict]:
    return [{key: None if value is None else str(value) for key, value in row.items()} for row in rows]


def test_sessions_of_a_small_log(tmp_path: Path) -> None:
    source = LogSource(events=[str(write_parquet(tmp_path / "log.parquet", EVENTS))])
    rows, counts = build(tmp_path / "out", source)
    assert rows.columns[:-1] == session_schema([]).names
    assert rows.select("user_id", "session_id", "event_type", "is_click", "item", "split").rows() == [
        ("u1", "s1", "click", True, "p1", "train"),
        ("u1", "s1", "detail_view", False, "p1", "train"),
        ("u1", "s1", "add_to_cart", False, "p1", "train"),
        ("u1", "s1", "purchase", False, "p1", "train"),
        ("u2", "u2_1709337000", "click", True, "p2", "train"),
        ("u2", "u2_1709337000", "click", True, "p3", "eval"),
    ]
    assert json.loads((tmp_path / "out/counts.json").read_text()) == {
        "read": 8,
        "kept": {"eval": 1, "train": 5},
        "duplicates": 1,
        "set_aside": {"impression": 1},
        "outside_window": 0,
        "rejected": {},
        "users": 2,
        "sessions": 2,
        "clicks": 3,
        "events": {"add_to_cart": 1, "click": 3, "detail_view": 1, "purchase": 1},
        "first_us": 1709287200000000,
        "last_us": 1709377200000000,
        "files": [{"path": str(tmp_path / "log.parquet"), "read": 8, "rejected": {}}],
    }
    assert counts.users == 2
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet by row", "no suffix"])
def test_the_file_format_makes_no_difference(tmp_path: Path, kind: str) -> None:
    expected, _ = build(
        tmp_path / "a", LogSource(events=[str(write_parquet(tmp_path / "x.parquet", EVENTS))])
    )
    path = {
        "csv": lambda: write_csv(tmp_path / "log.csv", EVENTS),
        "csv.gz": lambda: gzipped(write_csv(tmp_path / "log.csv", EVENTS)),
        "jsonl": lambda: write_jsonl(tmp_path / "log.jsonl", EVENTS),
        "jsonl.gz": lambda: gzipped(write_jsonl(tmp_path / "log.jsonl", EVENTS)),
        "parquet by row": lambda: write_parquet(tmp_path / "log.parquet", EVENTS, row_group_size=1),
        "no suffix": lambda: write_jsonl(tmp_path / "000000000000", EVENTS),
    }[kind]()
    rows, _ = build(tmp_path / "b", LogSource(events=[str(path)]))
    assert_frame_equal(rows, expected)


@pytest.mark.parametrize("seed", range(3))
def test_order_of_rows_and_division_into_files_make_no_difference(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    events = [
        event(
            user_id=f"u{draw.randrange(12)}",
            session_id=None,
            product_id=f"p{draw.randrange(4)}",
            event_time=1709290000 + 40 * number + draw.random(),  # no two at the same instant
            event_type=draw.choice(["click", "detail_view", "add_to_cart", "purchase", "impression"]),
        )
        for number in range(3000)
    ]
    expected, whole = build(
        tmp_path / "whole", LogSource(events=[str(write_csv(tmp_path / "x.csv", events))])
    )
    draw.shuffle(events)
    (tmp_path / "many").mkdir()
    for number in range(5):
        write_parquet(tmp_path / f"many/{number}.parquet", events[number::5], row_group_size=100)
    rows, parts = build(tmp_path / "parts", LogSource(events=[str(tmp_path / "many")]))
    assert_frame_equal(rows, expected)
    for name in ("read", "kept", "duplicates", "set_aside", "users", "sessions", "clicks", "events"):
        assert getattr(parts, name) == getattr(whole, name)


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    source = LogSource(events=[str(write_parquet(tmp_path / "log.parquet", EVENTS, row_group_size=2))])
    for name in ("a", "b"):
        build(tmp_path / name, source)
    written = {path.relative_to(tmp_path / "a"): path.read_bytes() for path in (tmp_path / "a").rglob("*.*")}
    assert written
    assert all((tmp_path / "b" / path).read_bytes() == content for path, content in written.items())


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_each_kind_of_bad_row_is_set_apart_with_its_reason(tmp_path: Path, kind: str) -> None:
    rows = as_text([*EVENTS, *BAD.values(), *EVENTS])
    write = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}[kind]
    path = write(tmp_path / f"log.{kind}", rows)
    kept, counts = build(tmp_path / "out", LogSource(events=[str(path)], max_rejected_share=1))
    assert counts.rejected == dict.fromkeys(BAD, 1)
    assert counts.read == len(rows)
    rejected = pl.read_parquet(tmp_path / "out/rejected/*.parquet").sort("row")
    assert rejected["file"].unique().to_list() == [str(path)]
    assert rejected["row"].to_list() == list(range(len(EVENTS) + 1, len(EVENTS) + len(BAD) + 1))
    assert rejected["reason"].to_list() == list(BAD)
    assert (
        json.loads(rejected.filter(pl.col("reason") == "unknown event_type")["raw"].item())["event_type"]
        == "teleport"
    )
    assert kept.height == 6


def test_lines_that_are_no_rows_are_set_apart(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    lines = write_csv(path, EVENTS).read_bytes().splitlines(keepends=True)
    lines[2:2] = [b"a,b\n", b"1,2,3,4,5,6,7,8,9,10,11,12\n"]
    lines[6:6] = [lines[1].replace(b"u1", b"\xffu"), b"\n"]
    lines.append(b"short,last\n")
    path.write_bytes(b"".join(lines))
    _, counts = build(tmp_path / "csv", LogSource(events=[str(path)], max_rejected_share=1))
    rejected = pl.read_parquet(tmp_path / "csv/rejected/*.parquet").sort("row")
    assert rejected.select("row", pl.col("reason").str.slice(0, 16)).rows() == [
        (2, "2 values where t"),
        (3, "12 values where "),
        (6, "text is not UTF-"),
        (12, "2 values where t"),
    ]
    assert counts.read == len(EVENTS) + 4

    path = tmp_path / "log.jsonl"
    lines = write_jsonl(path, EVENTS).read_bytes().splitlines(keepends=True)
    lines[1:1] = [b"{broken\n", b"\n", b"[1]\n", b'{"user_id": "\xff"}\n', b"[" * 100_000 + b"\n"]
    path.write_bytes(b"".join(lines))
    rows, counts = build(tmp_path / "jsonl", LogSource(events=[str(path)], max_rejected_share=1))
    rejected = pl.read_parquet(tmp_path / "jsonl/rejected/*.parquet").sort("row")
    assert rejected["row"].to_list() == [2, 3, 4, 5]
    assert counts.rejected == {"not a JSON object": 4}
    assert rows.height == 6


def test_plain_json_is_parsed_by_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_patient_json", None)
    _, counts = build(tmp_path / "out", LogSource(events=[str(write_jsonl(tmp_path / "log", EVENTS * 1000))]))
    assert counts.read == len(EVENTS) * 1000


def test_json_values_of_differing_types(tmp_path: Path) -> None:
    events = [
        *EVENTS,
        event(user_id=12345678901234567890, price="7.5"),
        event(user_id=7, event_time=1709290000),
    ]
    rows, _ = build(tmp_path / "out", LogSource(events=[str(write_jsonl(tmp_path / "log.jsonl", events))]))
    assert {"12345678901234567890", "7"} <= set(rows["user_id"])
    assert rows.filter(pl.col("user_id") == "12345678901234567890")["price"].item() == 7.5


def test_over_the_limit_the_message_says_what_where_and_which(tmp_path: Path) -> None:
    bad = [event(event_type="teleport", user_id=f"t{number}") for number in range(5)]
    path = write_csv(tmp_path / "log.csv", EVENTS * 20 + bad)
    source = LogSource(events=[str(path)], max_rejected_share=0.02)
    with pytest.raises(InputError) as error:
        build(tmp_path / "out", source)
    message = str(error.value)
    assert "\n" not in message
    assert (
        f"5 of 165 rows cannot be used (3.0%, the limit is 2.0%): {path}: unknown event_type (5 rows)"
        in message
    )
    assert re.findall(r"row (\d+): \{\"user_id\":\"(t\d)\"", message) == [
        ("161", "t0"),
        ("162", "t1"),
        ("163", "t2"),
    ]
    assert not list((tmp_path / "out").glob("Split-*"))
    assert not (tmp_path / "out/counts.json").exists()
    assert pl.read_parquet(tmp_path / "out/rejected/*.parquet").height == 5
    build(tmp_path / "out", source.model_copy(update={"max_rejected_share": 0.04}))


@pytest.mark.parametrize("days", [("2024-03-09", None), ("2024-02-01", None), ("2024-02-01", "2024-02-05")])
def test_windows_beside_the_data_are_refused_with_its_span(
    tmp_path: Path, days: tuple[str, str | None]
) -> None:
    source = LogSource(events=[str(write_csv(tmp_path / "log.csv", EVENTS))], time_zone="America/New_York")
    with pytest.raises(InputError, match=r"2024-03-01 05:00 to 2024-03-02 06:00 \(America/New_York\)"):
        build(tmp_path / "out", source, SplitWindows(eval_start=days[0], eval_end=days[1]))
    assert not list((tmp_path / "out").glob("Split-*"))


def test_rows_outside_the_windows_are_counted(tmp_path: Path) -> None:
    early, late = event(event_time="2024-02-01T00:00:00Z"), event(event_time="2024-03-03T00:00:00Z")
    source = LogSource(events=[str(write_csv(tmp_path / "log.csv", [*EVENTS, early, late]))])
    windows = SplitWindows(train_start="2024-03-01", eval_start="2024-03-02", eval_end="2024-03-03")
    rows, counts = build(tmp_path / "out", source, windows)
    assert counts.outside_window == 2
    assert rows.height == 6


class TestInput:
    """What is wrong with files and the catalog is one line."""

    def refused(self, tmp_path: Path, words: str, **settings: object) -> None:
        with pytest.raises(InputError) as error:
            build(tmp_path / "out", LogSource(**settings))
        assert words in str(error.value)
        assert "\n" not in str(error.value)

    def test_no_file(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "no file matches", events=[str(tmp_path / "*.csv")])

    def test_empty_files(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").touch()
        self.refused(tmp_path, "is empty", events=[str(tmp_path / "a.csv")])

    @pytest.mark.parametrize("kind", ["csv", "parquet"])
    def test_no_rows(self, tmp_path: Path, kind: str) -> None:
        frame = pl.DataFrame(EVENTS, infer_schema_length=None).clear()
        getattr(frame, f"write_{kind}")(tmp_path / "log")
        self.refused(tmp_path, "no rows in", events=[str(tmp_path / "log")])

    @pytest.mark.parametrize("write", [write_csv, write_parquet, write_jsonl])
    def test_missing_column(self, tmp_path: Path, write: object) -> None:
        rows = [{key: value for key, value in row.items() if key != "user_id"} for row in EVENTS]
        path = write(tmp_path / "log", rows)
        self.refused(
            tmp_path, "log has no column 'user_id'; it has session_id, event_time", events=[str(path)]
        )

    def test_missing_context_column(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "log.csv", EVENTS)
        self.refused(tmp_path, "has no column 'channel'", events=[str(path)], context_columns=["channel"])

    @pytest.mark.parametrize("kind", ["csv.gz", "parquet"])
    def test_truncated_file(self, tmp_path: Path, kind: str) -> None:
        rows = EVENTS * 2000
        path = write_parquet(tmp_path / "log.parquet", rows)
        if kind == "csv.gz":
            path = gzipped(write_csv(tmp_path / "log.csv", rows))
        path.write_bytes(path.read_bytes()[:-60])
        self.refused(tmp_path, f"{path} cannot be read", events=[str(path)])

    def test_damaged_row_group(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "log.parquet", EVENTS * 2000)
        content = bytearray(path.read_bytes())
        content[20:400] = bytes(380)
        path.write_bytes(content)
        self.refused(tmp_path, f"{path} cannot be read", events=[str(path)])

    def test_endless_line(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "log.csv", EVENTS)
        path.write_text(path.read_text() + '"' + "x" * 9_000_000)
        self.refused(tmp_path, "longer than 4 MB", events=[str(path)])
        path.write_text('{"user_id": "' + "x" * 9_000_000)
        self.refused(tmp_path, "longer than 4 MB", events=[str(path)])

    def test_json_array(self, tmp_path: Path) -> None:
        (tmp_path / "log.json").write_text(json.dumps(EVENTS))
        self.refused(tmp_path, "one JSON object per line", events=[str(tmp_path / "log.json")])

    def test_torn_product(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "log.csv", EVENTS)
        catalog = write_csv(
            tmp_path / "catalog.csv",
            [{"product_id": "p1", "item_group_id": "g1"}, {"product_id": "p1", "item_group_id": "g2"}],
        )
        self.refused(
            tmp_path, "lists product 'p1' in the item groups g1, g2", events=[str(path)], catalog=str(catalog)
        )

    def test_no_catalog(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "log.csv", EVENTS)
        self.refused(tmp_path, "check `catalog`", events=[str(path)], catalog=str(tmp_path / "no.csv"))

    def test_catalog_without_products(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "log.csv", EVENTS)
        catalog = write_csv(tmp_path / "catalog.csv", [{"sku": "p1"}])
        self.refused(tmp_path, "has no column 'product_id'", events=[str(path)], catalog=str(catalog))


def test_the_catalog_says_what_a_product_is(tmp_path: Path) -> None:
    catalog = write_csv(
        tmp_path / "catalog.csv",
        [
            {
                "sku": "p1",
                "item_group_id": "g1",
                "category_path": " Home/ Kitchen /",
                "brand": "Acme",
                "price": 1.0,
            },
            {"sku": "p2", "item_group_id": "g1", "category_path": "", "brand": None, "price": 2.5},
            {"sku": "p2", "item_group_id": "g1", "category_path": "", "brand": None, "price": 2.5},
        ],
    )
    source = LogSource(
        events=[str(write_csv(tmp_path / "log.csv", EVENTS))],
        catalog=str(catalog),
        catalog_columns={"product_id": "sku"},
        category_separator="/",
    )
    rows, _ = build(tmp_path / "out", source)
    known = (
        rows.unique("product_id").sort("product_id").select("product_id", "item", "leaf", "brand", "price")
    )
    assert known.rows() == [
        ("p1", "g1", "Home > Kitchen", "Acme", 9.5),
        ("p2", "g1", "__unknown__", "__unknown__", 2.5),
        ("p3", "p3", "__unknown__", "__unknown__", 9.5),
    ]
