"""Raw rows -> rows of the input contract, each checked: what cannot be used is set apart with the reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import polars as pl

from components.session_example_gen.formats import Layout
from components.session_example_gen.readers import NOT_UTF8, ROW
from schemas.events import (
    ANY_OTHER,
    CATALOG_FIELDS,
    IGNORE,
    IMPRESSION,
    REQUIRED_FIELDS,
    context_column,
)

LONGEST_TEXT = 1024
"""Bytes of an identifier, category or context value."""
_RAW_CHARS = 2000
_FIRST_YEAR, _END_YEAR = 1990, 2100
_UTC = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class CheckedRows:
    """What became of a batch.

    Attributes:
        read: rows looked at, after nested items became rows of their own.
        events: usable rows that are kept; contract fields with their types, `context_<name>` and `row`.
        rejected: row (int64), reason, raw (the row as JSON).
        set_aside: rows that are not kept, by event type.
        first_us, last_us: span of the usable rows (kept and set aside impressions).
    """

    read: int
    events: pl.DataFrame
    rejected: pl.DataFrame
    set_aside: Counter[str]
    first_us: int | None
    last_us: int | None


def check_rows(raw: pl.DataFrame, layout: Layout) -> CheckedRows:
    """Maps, types and checks a raw frame.

    Impressions are checked and set aside; rows of ignored event types are set aside unseen.
    """
    if layout.reshape:
        raw = layout.reshape(raw, layout.category_separator)
    named = text(raw, layout.columns["event_type"])
    event_type = named.replace_strict(
        {name: target for name, target in layout.event_types.items() if name != ANY_OTHER},
        default=pl.when(named.is_not_null()).then(pl.lit(layout.event_types.get(ANY_OTHER), pl.String)),
        return_dtype=pl.String,
    )
    raw = raw.with_columns(event_type.alias("_event_type"))
    looked_at = raw.filter(pl.col("_event_type").ne_missing(IGNORE))
    rows = _typed(looked_at, layout)
    usable = rows.filter(pl.col("reason").is_null())
    events = usable.filter(pl.col("event_type") != IMPRESSION)
    set_aside = Counter({IGNORE: raw.height - looked_at.height, IMPRESSION: usable.height - events.height})
    span = usable.select(
        pl.col("event_time").min().to_physical().alias("first"),
        pl.col("event_time").max().to_physical().alias("last"),
    ).row(0)
    return CheckedRows(
        read=raw.height,
        events=events.drop("reason"),
        rejected=_rejected(looked_at.drop("_event_type"), rows["reason"]),
        set_aside=+set_aside,
        first_us=span[0],
        last_us=span[1],
    )


def _typed(raw: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Contract columns, `row` and `reason` (null: usable) of every raw row."""
    texts = {
        name: text(raw, layout.columns.get(name))
        for name in ("user_id", "session_id", "product_id", *CATALOG_FIELDS)
    }
    texts |= {context_column(name): text(raw, layout.columns[name]) for name in layout.context_columns}
    numbers = {
        name: number(raw, layout.columns.get(name))
        for name in ("price", "quantity", "revenue", "list_position")
    }
    rows = raw.select(
        pl.col(ROW).alias("row"),
        pl.col("_event_type").alias("event_type"),
        event_time(raw, layout.columns["event_time"]),
        *(value.alias(name) for name, value in texts.items()),
        *(value.alias(name) for name, (value, _) in numbers.items()),
        *(is_odd.alias(f"{name} is odd") for name, (_, is_odd) in numbers.items()),
        text(raw, layout.columns["event_type"]).is_null().alias("event_type is missing"),
        text(raw, layout.columns["event_time"]).is_null().alias("event_time is missing"),
        (pl.col(NOT_UTF8) if NOT_UTF8 in raw.columns else pl.lit(False)).alias(NOT_UTF8),
    )
    reason = pl.when(pl.col(NOT_UTF8)).then(pl.lit("text is not UTF-8"))
    for name in REQUIRED_FIELDS:
        missing = pl.col(name).is_null() if name in texts else pl.col(f"{name} is missing")
        reason = reason.when(missing).then(pl.lit(f"no {name}"))
    reason = reason.when(pl.col("event_type").is_null()).then(pl.lit("unknown event_type"))
    reason = reason.when(pl.col("event_time").is_null()).then(pl.lit("event_time cannot be read"))
    year = pl.col("event_time").dt.year()
    reason = reason.when((year < _FIRST_YEAR) | (year >= _END_YEAR)).then(
        pl.lit(f"event_time is not between {_FIRST_YEAR} and {_END_YEAR}")
    )
    for name in texts:
        reason = reason.when(pl.col(name).str.len_bytes() > LONGEST_TEXT).then(
            pl.lit(f"{name} is longer than {LONGEST_TEXT} bytes")
        )
    for name in numbers:
        reason = reason.when(pl.col(f"{name} is odd")).then(pl.lit(f"{name} is not a number"))
    price = pl.col("price").fill_nan(None)
    reason = reason.when(price.is_infinite() | (price < 0)).then(pl.lit("price is negative or not finite"))
    reason = reason.when(pl.col("revenue").is_infinite()).then(pl.lit("revenue is not finite"))
    for name in ("quantity", "list_position"):
        count = pl.col(name).fill_nan(None)
        reason = reason.when((count != count.floor()) | (count.abs() >= 2**31)).then(
            pl.lit(f"{name} is not a whole number")
        )
    rows = rows.with_columns(reason.otherwise(None).alias("reason"))
    return rows.with_columns(
        pl.col("price", "revenue").fill_nan(None).cast(pl.Float32),
        *(pl.col(name).fill_nan(None).cast(pl.Int32, strict=False) for name in ("quantity", "list_position")),
    ).drop(NOT_UTF8, pl.selectors.ends_with(" is odd", " is missing"))


