"""Journeys out of sessions: what the attribution model learns from, and the purchases that it credits.

A journey ends with a purchase, or with the last click of a session without one; its touches are those of
touch_paths.py, so a journey reaches back over the user's earlier sessions and may hold touches of one that
did not convert. A session counts once: its purchases share its weight.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.attribution_model.journeys import Journeys
from components.category_similarity.similarity import SimilarityTable
from components.similarity_transform.labels import HOUR, Clicks, find_clicks, relatedness
from components.similarity_transform.timeline import Timeline
from components.similarity_transform.touch_paths import TouchPaths, TouchSettings, find_paths
from models.metrics.sums import user_group
from schemas.events import PURCHASE, UNKNOWN, context_column


def training_journeys(
    events: Timeline,
    similarity: SimilarityTable,
    settings: TouchSettings,
    channel: str,
    session_gap: int,
    end: int,
) -> Journeys:
    """The journeys of a timeline that holds the training split only.

    Args:
        channel: see `journeys_of`.
        session_gap: inactivity that ends a session, microseconds.
        end: first moment that the split does not hold; sessions not silent for the gap by then are left out.
    """
    clicks = find_clicks(events)
    purchases = events.of_type(PURCHASE)
    n_sessions = int(events.session.max(initial=-1)) + 1
    bought = np.bincount(events.session[purchases], minlength=n_sessions) > 0
    last_click = np.full(n_sessions, -1)
    last_click[events.session[clicks.click]] = clicks.click
    last = np.zeros(n_sessions, np.int64)
    last[events.session] = np.arange(len(events))
    ripe = events.time[last] + session_gap <= end if len(events) else np.zeros(0, bool)
    silent = last_click[ripe & ~bought & (last_click >= 0)]
    ends = np.sort(np.concatenate([np.flatnonzero(purchases & ripe[events.session]), silent]))
    paths = find_paths(events, clicks, ends, similarity, settings)
    return journeys_of(events, clicks, paths, similarity, channel)


def journeys_of(
    events: Timeline, clicks: Clicks, paths: TouchPaths, similarity: SimilarityTable, channel: str
) -> Journeys:
    """Paths as journeys; those that end with a purchase converted.

    Args:
        channel: "advertiser", "leaf", or the name of a context column; without that column all touches are of
            one unknown channel.
    """
    row = clicks.click[paths.touch]
    last = row[paths.start + paths.size - 1][paths.path]
    channels, codes = _channel(events, row, channel)
    user = pa.array(events.user[paths.end])
    return Journeys(
        size=paths.size,
        converted=events.of_type(PURCHASE)[paths.end],
        weight=1.0 / np.bincount(events.session[paths.end], minlength=1)[events.session[paths.end]],
        user_group=user_group(np.array(events.names["user_id"].take(user).to_pylist() or [""]))[
            : len(paths.end)
        ],
        channel=codes,
        channels=channels,
        seller=events.advertiser[row],
        sellers=tuple(events.names["advertiser"].to_pylist()),
        gap_h=((events.time[last] - events.time[row]) / HOUR).astype(np.float32),
        late=(events.session[row] == events.session[last]).astype(np.float32),
        relation=relatedness(events, row, last, similarity),
        same=(events.item[row] == events.item[last]).astype(np.float32),
    )


def _channel(events: Timeline, row: np.ndarray, channel: str) -> tuple[tuple[str, ...], np.ndarray]:
    """(names, code of each row)."""
    if channel in ("advertiser", "leaf"):
        return tuple(events.names[channel].to_pylist()), getattr(events, channel)[row]
    column = events.columns.get(context_column(channel))
    if column is None:
        return (UNKNOWN,), np.zeros(len(row), np.int64)
    coded = column.take(pa.array(row)).dictionary_encode()
    return tuple(coded.dictionary.to_pylist()), coded.indices.to_numpy(zero_copy_only=False)
