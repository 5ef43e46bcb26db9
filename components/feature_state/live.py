"""Features of clicks that have not happened yet, from a feature state that follows the events.

Nothing is computed twice: a user's kept events and the click that is asked about become one timeline, and the
functions that made the training features (`sessions.cleaned`, `click_features`, `Popularity`) are called on
it. An ingested event changes the daily counts by what `daily_counts` says of its user now, less what it said
before: counts do not depend on the order in which events come, nor on an event coming twice.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from components.feature_state.kept import DAILY_SCHEMA, count_by_day, kept_schema, newest, within_kept_days
from components.feature_state.store import ORDER, Store
from components.session_example_gen.formats import layout_of
from components.session_example_gen.sessions import ARRIVAL, cleaned, in_sessions, to_arrow, with_products
from components.similarity_transform.click_features import click_features
from components.similarity_transform.labels import find_clicks
from components.similarity_transform.popularity import COUNTED, KINDS, LONG_DAYS, Popularity, sum_counts
from components.similarity_transform.timeline import timeline
from models import features as names
from schemas.events import CATALOG_FIELDS, CLICK, UNKNOWN, context_column

_UTC = pl.Datetime("us", "UTC")
_OF_PRODUCT = ("price", "list_position", *CATALOG_FIELDS)


@dataclass(frozen=True)
class Ingested:
    """What became of events: `added`; `known` already; `late`, before all that is kept of a full user."""

    added: int
    known: int
    late: int


class LiveFeatures:
    """A feature state that answers and learns.

    Args:
        store: holds it.
    """

    def __init__(self, store: Store):
        self.store = store
        facts = store.facts()
        self.source, self._labels, self._max_events = facts.source, facts.labels, facts.max_events
        self._first_day = facts.first_day
        self._schema = kept_schema(self.source)
        self._separator = layout_of(self.source).category_separator

    def ingest(self, events: pl.DataFrame) -> Ingested:
        """Takes in events, in one step: all of them, or none if it fails.

        Args:
            events: checked contract rows with ARRIVAL, as `check_rows` makes them; any order.
        """
        if not events.height:
            return Ingested(0, 0, 0)
        users = events["user_id"].unique().sort().to_list()
        with self.store.writing():
            facts = self.store.facts()
            before = self.store.events(users)
            new = self._with_products(events).sort("event_time", ARRIVAL)
            new = new.with_columns(pl.int_range(pl.len()).add(facts.next_arrival).alias(ARRIVAL))
            new = new.select(pl.col(name).cast(kind) for name, kind in self._schema.items())
            in_time = new.join(self._beginnings(before), on="user_id", how="left").filter(
                pl.col("event_time") >= pl.col("begins").fill_null(pl.datetime(1, 1, 1, time_zone="UTC"))
            )
            late = new.height - in_time.height
            after = in_sessions(pl.concat([before, in_time.drop("begins")]).sort(ORDER), self.source)
            added = after.filter(pl.col(ARRIVAL) >= facts.next_arrival)
            kept = newest(after, self._max_events)
            dropped = after.join(kept.select(ORDER), on=list(ORDER), how="anti")
            self.store.write(
                added=added,
                dropped=dropped,
                daily=self._change(before, after, facts.last_us),
                facts=facts.model_copy(
                    update={
                        "last_us": max(facts.last_us, _microseconds(new["event_time"].max())),
                        "next_arrival": facts.next_arrival + new.height,
                    }
                ),
            )
        return Ingested(added.height, in_time.height - added.height, late)

    def features(self, requests: pl.DataFrame) -> dict[str, np.ndarray | pa.Array]:
        """The columns of models/features.py of clicks that may come, [requests] each, keys included.

        Args:
            requests: columns user_id, product_id and event_time; further ones of the input contract where
                they are known (price, list_position, session_id, context columns under their own names). A
                request without session_id goes on with the user's session unless `session_gap_minutes` have
                passed; without context it has that of the session's last event.

        Events after a request's event_time are not looked at.
        """
        asked = self._complete(requests)
        kept = self.store.events(asked["user_id"].unique().sort().to_list())
        asked = self._with_products(self._in_session(asked, kept))
        rows = self._replayed(asked, cleaned(kept, self.source))
        events = timeline(to_arrow(rows.drop("request"), self.source), None, self.source.time_zone)
        at = events.by_user.last(np.flatnonzero(np.diff(events.user, prepend=-1)))
        clicks = find_clicks(events)
        anchors = np.union1d(clicks.anchor, at)
        columns = click_features(
            events,
            dataclasses.replace(clicks, anchor=anchors),
            self._popularity(asked, int(events.day[at].min()) - LONG_DAYS),
            self.store.leaf_prices(asked["leaf"].unique().sort().to_list()),
        )
        place = np.searchsorted(anchors, at)
        found = {
            name: values[place] if isinstance(values, np.ndarray) else values.take(pa.array(place))
            for name, values in columns.items()
        }
        found[names.USER_ID] = asked["user_id"].to_arrow().cast(pa.string())
        return found

    def _with_products(self, events: pl.DataFrame) -> pl.DataFrame:
        products = self.store.products(events["product_id"].unique().sort().to_list())
        return with_products(events, products, self.source, self._separator)

    def _beginnings(self, kept: pl.DataFrame) -> pl.DataFrame:
        """First kept event of the users of whom events were forgotten, or will be next."""
        full = kept.group_by("user_id").agg(pl.len(), begins=pl.col("event_time").min())
        return full.filter(pl.col("len") >= self._max_events).drop("len")

    def _change(self, before: pl.DataFrame, after: pl.DataFrame, last_us: int) -> pl.DataFrame:
        """What the daily counts of some users change by."""
        less, more = (self._counts(events) for events in (before, after))
        less = less.with_columns(-pl.col(COUNTED))
        change = sum_counts([less, more]).filter(pl.any_horizontal(pl.col(COUNTED) != 0))
        return within_kept_days(change, last_us).cast(DAILY_SCHEMA)

    def _counts(self, kept: pl.DataFrame) -> pl.DataFrame:
        return count_by_day(to_arrow(cleaned(kept, self.source), self.source), self.source, self._labels)

    def _complete(self, requests: pl.DataFrame) -> pl.DataFrame:
        """Requests with every column of a contract row, null where it is not known."""
        known = {"session_id": pl.String, **dict.fromkeys(_OF_PRODUCT, pl.String)}
        known |= {"price": pl.Float32, "list_position": pl.Int32, "quantity": pl.Int32, "revenue": pl.Float32}
        known |= dict.fromkeys(self.source.context_names, pl.String)
        given = requests.rename(
            {name: context_column(name) for name in self.source.context_columns if name in requests.columns}
        )
        return given.select(
            pl.int_range(pl.len()).alias("request"),
            pl.col("user_id", "product_id").cast(pl.String),
            pl.col("event_time").cast(_UTC),
            pl.lit(CLICK).alias("event_type"),
            *(
                pl.col(name).cast(kind) if name in given.columns else pl.lit(None, kind).alias(name)
                for name, kind in known.items()
            ),
        )

    def _in_session(self, asked: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
        """Gives requests without a session, and without context, those of the user's last event."""
        context = self.source.context_names
        last = kept.select(
            "user_id",
            "event_time",
            pl.col("event_time").alias("last_time"),
            pl.col("session_id").alias("last_session"),
            *(pl.col(name).alias(f"last_{name}") for name in context),
        )
        asked = asked.sort("event_time", maintain_order=True).join_asof(
            last.sort("event_time", maintain_order=True),
            on="event_time",
            by="user_id",
            check_sortedness=False,
        )
        gap = pl.duration(microseconds=round(self.source.session_gap_minutes * 60e6))
        goes_on = (pl.col("event_time") - pl.col("last_time") <= gap).fill_null(False)
        own = pl.col("user_id") + "_" + pl.col("event_time").dt.epoch("s").cast(pl.String)
        session = pl.when(goes_on).then(pl.col("last_session")).otherwise(own)
        asked = asked.with_columns(pl.coalesce("session_id", session).alias("session_id"))
        same = pl.col("session_id") == pl.col("last_session")
        return asked.with_columns(
            pl.coalesce(name, pl.when(same).then(pl.col(f"last_{name}"))).alias(name) for name in context
        ).sort("request")

    def _replayed(self, asked: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
        """A user of its own per request: the events so far, then the click that is asked about."""
        copies = (
            asked.select("request", "user_id", asked_at="event_time")
            .join(sessions, on="user_id", maintain_order="left_right")
            .filter(pl.col("event_time") <= pl.col("asked_at"))
            .drop("asked_at")
        )
        clicks = asked.with_columns(pl.lit(True).alias("is_click")).select(copies.columns)
        rows = pl.concat([copies, clicks.cast(dict(copies.schema))]).sort("request", maintain_order=True)
        return rows.with_columns(pl.col("request").cast(pl.String).alias("user_id"))

    def _popularity(self, asked: pl.DataFrame, since: int) -> Popularity:
        wanted = {kind: asked[kind].unique().sort().drop_nulls().to_list() for kind in KINDS}
        wanted = {kind: [name for name in each if name != UNKNOWN] for kind, each in wanted.items()}
        return Popularity(self.store.daily(wanted, since), self._first_day)


def _microseconds(moment) -> int:
    return pl.Series([moment]).dt.epoch("us").item()