def text(raw: pl.DataFrame, column: str | None) -> pl.Expr:
    """A column as text without surrounding blanks; null where it is empty, missing or nested."""
    value, kind = _located(raw, column)
    if kind.is_nested() or kind == pl.Binary:
        return pl.lit(None, pl.String)
    if kind.is_float():  # identifiers that lost their integer type to a missing value
        whole = value.cast(pl.Int64, strict=False).cast(pl.String)
        value = pl.when(value == value.floor()).then(whole).otherwise(value.cast(pl.String))
    stripped = value.cast(pl.String).str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def number(raw: pl.DataFrame, column: str | None) -> tuple[pl.Expr, pl.Expr]:
    """A column as float64, null where it is empty or missing; and where it holds no number but something."""
    value, kind = _located(raw, column)
    if kind == pl.Null:
        return pl.lit(None, pl.Float64), pl.lit(False)
    if kind.is_numeric() or kind == pl.Boolean:
        return value.cast(pl.Float64), pl.lit(False)
    written = text(raw, column)
    parsed = written.cast(pl.Float64, strict=False)
    return parsed, written.is_not_null() & parsed.is_null()


def event_time(raw: pl.DataFrame, column: str) -> pl.Series:
    """A column as UTC microseconds, null where it cannot be read.

    Timestamps and ISO text without a zone are UTC; a date is its midnight. Numbers, also written as text, are
    seconds, milli-, micro- or nanoseconds since the epoch; each value's size tells which (1e11 s is the year
    5138, 1e11 ms is 1973).
    """
    value, kind = _located(raw, column)
    if isinstance(kind, pl.Datetime):
        value = value.dt.cast_time_unit("us")
        in_utc = value.dt.convert_time_zone("UTC") if kind.time_zone else value.dt.replace_time_zone("UTC")
        return raw.select(in_utc.alias("event_time")).to_series()
    if kind == pl.Date:
        return raw.select(
            value.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("event_time")
        ).to_series()
    if kind.is_numeric():
        return raw.select(_from_epoch(value.cast(pl.Float64)).alias("event_time")).to_series()
    written = raw.with_columns(text(raw, column).alias("_time"))["_time"]
    as_number = written.cast(pl.Float64, strict=False)
    if as_number.null_count() == written.null_count():
        return pl.select(_from_epoch(as_number)).to_series().alias("event_time")
    iso = (
        written.str.replace(r"\s*(UTC|Z)$", "")
        .str.replace("T", " ", literal=True)
        .str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1} 00:00")
        .str.replace(r"^(\d{4}-\d{2}-\d{2} \d{2}:\d{2})([+-]|$)", "${1}:00${2}")
        .str.replace(r"(:\d{2}(?:\.\d+)?[+-]\d{2})$", "${1}00")
    )
    parsed = iso.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False).dt.replace_time_zone(
        "UTC"
    )
    if iso.str.contains(r"[+-]\d{2}:?\d{2}$").any():
        zoned = iso.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", time_unit="us", strict=False)
        parsed = parsed.zip_with(parsed.is_not_null(), zoned.cast(_UTC))
    if as_number.is_not_null().any():
        parsed = parsed.zip_with(parsed.is_not_null(), pl.select(_from_epoch(as_number)).to_series())
    return parsed.alias("event_time")


def _from_epoch(value: pl.Expr | pl.Series) -> pl.Expr:
    value = pl.lit(value) if isinstance(value, pl.Series) else value
    size = value.abs()
    microseconds = (
        pl.when(size < 1e11)
        .then(value * 1e6)
        .when(size < 1e14)
        .then(value * 1e3)
        .when(size < 1e17)
        .then(value)
        .otherwise(value / 1e3)
    )
    in_range = microseconds.is_finite() & (microseconds.abs() < 2.0**62)
    return pl.when(in_range).then(microseconds.round()).cast(pl.Int64).cast(_UTC)


def _located(raw: pl.DataFrame, column: str | None) -> tuple[pl.Expr, pl.DataType]:
    """Expression and type of a column; "a.b" is the field b of a column a unless a column has that name."""
    missing = pl.lit(None, pl.String), pl.Null()
    if column is None:
        return missing
    if column in raw.columns:
        return pl.col(column), raw.schema[column]
    top, *path = column.split(".")
    if top not in raw.columns:
        return missing
    value, kind = pl.col(top), raw.schema[top]
    for name in path:
        fields = {field.name: field.dtype for field in kind.fields} if isinstance(kind, pl.Struct) else {}
        if name not in fields:
            return missing
        value, kind = value.struct.field(name), fields[name]
    return value, kind


def _rejected(raw: pl.DataFrame, reason: pl.Series) -> pl.DataFrame:
    bad = raw.with_columns(reason.alias("_reason")).filter(pl.col("_reason").is_not_null())
    columns = pl.exclude(ROW, NOT_UTF8, "_reason")
    if not bad.height or len(raw.columns) == 1:
        bad = bad.with_columns(_raw=pl.lit("{}"))
    else:
        bad = bad.with_columns(_raw=pl.struct(columns).struct.json_encode().str.slice(0, _RAW_CHARS))
    return bad.select(
        pl.col(ROW).alias("row"), pl.col("_reason").alias("reason"), pl.col("_raw").alias("raw")
    )
