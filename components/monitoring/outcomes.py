"""What became of scored clicks: each click finds its last score, and the days are judged apart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from components.session_example_gen.sessions import to_arrow
from components.similarity_transform.labels import HOUR, LabelSettings, find_clicks, find_touches
from components.similarity_transform.timeline import timeline
from models import features as names
from models.metrics import sums
from schemas.events import LogSource

KEYS = (names.USER_ID, names.ITEM, names.EVENT_TIME)


def clicks_with_outcomes(sessions: pl.DataFrame, source: LogSource, labels: LabelSettings) -> pl.DataFrame:
    """Clicks whose label window is over by the last event: KEYS, day, and y_caba, y_cabb, y_any.

    Args:
        sessions: session rows, sorted by (user_id, event_time, arrival).
    """
    events = timeline(to_arrow(sessions, source), None, source.time_zone)
    clicks = find_clicks(events)
    touches = find_touches(events, clicks, labels.window)
    same = events.item[touches.purchase] == events.item[clicks.anchor[touches.example]]
    m = len(clicks.anchor)
    caba, cabb = (np.bincount(touches.example[chosen], minlength=m) > 0 for chosen in (same, ~same))
    if labels.window == "session":
        gap = round(source.session_gap_minutes * 60e6)
        closes = events.time[events.by_session.last(clicks.anchor)] + gap
    else:
        closes = events.time[clicks.anchor] + int(labels.window.hours * HOUR)
    found = pl.DataFrame(
        {
            names.USER_ID: pl.from_arrow(events.strings("user_id", clicks.anchor).cast(pa.string())),
            names.ITEM: pl.from_arrow(events.strings("item", clicks.anchor).cast(pa.string())),
            names.EVENT_TIME: events.time[clicks.anchor],
            "day": pl.Series(events.day[clicks.anchor].astype(np.int32)).cast(pl.Date),
            names.Y_CABA: caba.astype(np.float64),
            names.Y_CABB: cabb.astype(np.float64),
            names.Y_ANY: (caba | cabb).astype(np.float64),
        }
    )
    return found.filter(pl.Series(closes <= events.time.max()))


def with_scores(clicks: pl.DataFrame, scored: pl.DataFrame, within: timedelta) -> pl.DataFrame:
    """Clicks that were scored: each with the last score of its user and item, at most `within` before it.

    Args:
        clicks: as `clicks_with_outcomes` makes them.
        scored: KEYS and the outputs, a row per score.
    """
    scored = scored.drop_nulls(list(KEYS)).sort(names.EVENT_TIME)
    return (
        clicks.sort(names.EVENT_TIME)
        .join_asof(
            scored,
            on=names.EVENT_TIME,
            by=[names.USER_ID, names.ITEM],
            tolerance=round(within.total_seconds() * 1e6),
            check_sortedness=False,
        )
        .drop_nulls(list(names.LABEL_OF_OUTPUT))
    )


def judged(clicks: pl.DataFrame, label_of_output: Mapping[str, str]) -> list[dict[str, Any]]:
    """NE, calibration and base rate of each output by day, and of all days (`day` is None).

    Args:
        clicks: as `with_scores` makes them.
        label_of_output: what each output is judged against; one whose label is not here is left out.
    """
    rows = []
    days: list[tuple[Any, pl.DataFrame]] = [(None, clicks)]
    days += [(day, part) for (day,), part in sorted(clicks.partition_by("day", as_dict=True).items())]
    for day, part in days:
        for output, label in label_of_output.items():
            if label not in part.columns:
                continue
            total = sums.binary_sums(part[label].to_numpy(), part[output].to_numpy())
            rows.append(
                {
                    "day": day,
                    "output": output,
                    "clicks": part.height,
                    "base_rate": sums.base_rate(total),
                    "ne": sums.normalized_entropy(total),
                    "calibration": sums.calibration(total),
                }
            )
    return rows
