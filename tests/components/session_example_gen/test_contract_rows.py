"""Typing and checking of raw rows."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.session_example_gen.contract_rows import check_rows, event_time, text
from components.session_example_gen.formats import layout_of
from components.session_example_gen.readers import ROW
from schemas.events import LogSource

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.lists(
    st.datetimes(datetime(1990, 1, 2), datetime(2099, 12, 30), timezones=st.just(UTC)), min_size=1
)


def microseconds(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1)


def read(values: list | pl.Series) -> list[datetime | None]:
    return event_time(pl.DataFrame({"t": values}), "t").to_list()


@given(INSTANTS)
def test_every_way_to_write_a_time_is_the_same_time(instants: list[datetime]) -> None:
    whole = [instant.replace(microsecond=0) for instant in instants]
    milli = [instant.replace(microsecond=instant.microsecond // 1000 * 1000) for instant in instants]
    us = [microseconds(instant) for instant in instants]
    offset = timezone(timedelta(hours=-7, minutes=-30))
    assert read(instants) == instants
    assert read(pl.Series(instants).dt.replace_time_zone(None)) == instants
    assert read(pl.Series(milli).dt.cast_time_unit("ms")) == milli
    assert read(pl.Series(instants).dt.convert_time_zone("Asia/Kolkata")) == instants
    assert read(us) == instants
    assert read([str(value) for value in us]) == instants
    assert read([microseconds(instant) // 1_000_000 for instant in whole]) == whole
    assert read([f"{microseconds(instant) // 1_000_000}" for instant in whole]) == whole
    for written in (
        [instant.isoformat() for instant in instants],
        [instant.isoformat().replace("+00:00", "Z") for instant in instants],
        [instant.isoformat(" ").replace("+00:00", " UTC") for instant in instants],
        [instant.isoformat().replace("+00:00", "") for instant in instants],
        [instant.astimezone(offset).isoformat() for instant in instants],
        [instant.isoformat() if i % 2 else str(us[i]) for i, instant in enumerate(instants)],
    ):
        assert read(written) == instants


@given(st.lists(st.datetimes(datetime(1990, 1, 2), datetime(2099, 12, 30), timezones=st.just(UTC))))
def test_milliseconds(instants: list[datetime]) -> None:
    milli = [instant.replace(microsecond=instant.microsecond // 1000 * 1000) for instant in instants]
    assert read(pl.Series([microseconds(instant) // 1000 for instant in milli], dtype=pl.Int64)) == milli


def test_a_date_is_its_midnight_among_other_text() -> None:
    midnight = datetime(2016, 10, 1, tzinfo=UTC)
    for written in ("2016-10-01", " 2016-10-01 ", "2016-10-01T00:00", "2016-10-01T02:00+02:00"):
        assert read([written]) == read(["2016-10-01", written])[1:] == [midnight]


@pytest.mark.parametrize(
    "written",
    [
        "",
        "soon",
        "2024-13-01 00:00:00",
        "2024-02-30T00:00:00",
        "NaN",
        "inf",
        "1e400",
        "2024",
        "2024-02-30",
        "12:00:00",
    ],
)
def test_what_is_no_time_is_null_or_out_of_range(written: str) -> None:
    source = LogSource(events=["x"])
    row = {"user_id": "u", "event_time": written, "event_type": "click", "product_id": "p", ROW: 1}
    checked = check_rows(pl.DataFrame([row]), layout_of(source))
    assert checked.events.height == 0
    assert "event_time" in checked.rejected["reason"].item()


def test_numeric_identifiers_are_their_digits() -> None:
    frame = pl.DataFrame({"i": [7, None], "f": [7.0, None], "b": [2**62, None], "s": [" 7 ", " "]})
    assert [frame.select(text(frame, name)).to_series().to_list() for name in "ifbs"] == [
        ["7", None],
        ["7", None],
        [str(2**62), None],
        ["7", None],
    ]


VALUES = st.one_of(
    st.none(),
    st.text(max_size=8),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.datetimes(),
)
COLUMNS = [
    "user_id",
    "session_id",
    "event_time",
    "event_type",
    "product_id",
    "price",
    "quantity",
    "list_position",
]


@given(st.data())
def test_whatever_the_values_every_row_is_somewhere(data: st.DataObject) -> None:
    height = data.draw(st.integers(0, 4))
    columns = {}
    for name in data.draw(st.sets(st.sampled_from(COLUMNS))):
        kind = type(data.draw(VALUES))
        values = data.draw(
            st.lists(
                VALUES.filter(lambda value, kind=kind: isinstance(value, (kind, type(None)))),
                min_size=height,
                max_size=height,
            )
        )
        columns[name] = pl.Series(name, values, strict=False)
    raw = pl.DataFrame({**columns, ROW: pl.Series(range(1, height + 1), dtype=pl.Int64)})
    checked = check_rows(raw, layout_of(LogSource(events=["x"], event_types={"*": "click"})))
    assert checked.read == height
    assert checked.events.height + checked.rejected.height + checked.set_aside.total() == height
    assert checked.rejected["reason"].null_count() == 0
    assert not {"user_id", "event_time", "event_type", "product_id"} & {
        name for name, nulls in checked.events.null_count().to_dicts()[0].items() if nulls
    }


def test_ignored_types_are_not_looked_at_and_impressions_are() -> None:
    row = {"user_id": "u", "event_time": 1709290000, "product_id": "p"}
    rows = [
        {**row, "event_type": "scroll", "user_id": None},
        {**row, "event_type": "impression"},
        {**row, "event_type": "impression", "user_id": None},
        {**row, "event_type": "tap"},
    ]
    frame = pl.DataFrame(rows).with_row_index(ROW, 1)
    layout = layout_of(LogSource(events=["x"], event_types={"scroll": "ignore", "tap": "click"}))
    checked = check_rows(frame, layout)
    assert checked.set_aside == {"ignore": 1, "impression": 1}
    assert checked.rejected["row"].to_list() == [3]
    assert checked.events["event_type"].to_list() == ["click"]
