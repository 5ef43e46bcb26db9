"""Click examples of one partition: labels and features joined, split, counted and written as TFRecords."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.category_similarity.similarity import SimilarityTable
from components.similarity_transform.attribution_views import (
    NO_VIEWS,
    AttributionSettings,
    credits_final,
)
from components.similarity_transform.example_bytes import examples_of
from components.similarity_transform.labels import (
    Clicks,
    Labels,
    LabelSettings,
    Touches,
    find_actions,
    find_clicks,
    find_touches,
    in_outage,
    label_rows,
    mature,
    within_train,
)
from components.similarity_transform.outages import Outage
from components.similarity_transform.timeline import Timeline
from models import features as names
from schemas.events import PURCHASE
from schemas.tfrecord import framed

TRAIN, HOLDOUT, EVAL = "train", "holdout", "eval"
ALPHA_BINS = 20
BATCH_ROWS = 8192
GZIP_LEVEL = 1


@dataclass(frozen=True)
class Observed:
    """What decides days, sessions and which label windows were seen to their end.

    Attributes:
        time_zone: where the store's days begin (IANA name).
        session_gap: inactivity that ends a session, microseconds.
        train_end, eval_end: first moment that the split's log does not hold, microseconds since the epoch,
            UTC.
        holdout_start: first moment of the held-out days, which end with training; None without any.
        outages: stretches without logged purchases (`find_outages`).
    """

    time_zone: str
    session_gap: int
    train_end: int
    eval_end: int
    holdout_start: int | None = None
    outages: tuple[Outage, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of click examples, in order of time."""
        return (TRAIN, EVAL) if self.holdout_start is None else (TRAIN, HOLDOUT, EVAL)

    def split_of(self, time: np.ndarray, in_eval: np.ndarray) -> dict[str, np.ndarray]:
        """Which of the moments or events belong to each split, [n] bool."""
        if self.holdout_start is None:
            return {TRAIN: ~in_eval, EVAL: in_eval}
        held = ~in_eval & (time >= self.holdout_start)
        return {TRAIN: ~in_eval & ~held, HOLDOUT: held, EVAL: in_eval}


@dataclass(frozen=True)
class Labelled:
    """The examples of a timeline with their purchases and label rows by split.

    Attributes:
        touches: all (example, purchase) pairs, the ones across the split boundary included.
        rows: label rows of mature examples outside outages, by split.
        immature: number of examples dropped because their label window was not over, by split.
        in_outage: number of further ones dropped because purchases were not logged in their window.
    """

    clicks: Clicks
    touches: Touches
    rows: dict[str, Labels]
    immature: dict[str, int]
    in_outage: dict[str, int]


def label_partition(
    events: Timeline,
    similarity: SimilarityTable,
    settings: LabelSettings,
    observed: Observed,
    attribution: AttributionSettings = NO_VIEWS,
) -> Labelled:
    """Labels of all examples of every split whose outcome is known."""
    clicks = find_clicks(events)
    touches = find_touches(events, clicks, settings.window)
    seen = within_train(events, clicks, touches)
    actions = find_actions(events, clicks, settings.window)
    ripe = mature(
        events, clicks, settings.window, observed.session_gap, observed.train_end, observed.eval_end
    ) & credits_final(events, clicks, attribution, observed.train_end, observed.eval_end)
    lost = np.zeros(len(ripe), bool)
    if settings.outages == "leave_out":
        lost = in_outage(events, clicks, settings.window, observed.outages)
    rows, immature, dropped = {}, {}, {}
    days = observed.split_of(events.time[clicks.anchor], events.in_eval[clicks.anchor])
    for split, mine in days.items():
        # Calibration is judged per click, so it is fitted per click.
        policy = settings.label_policy if split == TRAIN else "per_click"
        labels = label_rows(events, clicks, seen, actions, similarity, settings, policy)
        rows[split] = labels.where((mine & ripe & ~lost)[labels.example])
        immature[split] = int(np.sum(mine & ~ripe))
        dropped[split] = int(np.sum(mine & ripe & lost))
    return Labelled(clicks, touches, rows, immature, dropped)


