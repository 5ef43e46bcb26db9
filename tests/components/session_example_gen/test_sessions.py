"""Cutting, de-duplication and clicks against a reference that goes row by row."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from components.session_example_gen.catalog import CATALOG_SCHEMA
from components.session_example_gen.sessions import ARRIVAL, to_arrow, to_sessions
from schemas.events import LogSource, session_schema

START = datetime(2024, 3, 1, tzinfo=UTC)
SOURCE = LogSource(events=["x"], context_columns=["device"])
CATALOG = pl.DataFrame(
    [("p1", "Home", "g1", None, None, 3.0), ("p2", "Home", "g1", "Acme", None, 4.0)],
    schema=CATALOG_SCHEMA,
    orient="row",
)
EVENT_SCHEMA = {
    "user_id": pl.String,
    "session_id": pl.String,
    "event_time": pl.Datetime("us", "UTC"),
    "event_type": pl.String,
    "product_id": pl.String,
    "price": pl.Float32,
    "quantity": pl.Int32,
    "revenue": pl.Float32,
    "list_position": pl.Int32,
    "category_path": pl.String,
    "item_group_id": pl.String,
    "brand": pl.String,
    "advertiser": pl.String,
    "context_device": pl.String,
}

seconds = st.one_of(st.sampled_from([0, 1, 2, 3, 1799, 1800, 1801]), st.floats(0, 4, width=16))
rows = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(["u1", "u2"]),
            "session_id": st.sampled_from([None, None, "s"]),
            "since": seconds,
            "event_type": st.sampled_from(["click", "detail_view", "add_to_cart", "purchase", "purchase"]),
            "product_id": st.sampled_from(["p1", "p2", "p3"]),
            "quantity": st.sampled_from([None, 1, 2]),
            "revenue": st.sampled_from([None, 5.0]),
        }
    ),
    max_size=25,
)


def log_of(drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in time order, `since` seconds after one another."""
    now, events = START, []
    for row in drawn:
        now += timedelta(seconds=float(row["since"]))
        events.append({**row, "event_time": now})
    return events


def reference(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The definitions, one row at a time; events in time order."""
    sessions: list[dict[str, Any]] = []
    seen: set[tuple] = set()
    last: dict[str, tuple[datetime, str]] = {}
    last_line: dict[tuple, dict[str, Any]] = {}
    last_click: dict[tuple, datetime] = {}
    for event in events:
        user, time = event["user_id"], event["event_time"]
        session = event["session_id"]
        before = last.get(user)
        new = before is None or time - before[0] > timedelta(minutes=30)
        last[user] = (time, f"{user}_{int(time.timestamp())}" if new else before[1])
        if session is None:
            session = last[user][1]
        item = {"p1": "g1", "p2": "g1"}.get(event["product_id"], event["product_id"])
        row = {**event, "session_id": session, "item": item, "is_click": False}
        exact = tuple(value for key, value in row.items() if key != "since")
        if exact in seen:
            continue
        seen.add(exact)
        if event["event_type"] == "purchase":
            key = (user, session, event["product_id"])
            line = last_line.get(key)
            differs = line and any(
                None not in (event[name], line["said"][name]) and event[name] != line["said"][name]
                for name in ("quantity", "revenue")
            )
            repeated = line and time - line["time"] <= timedelta(seconds=2) and not differs
            if not repeated:
                line = {"row": row, "said": line["said"] if line else {"quantity": None, "revenue": None}}
                sessions.append(row)
            for name in ("quantity", "revenue"):
                if line["row"][name] is None:
                    line["row"][name] = event[name]
            said = {name: line["said"][name] if event[name] is None else event[name] for name in line["said"]}
            last_line[key] = {"row": line["row"], "said": said, "time": time}
            continue
        if event["event_type"] in SOURCE.click_types:
            key = (user, session, item)
            row["is_click"] = key not in last_click or time - last_click[key] > timedelta(seconds=2)
            last_click[key] = time
        sessions.append(row)
    return sorted(sessions, key=lambda row: (row["user_id"], row["event_time"]))


@given(rows, st.randoms(use_true_random=False))
def test_sessions_are_those_of_the_reference(drawn: list[dict[str, Any]], random: Any) -> None:
    events = log_of(drawn)
    arrived = list(enumerate(events))
    random.shuffle(arrived)
    frame = pl.DataFrame(
        [{**event, ARRIVAL: at} for at, event in arrived], schema={**EVENT_SCHEMA, ARRIVAL: pl.Int64}
    )
    got = to_sessions(frame, CATALOG, SOURCE, ">")
    columns = [
        "user_id",
        "session_id",
        "event_time",
        "event_type",
        "product_id",
        "item",
        "quantity",
        "revenue",
        "is_click",
    ]
    assert got.select(columns).to_dicts() == [
        {name: row[name] for name in columns} for row in reference(events)
    ]
    assert to_arrow(got, SOURCE).schema == session_schema(["device"])


def sessions_of(*events: dict[str, Any]) -> pl.DataFrame:
    complete = [
        {"user_id": "u", "session_id": "s", "event_type": "click", "product_id": "p1", ARRIVAL: at, **event}
        for at, event in enumerate(events)
    ]
    return to_sessions(
        pl.DataFrame(complete, schema={**EVENT_SCHEMA, ARRIVAL: pl.Int64}), CATALOG, SOURCE, ">"
    )


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def test_a_purchase_reported_twice_is_one_with_all_that_was_said() -> None:
    lines = [
        {"event_time": at(0), "event_type": "purchase"},
        {"event_time": at(1), "event_type": "purchase", "quantity": 2, "revenue": 9.0},
        {"event_time": at(60), "event_type": "purchase", "quantity": 2, "revenue": 9.0},
    ]
    assert sessions_of(*lines).select("event_time", "quantity", "revenue").rows() == [
        (at(0), 2, 9.0),
        (at(60), 2, 9.0),
    ]


def test_variants_of_one_item_are_one_click() -> None:
    clicks = [{"event_time": at(0)}, {"event_time": at(1.5), "product_id": "p2", "event_type": "detail_view"}]
    assert sessions_of(*clicks)["is_click"].to_list() == [True, False]


def test_facts_come_from_the_catalog_then_the_event_but_the_price_from_the_event() -> None:
    said = {"category_path": " A>B> ", "brand": "Own", "price": 7.0, "item_group_id": "g9"}
    rows = sessions_of(
        {"event_time": at(0), **said},
        {"event_time": at(9), "product_id": "p2", "context_device": "phone"},
        {"event_time": at(20), "product_id": "p3", **said},
    )
    facts = rows.select("item", "leaf", "brand", "advertiser", "price", "context_device").rows()
    assert facts == [
        ("g1", "Home", "Own", "__unknown__", 7.0, "__unknown__"),
        ("g1", "Home", "Acme", "__unknown__", 4.0, "phone"),
        ("g9", "A > B", "Own", "__unknown__", 7.0, "__unknown__"),
    ]
