"""The input contract: which logs are read, what their columns and events mean, what a session row holds."""

from __future__ import annotations

from functools import cache
from typing import Literal
from zoneinfo import available_timezones

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from schemas.settings import Settings

IMPRESSION = "impression"
CLICK = "click"
DETAIL_VIEW = "detail_view"
ADD_TO_CART = "add_to_cart"
REMOVE_FROM_CART = "remove_from_cart"
CHECKOUT = "checkout"
PURCHASE = "purchase"
EVENT_TYPES = (IMPRESSION, CLICK, DETAIL_VIEW, ADD_TO_CART, REMOVE_FROM_CART, CHECKOUT, PURCHASE)
IGNORE = "ignore"
"""Target of event types that are counted as set aside and not looked at."""
ANY_OTHER = "*"
"""Key of `event_types` that stands for every name that is not listed."""

UNKNOWN = "__unknown__"
"""Category, brand, advertiser or context value of a row that has none."""
CATEGORY_JOINER = " > "
"""Between the levels of a normalised category path (column `leaf`)."""
CONTEXT_PREFIX = "context_"

REQUIRED_FIELDS = ("user_id", "event_time", "event_type", "product_id")
OPTIONAL_FIELDS = ("session_id", "price", "quantity", "revenue", "list_position")
CATALOG_FIELDS = ("category_path", "item_group_id", "brand", "advertiser")
"""Product facts: from the catalog, and from event rows where the catalog has none."""
EVENT_FIELDS = (*REQUIRED_FIELDS, *OPTIONAL_FIELDS, *CATALOG_FIELDS)

LogFormat = Literal["cabb", "ga4", "rees46", "retailrocket", "taobao"]

_CATEGORY = pa.dictionary(pa.int32(), pa.string())
SESSION_COLUMNS = pa.schema(
    [
        ("user_id", pa.string()),
        ("session_id", pa.string()),
        ("event_time", pa.timestamp("us", tz="UTC")),
        ("event_type", _CATEGORY),  # one of EVENT_TYPES
        ("is_click", pa.bool_()),  # counts as a click and is not the twin of one just before it
        ("product_id", _CATEGORY),
        ("item", _CATEGORY),  # item group, else product
        ("leaf", _CATEGORY),  # normalised category path, else UNKNOWN
        ("brand", _CATEGORY),
        ("advertiser", _CATEGORY),
        ("price", pa.float32()),  # the event's, else the catalog's, else null; in the log's currency
        ("quantity", pa.int32()),
        ("revenue", pa.float32()),
        ("list_position", pa.int32()),
    ]
)
"""Columns of a session row, one per kept event; context columns follow (`session_schema`)."""


def context_column(name: str) -> str:
    """Column of sessions and click examples that holds the context `name` of the log."""
    return CONTEXT_PREFIX + name


def session_schema(context_columns: list[str]) -> pa.Schema:
    """Arrow schema of session rows of a log with these context columns."""
    return pa.schema(
        [*SESSION_COLUMNS, *(pa.field(context_column(name), _CATEGORY) for name in context_columns)]
    )


class LogSource(Settings):
    """Where the logs are and how their columns and event types map onto the contract.

    Example: a log with names of its own.

    >>> source = LogSource(
    ...     events=["logs/*.csv.gz"], columns={"user_id": "visitor"}, event_types={"view": "detail_view"}
    ... )
    >>> source.columns["user_id"], source.time_zone
    ('visitor', 'UTC')
    """

    format: LogFormat = "cabb"
    """The shape of the export; all but `cabb` bring names of their own, which the mappings below override."""
    events: list[str] = Field(min_length=1)
    """Files, folders or globs: Parquet, CSV or JSON lines, gzip or plain, in any order."""
    catalog: str | None = None
    """One file of products: product_id and any of CATALOG_FIELDS and price."""
    columns: dict[str, str] = {}
    """Contract name -> column of the event files ("a.b" reaches into a nested column)."""
    catalog_columns: dict[str, str] = {}
    """Contract name -> column of the catalog."""
    event_types: dict[str, str] = {}
    """Name in the log -> one of EVENT_TYPES, or "ignore"; the name "*" stands for all others."""
    click_types: list[str] = [CLICK, DETAIL_VIEW]
    """Event types that count as a click on an item."""
    context_columns: list[str] = []
    """Further columns of the log that describe the visit (channel, device, country)."""
    category_separator: str | None = None
    """Between the levels of `category_path`; by default the format's own (">", but "." for `rees46`)."""
    time_zone: str = "UTC"
    """Where the store's days begin: an IANA name such as "America/Los_Angeles"."""
    session_gap_minutes: float = Field(30, gt=0, le=525_600)
    """Inactivity that ends a session, for rows without session_id."""
    duplicate_seconds: float = Field(2, ge=0, le=3600)
    """A purchase line or a click repeated within this time counts once."""
    max_rejected_share: float = Field(0.01, ge=0, le=1)
    """The run stops when a larger share of the rows cannot be used."""

    @field_validator("event_types")
    @classmethod
    def _known_targets(cls, event_types: dict[str, str]) -> dict[str, str]:
        for name, target in event_types.items():
            if target not in (*EVENT_TYPES, IGNORE):
                raise ValueError(
                    f"event type {name!r} is mapped to {target!r}; "
                    f"expected one of {_listed(*EVENT_TYPES, IGNORE)}"
                )
        return event_types

    @field_validator("click_types")
    @classmethod
    def _known_click_types(cls, click_types: list[str]) -> list[str]:
        unknown = [name for name in click_types if name not in EVENT_TYPES or name == IMPRESSION]
        if unknown or not click_types:
            raise ValueError(
                f"click_types is {click_types}; expected at least one of "
                f"{_listed(*(name for name in EVENT_TYPES if name != IMPRESSION))}"
            )
        return click_types

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, time_zone: str) -> str:
        if time_zone not in _time_zones():
            raise ValueError(
                f"unknown time zone {time_zone!r}; expected an IANA name such as 'Europe/Berlin'"
            )
        return time_zone

    @field_validator("category_separator")
    @classmethod
    def _visible_separator(cls, separator: str | None) -> str | None:
        if separator is not None and not separator.strip():
            raise ValueError("category_separator must have a visible character")
        return separator

    @model_validator(mode="after")
    def _known_columns(self) -> LogSource:
        _refuse_unknown("columns", self.columns, (*EVENT_FIELDS, *self.context_columns))
        _refuse_unknown("catalog_columns", self.catalog_columns, ("product_id", *CATALOG_FIELDS, "price"))
        taken = [name for name in self.context_columns if name in EVENT_FIELDS]
        if taken or len(set(self.context_columns)) < len(self.context_columns):
            raise ValueError(
                f"context_columns {self.context_columns} must be distinct "
                f"and none of {_listed(*EVENT_FIELDS)}"
            )
        return self

    @property
    def context_names(self) -> list[str]:
        """Columns that the context takes in sessions and click examples."""
        return [context_column(name) for name in self.context_columns]


@cache
def _time_zones() -> frozenset[str]:
    """IANA names; `localtime` and the like mean another zone on another machine."""
    return frozenset(name for name in available_timezones() if name == "UTC" or "/" in name)


def _refuse_unknown(setting: str, mapping: dict[str, str], known: tuple[str, ...]) -> None:
    unknown = [name for name in mapping if name not in known]
    if unknown:
        raise ValueError(f"{setting} names {_listed(*unknown)}; expected contract names: {_listed(*known)}")


def _listed(*names: str) -> str:
    return ", ".join(names)
