"""Checked events of whole users -> session rows: ordered, cut into sessions, joined, de-duplicated."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pyarrow as pa

from components.session_example_gen.catalog import normalised_path
from schemas.events import PURCHASE, UNKNOWN, LogSource, session_schema

ARRIVAL = "arrival"
"""Column of events: position in the logs (file, then row), which orders events of the same instant."""


def to_sessions(
    events: pl.DataFrame, catalog: pl.DataFrame, source: LogSource, category_separator: str
) -> pl.DataFrame:
    """Session rows of all events of some users.

    Args:
        events: contract rows and ARRIVAL, in any order; every user complete.
        catalog: as `read_catalog` gives it.
        category_separator: of the events' own category paths.

    Returns:
        The columns of `session_schema`, sorted by (user_id, event_time, arrival), without duplicates.
    """
    events = events.sort("user_id", "event_time", ARRIVAL, maintain_order=True)
    events = events.with_columns(pl.int_range(pl.len()).alias(ARRIVAL))  # unique where items share a log row
    return cleaned(in_sessions(with_products(events, catalog, source, category_separator), source), source)


def in_sessions(events: pl.DataFrame, source: LogSource) -> pl.DataFrame:
    """Events with a session each, and each said once.

    Args:
        events: as `with_products` gives them, sorted by (user_id, event_time, ARRIVAL); ARRIVAL is different
            in every row.
    """
    events = _cut(events, timedelta(minutes=source.session_gap_minutes))
    return events.unique(pl.exclude(ARRIVAL), keep="first", maintain_order=True)


def cleaned(events: pl.DataFrame, source: LogSource) -> pl.DataFrame:
    """Session rows of what `in_sessions` gives: repeated purchase lines joined, clicks told from twins."""
    within = timedelta(seconds=source.duplicate_seconds)
    events = _merge_purchases(events, within)
    counted = pl.col("event_type").is_in(source.click_types)
    same_item = ["user_id", "session_id", "item"]
    # Only clicks are looked at for twins, so that a purchase between two clicks does not part them.
    clicks = events.filter(counted).select(ARRIVAL, is_click=~_soon_after_previous(same_item, within))
    events = events.join(clicks, on=ARRIVAL, how="left", maintain_order="left")
    return events.with_columns(pl.col("is_click").fill_null(False)).select(
        session_schema(source.context_columns).names
    )


def to_arrow(sessions: pl.DataFrame, source: LogSource) -> pa.Table:
    """Session rows in the types of `session_schema`."""
    schema = session_schema(source.context_columns)
    table = sessions.to_arrow(compat_level=pl.CompatLevel.oldest())
    columns = [_as(column, field.type) for column, field in zip(table.columns, schema, strict=True)]
    return pa.table(columns, schema=schema)


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type).dictionary_encode()
    return column.cast(kind)


def _cut(events: pl.DataFrame, gap: timedelta) -> pl.DataFrame:
    """Gives rows without session_id the id <user>_<epoch second at which the user's silence ended>."""
    if not events["session_id"].null_count():
        return events
    loose = pl.col("session_id").is_null()
    before = pl.col("event_time").shift().over("user_id")
    starts = before.is_null() | (pl.col("event_time") - before > gap)
    start = pl.when(starts).then(pl.col("event_time")).forward_fill().over("user_id")
    cut = pl.col("user_id") + "_" + start.dt.epoch("s").cast(pl.String)
    return events.with_columns(pl.when(loose).then(cut).otherwise(pl.col("session_id")).alias("session_id"))


def with_products(
    events: pl.DataFrame, catalog: pl.DataFrame, source: LogSource, category_separator: str
) -> pl.DataFrame:
    """Adds item, leaf, brand, advertiser, price from the catalog, else the event (price: the other way).

    Unknown context becomes UNKNOWN too. Arguments are those of `to_sessions`.
    """
    paths = events.select(pl.col("category_path").drop_nulls().unique(maintain_order=True))
    paths = paths.with_columns(leaf=normalised_path(pl.col("category_path"), category_separator))
    events = events.join(paths, on="category_path", how="left", maintain_order="left")
    events = events.join(catalog, on="product_id", how="left", suffix="_listed", maintain_order="left")
    return events.with_columns(
        pl.coalesce("item_group_id_listed", "item_group_id", "product_id").alias("item"),
        *(
            pl.coalesce(f"{name}_listed", name).fill_null(UNKNOWN).alias(name)
            for name in ("leaf", "brand", "advertiser")
        ),
        pl.coalesce("price", "price_listed"),
        pl.col(source.context_names).fill_null(UNKNOWN),
    ).drop(pl.selectors.ends_with("_listed"), "item_group_id", "category_path")


def _merge_purchases(events: pl.DataFrame, within: timedelta) -> pl.DataFrame:
    """Counts a purchase line that is logged again within `within` once.

    Shops report an order from more than one place, and often only one report has quantity and revenue: lines
    of one product are the same unless both say it and differ. The merged line has what any of them said.
    """
    line = ["user_id", "session_id", "product_id"]
    amounts = ["quantity", "revenue"]
    purchases = events.filter(pl.col("event_type") == PURCHASE)
    if not purchases.height:
        return events
    differs = pl.any_horizontal(
        (pl.col(name) != pl.col(name).forward_fill().shift().over(line)).fill_null(False) for name in amounts
    )
    starts = (~_soon_after_previous(line, within)) | differs
    purchases = purchases.with_columns(burst=starts.cum_sum().over(line), first=starts)
    merged = purchases.select(
        ARRIVAL,
        "first",
        *(pl.col(name).drop_nulls().first().over([*line, "burst"]).alias(f"{name}_said") for name in amounts),
    )
    events = events.join(merged, on=ARRIVAL, how="left", maintain_order="left")
    return (
        events.filter(pl.col("first").fill_null(True))
        .with_columns(pl.coalesce(name, f"{name}_said").alias(name) for name in amounts)
        .drop("first", *(f"{name}_said" for name in amounts))
    )


def _soon_after_previous(group: list[str], within: timedelta) -> pl.Expr:
    """Whether a row comes at most `within` after the previous row of its group (rows sorted by time)."""
    since = pl.col("event_time") - pl.col("event_time").shift().over(group)
    return (since <= within).fill_null(False)