def example_columns(
    features: dict[str, np.ndarray | pa.Array],
    labels: Labels,
    negative_alpha: float,
    credits: dict[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray | pa.Array]:
    """All columns of models/features.py for the given label rows.

    Args:
        features: column name -> values by example (`click_features`).
        labels: rows to write.
        negative_alpha: alpha of rows without a B.
        credits: column name -> values by example (`credit_columns`); NaN is an alpha without a B.
    """
    take = pa.array(labels.example)
    columns = {
        name: values[labels.example] if isinstance(values, np.ndarray) else values.take(take)
        for name, values in features.items()
    }
    columns[names.Y_CABA] = labels.y_caba
    columns[names.Y_CABB] = labels.y_cabb
    columns[names.Y_ANY] = np.maximum(labels.y_caba, labels.y_cabb)
    columns |= {name: getattr(labels, name) for name in (names.LAST_CLICK_CREDIT, *names.ACTIONS)}
    columns[names.ALPHA] = np.where(labels.y_cabb > 0, labels.alpha, np.float32(negative_alpha))
    columns[names.ROW_WEIGHT] = labels.row_weight
    for name, values in (credits or {}).items():
        columns[name] = np.nan_to_num(values[labels.example], nan=np.float32(negative_alpha))
    return columns


def record_batches(columns: dict[str, np.ndarray | pa.Array]) -> Iterator[pa.RecordBatch]:
    """Batches of at most BATCH_ROWS rows in the form that tf.Example encoding takes: every column a list."""
    listed = {name: _as_list(columns[name]) for name in sorted(columns)}
    n = len(next(iter(listed.values())))
    for start in range(0, n, BATCH_ROWS):
        yield pa.RecordBatch.from_arrays(
            [column.slice(start, BATCH_ROWS) for column in listed.values()], names=list(listed)
        )


def _as_list(values: np.ndarray | pa.Array) -> pa.ListArray:
    array = pa.array(values) if isinstance(values, np.ndarray) else values
    if pa.types.is_list(array.type):
        inner = array.values.cast(pa.binary())
        return pa.ListArray.from_arrays(array.offsets, inner)
    if pa.types.is_string(array.type) or pa.types.is_dictionary(array.type):
        array = array.cast(pa.string()).cast(pa.binary())
    return pa.ListArray.from_arrays(pa.array(np.arange(len(array) + 1, dtype=np.int32)), array)


def write_examples(columns: dict[str, np.ndarray | pa.Array], path: Path) -> None:
    """Writes one gzip TFRecord file of tf.Examples; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent.parent / f".{path.parent.name}-{path.name}.{os.getpid()}.tmp"
    gzip = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    with open(temporary, "wb") as file:
        for batch in record_batches(columns):
            file.write(gzip.compress(framed(examples_of(batch))))
        file.write(gzip.flush())
    os.replace(temporary, path)


def count_labels(
    events: Timeline, labelled: Labelled, credits: dict[str, np.ndarray], observed: Observed
) -> dict[str, dict[str, int | float | list[int]]]:
    """Counts of one partition by split; `sum_label_counts` adds them up."""
    counts = {}
    purchase = events.of_type(PURCHASE)
    held = np.unique(labelled.touches.purchase)
    for split, here in observed.split_of(events.time, events.in_eval).items():
        rows = labelled.rows[split]
        alpha = rows.alpha[rows.y_cabb > 0].astype(np.float64)
        counts[split] = {
            "clicks": len(np.unique(rows.example)),
            "rows": len(rows.example),
            "immature": labelled.immature[split],
            "in_outage": labelled.in_outage[split],
            names.Y_CABA: int(rows.y_caba.sum()),
            names.Y_CABB: int(rows.y_cabb.sum()),
            names.Y_ANY: int(np.maximum(rows.y_caba, rows.y_cabb).sum()),
            **{name: int(getattr(rows, name).sum()) for name in (names.LAST_CLICK_CREDIT, *names.ACTIONS)},
            "purchases": int((purchase & here).sum()),
            "purchases_after_a_click": int(here[held].sum()),
            "alpha_sum": float(alpha.sum()),
            "alpha_histogram": np.histogram(alpha, ALPHA_BINS, (0.0, 1.0))[0].tolist(),
            **{
                name: int(np.count_nonzero(values[rows.example]))
                for name, values in credits.items()
                if not name.startswith(names.ALPHA)
            },
        }
    return counts
