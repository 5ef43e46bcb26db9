"""Transformed click examples -> shuffled batches of (features, labels), from files or from arrays.

Rows travel in blocks: dicts of tensors [rows, ...] of many rows each. A block is parsed, kept, shuffled and
cut into batches as a whole, which costs a fraction of handling rows one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from models import features as names
from schemas.errors import InputError

Rows = tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]
"""(features, labels), [rows, ...]; labels hold weights and credits too."""

BLOCK_ROWS = 131_072
_PIECE_ROWS = 16_384
_KEPT_BYTES = 256 << 20
"""Files that are not larger than this together are read once and kept in memory (as arrays they are about
three times as large)."""


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
class TrainingRows:
    """Rows to train on.

    Attributes:
      blocks: dataset of Rows, the same on every pass.
      rows: how many there are.
      base_rate: mean of each label and credit under the rows' weights.
    """

    blocks: tf.data.Dataset
    rows: int
    base_rate: dict[str, float]

    @classmethod
    def of_files(cls, files: Sequence[str], spec: Mapping[str, tf.io.FixedLenFeature]) -> TrainingRows:
        """Gzip TFRecords of transformed examples with the features of `spec`.

        Raises:
          InputError: there are no rows, or a label or weight column is missing.
        """
        wanted = _label_names(spec)
        missing = [name for name in wanted if name not in spec]
        if missing:
            raise InputError(f"transformed examples lack {', '.join(missing)}: remake the click examples")
        blocks = _blocks(files, spec)
        if sum(tf.io.gfile.stat(path).length for path in files) <= _KEPT_BYTES:
            blocks = looked_at = blocks.cache()
        else:
            looked_at = _blocks(files, {name: spec[name] for name in wanted})
        rows, base_rate = _summary(looked_at)
        if not rows or not all(map(np.isfinite, base_rate.values())):
            raise InputError(f"no training rows with weight in {len(files)} files of transformed examples")
        return cls(blocks, rows, base_rate)

    @classmethod
    def of_arrays(cls, features: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> TrainingRows:
        """Arrays [rows, ...] by name, as models.preprocessing gives them."""
        blocks = tf.data.Dataset.from_tensors((dict(features), dict(labels)))
        return cls(blocks, *_summary(blocks))

    def batches(self, batch_size: int, epochs: int, seed: int, skip: int = 0) -> tf.data.Dataset:
        """Rows of every epoch in an order that `seed` decides, `batch_size` at a time; only the last batch of
        the last epoch is smaller.

        Rows are shuffled within blocks of BLOCK_ROWS. Files hold users in order of a hash, so their order
        carries no time.

        Args:
          skip: batches to leave out at the start, for a resumed training.
        """

        def epoch(number):
            return self.blocks.enumerate().flat_map(
                lambda block, rows: _shuffled(rows, seed=[seed * 1_000_003 + number, block])
            )

        dataset = tf.data.Dataset.range(epochs).flat_map(epoch).rebatch(batch_size)
        return dataset.skip(skip).prefetch(2)


def _shuffled(rows: Rows, seed: list[tf.Tensor]) -> tf.data.Dataset:
    """The rows of a block in a new order, a piece at a time: the block is never copied whole."""
    size = tf.shape(tf.nest.flatten(rows)[0])[0]
    order = tf.random.experimental.stateless_shuffle(tf.range(size), seed=seed)

    def piece(start):
        taken = order[start : start + _PIECE_ROWS]
        return tf.nest.map_structure(lambda column: tf.gather(column, taken), rows)

    return tf.data.Dataset.range(0, tf.cast(size, tf.int64), _PIECE_ROWS).map(piece)


def _blocks(files: Sequence[str], spec: Mapping[str, tf.io.FixedLenFeature]) -> tf.data.Dataset:
    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP", buffer_size=4 << 20)
    return records.batch(BLOCK_ROWS).map(lambda serialized: _parse(serialized, spec))


def _parse(serialized: tf.Tensor, spec: Mapping[str, tf.io.FixedLenFeature]) -> Rows:
    row = tf.io.parse_example(serialized, spec)
    labels = {name: row.pop(name) for name in _label_names(spec)}
    # Ids of the model's tables fit into 32 bits.
    ids = {name: tf.cast(value, tf.int32) for name, value in row.items() if value.dtype == tf.int64}
    return row | ids, labels


def _label_names(spec: Mapping[str, tf.io.FixedLenFeature]) -> tuple[str, ...]:
    return (*names.LABELS, *names.WEIGHTS, *filter(names.is_credit, spec))


def _summary(blocks: tf.data.Dataset) -> tuple[int, dict[str, float]]:
    """Number of rows, and the mean of every label and credit under their weights (NaN without weight)."""
    order = sorted(name for name in blocks.element_spec[1] if name not in names.WEIGHTS)

    def add(total, rows):
        labels = rows[1]
        weight = tf.cast(labels[names.ROW_WEIGHT], tf.float64)
        sums = [tf.reduce_sum(weight * tf.cast(labels[name], tf.float64)) for name in order]
        return total + tf.stack([tf.cast(tf.size(weight), tf.float64), tf.reduce_sum(weight), *sums])

    count, weight, *sums = blocks.reduce(tf.zeros([2 + len(order)], tf.float64), add).numpy()
    return int(count), {
        name: float(total / weight) if weight > 0 else float("nan")
        for name, total in zip(order, sums, strict=True)
    }
