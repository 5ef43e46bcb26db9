"""Credited touches of a store's sessions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from components.attribution_model.mta import Mta
from components.attribution_model.session_journeys import journeys_of
from components.category_similarity.similarity import SimilarityTable
from components.similarity_transform.attribution_views import (
    AttributionSettings,
    credit_columns,
    credits_final,
    path_credits,
)
from components.similarity_transform.click_examples_beam import last_event, list_parts
from components.similarity_transform.labels import find_clicks
from components.similarity_transform.timeline import Timeline, read_timeline
from components.similarity_transform.touch_paths import purchase_paths
from experiments.attribution.credited import Credited, position_names
from models import features as names
from models.metrics.sums import user_group

DIMENSIONS = ("position", "channel", "category", "relation")
RELATIONS = ("the item bought", "its category", "another category")


def credited_store(
    sessions: Path,
    similarity: SimilarityTable,
    settings: AttributionSettings,
    mta: Mta | None,
    source: str,
    truth: Path | None = None,
) -> Credited:
    """Credits of all purchases of a Sessions artifact, both splits alike.

    Args:
        settings: `views` names the views.
        truth: folder of a simulated store's truth, whose `uplift` is joined to the touches.
    """
    parts = list_parts(sessions)
    end = max(last_event(path) for part in parts for path in part[1:])
    uplift = pl.scan_parquet(truth / "clicks-*.parquet").select(*_KEYS, "uplift").collect() if truth else None
    touches, clicks = [], []
    for number, part in enumerate(parts):
        events = read_timeline(Path(part.train), Path(part.evaluation), "UTC")
        events = replace(events, in_eval=np.zeros(len(events), bool))
        own_touches, own_clicks = _credited(events, similarity, settings, mta, end, uplift)
        touches.append(own_touches.with_columns(path=pl.col("path") + number * _PATHS))
        clicks.append(own_clicks)
    return Credited(
        views=tuple(settings.views or ()),
        dimensions=DIMENSIONS,
        touches=pl.concat(touches),
        clicks=pl.concat(clicks),
        source=source,
        mta={} if mta is None else {"method": mta.settings.method, **mta.meta},
    )


_KEYS = ("user_id", "session_id", "item")
_PATHS = 1 << 40
"""More paths than a partition holds."""


def _credited(
    events: Timeline,
    similarity: SimilarityTable,
    settings: AttributionSettings,
    mta: Mta | None,
    end: int,
    uplift: pl.DataFrame | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    clicks = find_clicks(events)
    paths = purchase_paths(events, clicks, similarity, settings)
    journeys = journeys_of(events, clicks, paths, similarity, settings.mta.channel)
    example = clicks.example[paths.touch]
    row, bought = clicks.click[paths.touch], paths.end[paths.path]
    same_leaf = np.where(events.leaf[row] == events.leaf[bought], 1, 2)
    relation = np.where(events.item[row] == events.item[bought], 0, same_leaf)
    touches = pl.DataFrame(
        {
            "path": paths.path,
            "click": example,
            "user_group": journeys.user_group[paths.path],
            "position": position_names(paths),
            "channel": np.array(journeys.channels, object)[journeys.channel],
            "category": [leaf.split(" > ")[0] for leaf in events.strings("leaf", row).to_pylist()],
            "relation": np.array(RELATIONS, object)[relation],
            **path_credits(events, clicks, paths, similarity, settings, mta),
        },
        schema_overrides=dict.fromkeys(DIMENSIONS, pl.String),
    )
    if uplift is not None:
        keys = pl.DataFrame({key: pl.from_arrow(events.strings(key, clicks.anchor)) for key in _KEYS})
        known = keys.cast(pl.String).join(uplift, on=list(_KEYS), how="left", maintain_order="left")["uplift"]
        touches = touches.with_columns(uplift=known.gather(example))
    final = credits_final(events, clicks, settings, end, end)
    users = events.strings("user_id", clicks.anchor[final]).to_pylist()
    columns = credit_columns(events, clicks, similarity, settings, mta)
    return touches, pl.DataFrame(
        {
            "user_group": user_group(np.array(users or [""]))[: len(users)],
            **{view: columns[names.credit(view)][final] for view in settings.views or ()},
        }
    )
