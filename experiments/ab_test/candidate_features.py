"""Features of clicks that have not happened: every candidate of every visit, as of the moment it is shown.

Each candidate gets a timeline of its own, the user's events up to the moment and then one click on it, and
`click_features`, the code that made the training rows, reads its last row. All of it is arrays over users x
candidates.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from components.session_example_gen.contract_rows import check_rows
from components.session_example_gen.formats import layout_of
from components.session_example_gen.readers import ROW
from components.session_example_gen.sessions import ARRIVAL, to_arrow, to_sessions
from components.similarity_transform.click_examples_beam import list_parts
from components.similarity_transform.click_features import click_features
from components.similarity_transform.labels import LabelSettings, find_clicks, find_touches
from components.similarity_transform.popularity import Popularity, daily_counts, sum_counts
from components.similarity_transform.timeline import Timeline, read_timeline, timeline
from schemas.events import CLICK, UNKNOWN, LogSource

Columns = dict[str, np.ndarray | pa.Array]


def popularity_of(sessions: Path, labels: LabelSettings, source: LogSource) -> Popularity:
    """Daily counts of a run's sessions, as its own click examples saw them."""
    gap = round(source.session_gap_minutes * 60e6)
    counts = []
    for part in list_parts(sessions):
        events = read_timeline(Path(part.train), Path(part.evaluation), source.time_zone, with_features=False)
        clicks = find_clicks(events)
        touches = find_touches(events, clicks, labels.window)
        counts.append(daily_counts(events, clicks, touches, labels.window, gap, source.time_zone))
    return Popularity(sum_counts(counts))


def history(events: pl.DataFrame, catalog: pl.DataFrame, source: LogSource) -> pl.DataFrame:
    """Logged events as session rows, cleaned as a run cleans them; impressions are left out."""
    layout = layout_of(source)
    numbered = events.with_row_index(ROW).with_columns(pl.col(ROW).cast(pl.Int64))
    rows = check_rows(numbered, layout).events.rename({"row": ARRIVAL})
    return to_sessions(rows, catalog, source, layout.category_separator)


def shelf(products: list[str], catalog: pl.DataFrame) -> pl.DataFrame:
    """What a click on each product would log: product_id, item, leaf, brand, advertiser."""
    listed = pl.DataFrame({"product_id": products}).join(
        catalog, on="product_id", how="left", maintain_order="left"
    )
    return listed.with_columns(
        pl.coalesce("item_group_id", "product_id").alias("item"),
        pl.col("leaf", "brand", "advertiser").fill_null(UNKNOWN),
    ).select("product_id", "item", "leaf", "brand", "advertiser")


def candidate_features(
    past: pl.DataFrame,
    moments: pl.DataFrame,
    items: np.ndarray,
    prices: np.ndarray,
    products: pl.DataFrame,
    popularity: Popularity,
    leaf_prices: dict[str, float],
    source: LogSource,
) -> Columns:
    """Columns of models/features.py for every candidate, rows in (visit, candidate) order.

    Args:
        past: session rows of the users up to their moments (`history`), one visit per user.
        moments: user_id, session_id, event_time and the context columns of each visit.
        items: rows of `products`, [visits, candidates]; none was clicked in the visit's session.
        prices: what they cost then, [visits, candidates].
        products: as `shelf` gives them.
        popularity, leaf_prices: as of the run.
        source: time zone, session gap and context columns.
    """
    visits, count = items.shape
    clicks = pl.concat(
        [moments[np.repeat(np.arange(visits), count)], products[items.ravel()]], how="horizontal"
    )
    clicks = clicks.with_columns(
        pl.Series("price", prices.ravel(), pl.Float32),
        pl.lit(CLICK).alias("event_type"),
        pl.lit(True).alias("is_click"),
        pl.lit(0, pl.Int32).alias("list_position"),
        pl.lit(None, pl.Int32).alias("quantity"),
        pl.lit(None, pl.Float32).alias("revenue"),
    ).select(past.columns)
    # Users in the order of their visits; a user's candidates follow the past, in order.
    order = moments.select("user_id", visit=pl.int_range(pl.len()))
    rows = pl.concat([past, clicks.cast(past.schema)]).join(
        order, on="user_id", how="inner", maintain_order="left"
    )
    rows = rows.sort("visit", maintain_order=True)
    events = timeline(None, to_arrow(rows.drop("visit"), source), source.time_zone)
    known = np.bincount(rows["visit"].to_numpy(), minlength=visits) - count
    first = np.cumsum(known + count) - (known + count)
    # Rows of the timeline of candidate c of visit v: the past of v, then the c-th click after it.
    length = np.repeat(known + 1, count)
    pair = np.repeat(np.arange(visits * count), length)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(length) - length, length)
    visit, candidate = np.divmod(pair, count)
    row = first[visit] + np.where(place < known[visit], place, known[visit] + candidate)
    expanded = _taken(events, row, pair)
    found = find_clicks(expanded)
    columns = click_features(expanded, found, popularity, leaf_prices)
    last = np.cumsum(length) - 1
    wanted = np.searchsorted(found.anchor, last)
    if not np.array_equal(found.anchor[wanted], last):
        raise ValueError("a candidate was clicked before in the visit's session")
    return {
        name: values[wanted] if isinstance(values, np.ndarray) else values.take(pa.array(wanted))
        for name, values in columns.items()
    }


def _taken(events: Timeline, row: np.ndarray, user: np.ndarray) -> Timeline:
    """Some rows of a timeline as a timeline of other users; sessions stay apart between them."""
    session = user.astype(np.int64) * (int(events.session.max()) + 1) + events.session[row]
    columns = {name: values[row] for name, values in vars(events).items() if isinstance(values, np.ndarray)}
    columns |= {"user": user, "session": np.unique(session, return_inverse=True)[1]}
    return replace(
        events,
        **columns,
        names={**events.names, "user_id": events.strings("user_id", row[np.diff(user, prepend=-1) > 0])},
        columns={name: column.take(pa.array(row)) for name, column in events.columns.items()},
    )
