"""One click of a run: what was known at it, what was bought after it, how its weight came about."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from components.category_similarity.similarity import SimilarityTable
from components.similarity_transform.labels import (
    LabelSettings,
    find_clicks,
    find_touches,
    relatedness,
    within_train,
)
from components.similarity_transform.timeline import SECOND, Timeline, timeline
from models import features as names
from models.feature_groups import GROUPS, members
from schemas.errors import InputError
from schemas.events import CATEGORY_JOINER, UNKNOWN

NAMED_AT_MOST = 3
"""Clicks that an error names when a question fits several."""


@dataclass(frozen=True)
class Bought:
    """An item bought within the click's window.

    Attributes:
        after_s: seconds from the click.
        same_item: it is the clicked item group.
        relatedness: S of clicked and bought; `how` says what it rests on.
        users_a, users_b, both: who engaged with the clicked leaf (or item), the bought one, and both; `both`
            is None for items.
    """

    item: str
    leaf: str
    after_s: float
    same_item: bool
    relatedness: float
    how: str
    users_a: int
    users_b: int
    both: int | None


@dataclass(frozen=True)
class Click:
    """A click example found in the sessions of a run."""

    user: str
    session: str
    item: str
    leaf: str
    time_us: int
    split: str
    shard: str
    bought: list[Bought]


def find_click(
    sessions: Path,
    similarity: SimilarityTable,
    labels: LabelSettings,
    time_zone: str,
    user: str,
    session: str | None = None,
    item: str | None = None,
) -> Click:
    """The one click example that a user, with session and item where needed, names.

    Raises:
        InputError: there is no such click, or several.
    """
    events, shard = _events_of(sessions, user, time_zone)
    clicks = find_clicks(events)
    found = clicks.anchor
    for name, wanted in (("session_id", session), ("item", item)):
        if wanted is not None:
            found = found[np.array(events.strings(name, found).to_pylist(), object) == wanted]
    if len(found) != 1:
        raise InputError(_which(events, found, user, session, item))
    anchor = int(found[0])
    return Click(
        user=user,
        session=events.strings("session_id", found)[0].as_py(),
        item=events.strings("item", found)[0].as_py(),
        leaf=events.strings("leaf", found)[0].as_py(),
        time_us=int(events.time[anchor]),
        split="eval" if events.in_eval[anchor] else "train",
        shard=shard,
        bought=_bought(events, anchor, similarity, labels),
    )


def example_of(examples: Path, click: Click) -> bytes:
    """The click's tf.Example; with a row for each purchase, its first.

    Raises:
        InputError: the run made no example of the click.
    """
    keys = [click.user.encode(), click.session.encode(), click.item.encode()]
    for path in sorted(examples.glob(f"Split-*/{click.shard}")):
        for record in _records(path):
            if all(key in record for key in keys):
                row = values_of(record)
                if [row[n][0] for n in (names.USER_ID, names.SESSION_ID, names.ITEM)] == keys:
                    return record
    raise InputError(
        "the run made no example of this click: its label window was not over when its split ended, or it is "
        "outside the split's days"
    )


def numbered_click(examples: Path, row: int) -> tuple[str, str, str]:
    """(user, session, item) of an evaluation example by its number, 0 the first, shards by name.

    Raises:
        InputError: there are fewer.
    """
    number = 0
    for path in sorted(examples.glob("Split-eval/*.gz")):
        for record in _records(path):
            if number == row:
                found = values_of(record)
                return tuple(found[n][0].decode() for n in (names.USER_ID, names.SESSION_ID, names.ITEM))
            number += 1
    raise InputError(f"no row {row}: the run has {number:,} evaluation clicks, numbered from 0")


def values_of(record: bytes) -> dict[str, list[Any]]:
    """Column -> values of a tf.Example."""
    from tensorflow.core.example.example_pb2 import Example

    features = Example.FromString(record).features.feature
    return {
        name: list(getattr(value, value.WhichOneof("kind") or "bytes_list").value)
        for name, value in features.items()
    }


def telling_features(row: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """Group -> feature -> value, without what is zero, empty, unknown or has not happened."""
    inputs = [name for name in row if names.is_context(name)] + [
        n for g in GROUPS.values() for n in g if n in row
    ]
    told: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        for name in members(group, dict.fromkeys(inputs)):
            value = _value(name, row[name])
            if value not in (None, "", UNKNOWN, 0, names.NEVER) or name in names.CALENDAR:
                told.setdefault(group, {})[name] = value
    return told


def _value(name: str, values: list[Any]) -> Any:
    values = [each.decode() if isinstance(each, bytes) else each for each in values]
    if name in names.SEQUENCES:
        values = [each.split(CATEGORY_JOINER)[-1] for each in values]
        return ", ".join(values[:5]) + (f" and {len(values) - 5} more" if len(values) > 5 else "")
    return values[0] if values else None


def _events_of(sessions: Path, user: str, time_zone: str) -> tuple[Timeline, str]:
    """All rows of one user, and the name of the shard of their examples."""
    parts = sorted({path.name for path in sessions.glob("Split-*/part-*.parquet")})
    if not parts:
        raise InputError(f"{sessions}: the run's sessions are gone; run `cabb run` again")
    for part in parts:
        train, evaluation = (
            pq.read_table(sessions / split / part, filters=[("user_id", "=", user)])
            for split in ("Split-train", "Split-eval")
        )
        if len(train) + len(evaluation):
            shard = f"click_examples-{part.removeprefix('part-').removesuffix('.parquet')}.gz"
            return timeline(train, evaluation, time_zone), shard
    raise InputError(f"no user {user!r} in the run's sessions; --row 0 shows a click that there is")


def _bought(
    events: Timeline, anchor: int, similarity: SimilarityTable, labels: LabelSettings
) -> list[Bought]:
    clicks = find_clicks(events)
    touches = within_train(events, clicks, find_touches(events, clicks, labels.window))
    rows = touches.purchase[clicks.anchor[touches.example] == anchor]
    _, last = np.unique(events.item[rows][::-1], return_index=True)
    rows = np.sort(rows[::-1][last])
    clicked = np.full(len(rows), anchor)
    s = relatedness(events, clicked, rows, similarity)
    leaves, items = events.strings("leaf", rows).to_pylist(), events.strings("item", rows).to_pylist()
    leaf, item = (events.strings(key, np.array([anchor]))[0].as_py() for key in ("leaf", "item"))
    return [
        Bought(
            item=items[k],
            leaf=leaves[k],
            after_s=float(events.time[row] - events.time[anchor]) / SECOND,
            same_item=items[k] == item,
            relatedness=float(s[k]),
            **_why(similarity, leaf, leaves[k], item, items[k]),
        )
        for k, row in enumerate(rows)
    ]


def _why(similarity: SimilarityTable, leaf_a: str, leaf_b: str, item_a: str, item_b: str) -> dict[str, Any]:
    support = similarity.support(leaf_a, leaf_b)
    known = {"users_a": support.a, "users_b": support.b, "both": support.both}
    if similarity.items is not None:
        by_item = similarity.items.support(item_a, item_b)
        if by_item:
            return {
                "how": "item embeddings",
                "users_a": by_item[0],
                "users_b": by_item[1],
                "both": None,
            }
    if similarity.otherwise == 1:
        return {"how": "static scheme", **known}
    if UNKNOWN in (leaf_a, leaf_b):
        return {"how": "no category", **known}
    if leaf_a == leaf_b:
        return {"how": "same category", **known}
    settings = similarity.settings
    how = {"semantic": "meaning of the paths", "blend": "meaning and co-engagement"}
    left_out = ", this user left out" if similarity.sums is not None else ""
    return {"how": how.get(settings.scheme, "co-engagement") + left_out, **known}


def _which(events: Timeline, found: np.ndarray, user: str, session: str | None, item: str | None) -> str:
    asked = (
        f"user {user!r}"
        + (f", session {session!r}" if session else "")
        + (f", item {item!r}" if item else "")
    )
    if not len(found):
        return f"no click of {asked}; leave out --session or --item to see what there is"
    sessions, items = (events.strings(name, found).to_pylist() for name in ("session_id", "item"))
    named = [f"--session {s} --item {i}" for s, i in zip(sessions, items, strict=True)]
    more = f" and {len(named) - NAMED_AT_MOST} more" if len(named) > NAMED_AT_MOST else ""
    return f"{len(named)} clicks of {asked}; choose with {'; '.join(named[:NAMED_AT_MOST])}{more}"


def _records(path: Path) -> Iterator[bytes]:
    """Records of a gzip TFRecord file: length (8 bytes), its checksum (4), data, its checksum (4)."""
    with gzip.open(path) as file:
        while header := file.read(12):
            yield file.read(struct.unpack("<Q", header[:8])[0])
            file.read(4)
