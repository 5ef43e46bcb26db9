"""Transformed click examples -> batches of (features, labels), whole batches parsed at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from models import features as names
from schemas.errors import InputError

Batch = tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]


def expand(patterns: Sequence[str]) -> list[str]:
    """Files that match the patterns, sorted.

    Raises:
      InputError: none does.
    """
    files = sorted({path for pattern in patterns for path in tf.io.gfile.glob(pattern)})
    if not files:
        raise InputError(f"no transformed examples match {', '.join(patterns)}")
    return files


@dataclasses.dataclass(frozen=True)
class LabelSummary:
    """One look at the labels of a split: rows, and the mean of each label and credit under the rows'
    weights."""

    rows: int
    base_rate: dict[str, float]


def summarize_labels(files: Sequence[str], spec: dict[str, tf.io.FixedLenFeature]) -> LabelSummary:
    """Counts rows and averages labels by parsing the label columns alone.

    Raises:
      InputError: there are no rows, or a label or weight column is missing.
    """
    averaged = (*names.LABELS, *filter(names.is_credit, spec))
    wanted = (*averaged, *names.WEIGHTS)
    missing = [name for name in wanted if name not in spec]
    if missing:
        raise InputError(f"transformed examples lack {', '.join(missing)}: remake the click examples")
    label_spec = {name: spec[name] for name in wanted}
    dataset = tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(8192)

    def add(total, serialized):
        row = tf.io.parse_example(serialized, label_spec)
        weight = tf.cast(row[names.ROW_WEIGHT], tf.float64)
        sums = [tf.reduce_sum(weight * tf.cast(row[name], tf.float64)) for name in averaged]
        return total + tf.stack([tf.cast(tf.size(weight), tf.float64), tf.reduce_sum(weight), *sums])

    rows, weight, *sums = dataset.reduce(tf.zeros([2 + len(averaged)], tf.float64), add).numpy()
    if not rows or not weight > 0:
        raise InputError(f"no training rows with weight in {len(files)} files of transformed examples")
    rates = {name: float(total / weight) for name, total in zip(averaged, sums, strict=True)}
    return LabelSummary(int(rows), rates)


def training_batches(
    files: Sequence[str],
    spec: dict[str, tf.io.FixedLenFeature],
    *,
    batch_size: int,
    epochs: int,
    shuffle_rows: int,
    seed: int,
    skip_batches: int = 0,
) -> tf.data.Dataset:
    """Batches of shuffled rows; the same files, sizes and seed give the same batches in the same order.

    Args:
      shuffle_rows: rows of the shuffle buffer. Files hold users in order of a hash, so their order carries no
      time. skip_batches: batches to leave out at the start, for a resumed training.

    Returns:
      A dataset of (features, labels): dicts of tensors [batch, ...]; labels hold weights and credits too.
      Only the last batch of the last epoch is smaller.
    """
    dataset = tf.data.TFRecordDataset(list(files), compression_type="GZIP", buffer_size=4 << 20)
    dataset = dataset.shuffle(shuffle_rows, seed=seed, reshuffle_each_iteration=True).repeat(epochs)
    dataset = dataset.batch(batch_size).skip(skip_batches)
    dataset = dataset.map(
        lambda rows: parse(rows, spec), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


def parse(serialized: tf.Tensor, spec: dict[str, tf.io.FixedLenFeature]) -> Batch:
    """Serialised transformed examples [batch] -> (features, labels)."""
    row = tf.io.parse_example(serialized, spec)
    labels = {name: row.pop(name) for name in (*names.LABELS, *names.WEIGHTS, *filter(names.is_credit, spec))}
    return row, labels
