"""The feature state as a folder: what the pipeline emits and a pushed version carries.

    facts.json           what the state was made from and how: log format, label window, last event
    products.parquet     the catalog
    leaf_prices.parquet  mean catalog price by leaf
    daily.parquet        counts of items, leaves and advertisers by day
    events/part-*.parquet  the newest events of every user

It is as of the last event of the logs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from components.session_example_gen.catalog import CATALOG_SCHEMA
from components.similarity_transform.labels import LabelSettings
from schemas.errors import InputError
from schemas.events import LogSource
from schemas.settings import Settings

FACTS_FILE = "facts.json"
EVENTS_DIR = "events"


class Facts(Settings):
    """What a feature state was made from; times are microseconds since the epoch, UTC."""

    source: LogSource
    """How logs are read; its files are those of the run."""
    labels: LabelSettings
    max_events: int
    store: str
    """Where the live copy is kept (`FeatureStateSettings.store`)."""
    first_day: int
    """First day of the logs, days since the epoch in the store's time zone."""
    last_us: int
    """Time of the last event."""
    next_arrival: int
    """Above the ARRIVAL of every kept event."""


@dataclass(frozen=True)
class Snapshot:
    """A feature state on disk."""

    home: Path

    @property
    def facts(self) -> Facts:
        """What it was made from.

        Raises:
            InputError: the folder holds no readable feature state.
        """
        path = self.home / FACTS_FILE
        try:
            return Facts.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            said = str(error).splitlines()[0]
            raise InputError(
                f"{path}: no feature state that this version of cabb can read ({said})"
            ) from None

    @property
    def products(self) -> pl.DataFrame:
        """The catalog (CATALOG_SCHEMA)."""
        return pl.read_parquet(self.home / "products.parquet")

    @property
    def leaf_prices(self) -> pl.DataFrame:
        """Columns leaf and price."""
        return pl.read_parquet(self.home / "leaf_prices.parquet")

    @property
    def daily(self) -> pl.DataFrame:
        """Counts by kind, name and day (DAILY_SCHEMA)."""
        return pl.read_parquet(self.home / "daily.parquet")

    def events(self) -> Iterator[pl.DataFrame]:
        """Kept events (`kept_schema`), users whole."""
        for path in sorted((self.home / EVENTS_DIR).glob("*.parquet")):
            yield pl.read_parquet(path)

    def write(
        self, facts: Facts, products: pl.DataFrame, leaf_prices: dict[str, float], daily: pl.DataFrame
    ) -> None:
        """Completes a folder that holds its events already; facts.json comes last."""
        products.select(*CATALOG_SCHEMA).write_parquet(self.home / "products.parquet")
        prices = pl.DataFrame(
            list(leaf_prices.items()), {"leaf": pl.String, "price": pl.Float64}, orient="row"
        )
        prices.write_parquet(self.home / "leaf_prices.parquet")
        daily.write_parquet(self.home / "daily.parquet")
        text = json.dumps(facts.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
        (self.home / FACTS_FILE).write_text(text, encoding="utf-8")
