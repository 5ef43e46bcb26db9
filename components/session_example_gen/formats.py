"""The exports people have, each a declarative mapping onto the input contract (`schemas.events`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from schemas.events import (
    ADD_TO_CART,
    ANY_OTHER,
    CHECKOUT,
    CLICK,
    DETAIL_VIEW,
    EVENT_FIELDS,
    EVENT_TYPES,
    IGNORE,
    IMPRESSION,
    PURCHASE,
    REMOVE_FROM_CART,
    REQUIRED_FIELDS,
    LogSource,
)

Reshape = Callable[[pl.DataFrame, str], pl.DataFrame]
"""(raw rows, category separator) -> rows with one event on one product each."""


@dataclass(frozen=True)
class Format:
    """What an export calls things.

    Attributes:
        columns: contract name -> source column, or one that `reshape` makes ("a.b" is field b of a nested a).
        event_types: name in the log -> contract event type.
        category_separator: between the levels of a category path.
        header: column names of CSV files that have no header line.
        needs: source columns that a file must have; by default those of the contract's required fields.
        also_read: further source columns that `reshape` uses when they are there.
        reshape: for exports whose rows are not one event on one product.
    """

    columns: dict[str, str]
    event_types: dict[str, str]
    category_separator: str = ">"
    header: tuple[str, ...] | None = None
    needs: tuple[str, ...] | None = None
    also_read: tuple[str, ...] = ()
    reshape: Reshape | None = None


@dataclass(frozen=True)
class Layout:
    """A format with the source's own settings laid over it: everything a reader has to know.

    Attributes:
        columns: contract name or context name -> source column ("a.b": nested).
        required: source columns that every file must have.
        read: source columns to read where a file has them.
    """

    columns: dict[str, str]
    event_types: dict[str, str]
    category_separator: str
    required: tuple[str, ...]
    read: tuple[str, ...]
    header: tuple[str, ...] | None = None
    reshape: Reshape | None = None
    context_columns: tuple[str, ...] = field(default=())


def layout_of(source: LogSource) -> Layout:
    """The layout of a source: its format, overridden by its own columns, event types and separator."""
    form = FORMATS[source.format]
    columns = {**form.columns, **{name: name for name in source.context_columns}, **source.columns}
    needs = form.needs or tuple(columns[name] for name in REQUIRED_FIELDS)
    named = [columns[name] for name in (*source.columns, *source.context_columns)]
    required = tuple(dict.fromkeys(_top(column) for column in (*needs, *named)))
    read = tuple(dict.fromkeys([*required, *map(_top, columns.values()), *form.also_read]))
    return Layout(
        columns=columns,
        event_types={**form.event_types, **source.event_types},
        category_separator=source.category_separator or form.category_separator,
        required=required,
        read=read,
        header=form.header,
        reshape=form.reshape,
        context_columns=tuple(source.context_columns),
    )


def _top(column: str) -> str:
    return column.split(".", 1)[0]


_GA4_LEVELS = ("item_category", "item_category2", "item_category3", "item_category4", "item_category5")


def _ga4_rows(raw: pl.DataFrame, separator: str) -> pl.DataFrame:
    """One row per (event, item); events without items keep one row.

    Adds `ga_session` (ga_session_id is only unique within a user) and `ga_category` (the levels joined).
    """
    session = pl.lit(None, pl.String)
    if isinstance(raw.schema.get("event_params"), pl.List):
        value = pl.element().struct.field("value")
        numbers = [
            value.struct.field(name).cast(pl.String)
            for name in ("int_value", "string_value")
            if name in _fields(_field(raw.schema["event_params"].inner, "value"))
        ]
        if numbers:
            is_session = pl.element().struct.field("key") == "ga_session_id"
            number = pl.col("event_params").list.eval(pl.coalesce(numbers).filter(is_session)).list.first()
            session = pl.col("user_pseudo_id").cast(pl.String) + "_" + number
    rows = raw.with_columns(ga_session=session)
    if not isinstance(rows.schema.get("items"), pl.List):  # no event of the batch has items
        return rows.with_columns(ga_category=pl.lit(None, pl.String))
    rows = rows.explode("items", empty_as_null=True, keep_nulls=True)
    levels = [
        _blank_to_null(pl.col("items").struct.field(level))
        for level in _GA4_LEVELS
        if level in _fields(rows.schema["items"])
    ]
    category = (
        pl.concat_str(levels, separator=separator, ignore_nulls=True) if levels else pl.lit(None, pl.String)
    )
    return rows.with_columns(ga_category=category)


def _fields(kind: pl.DataType | None) -> list[str]:
    return [field.name for field in kind.fields] if isinstance(kind, pl.Struct) else []


def _field(kind: pl.DataType, name: str) -> pl.DataType | None:
    if not isinstance(kind, pl.Struct):
        return None
    return next((field.dtype for field in kind.fields if field.name == name), None)


def _blank_to_null(text: pl.Expr) -> pl.Expr:
    stripped = text.cast(pl.String).str.strip_chars()
    return pl.when(~stripped.is_in(["", "(not set)"])).then(stripped)


FORMATS: dict[str, Format] = {
    "cabb": Format(
        columns={name: name for name in EVENT_FIELDS},
        event_types={name: name for name in EVENT_TYPES},
    ),
    "ga4": Format(  # BigQuery export; https://support.google.com/analytics/answer/7029846
        columns={
            "user_id": "user_pseudo_id",
            "session_id": "ga_session",
            "event_time": "event_timestamp",
            "event_type": "event_name",
            "product_id": "items.item_id",
            "category_path": "ga_category",
            "brand": "items.item_brand",
            "advertiser": "items.affiliation",
            "price": "items.price",
            "quantity": "items.quantity",
            "revenue": "items.item_revenue",
            "list_position": "items.item_list_index",
        },
        event_types={
            "view_item_list": IMPRESSION,
            "select_item": CLICK,
            "view_item": DETAIL_VIEW,
            "add_to_cart": ADD_TO_CART,
            "remove_from_cart": REMOVE_FROM_CART,
            "begin_checkout": CHECKOUT,
            "purchase": PURCHASE,
            ANY_OTHER: IGNORE,
        },
        needs=("event_name", "event_timestamp", "user_pseudo_id", "items"),
        also_read=("event_params",),
        reshape=_ga4_rows,
    ),
    "rees46": Format(  # and Kaggle "eCommerce behavior data from multi category store"
        columns={
            "user_id": "user_id",
            "session_id": "user_session",
            "event_time": "event_time",
            "event_type": "event_type",
            "product_id": "product_id",
            "category_path": "category_code",
            "brand": "brand",
            "price": "price",
        },
        event_types={
            "view": DETAIL_VIEW,
            "cart": ADD_TO_CART,
            "remove_from_cart": REMOVE_FROM_CART,
            "purchase": PURCHASE,
        },
        category_separator=".",
    ),
    "retailrocket": Format(  # events.csv
        columns={
            "user_id": "visitorid",
            "event_time": "timestamp",
            "event_type": "event",
            "product_id": "itemid",
        },
        event_types={"view": DETAIL_VIEW, "addtocart": ADD_TO_CART, "transaction": PURCHASE},
    ),
    "taobao": Format(  # UserBehavior.csv: a favourite is neither a click nor a purchase
        columns={
            "user_id": "user",
            "event_time": "timestamp",
            "event_type": "behavior",
            "product_id": "item",
            "category_path": "category",
        },
        event_types={"pv": DETAIL_VIEW, "cart": ADD_TO_CART, "buy": PURCHASE, "fav": IGNORE},
        header=("user", "item", "category", "behavior", "timestamp"),
    ),
}
