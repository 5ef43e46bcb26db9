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
from models.feature_space import NUMERIC
from models.row_statistics import RowStatistics
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
      statistics: of all of them.
    """

    blocks: tf.data.Dataset
    statistics: RowStatistics

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.statistics.rows

    @classmethod
    def of_files(
        cls, files: Sequence[str], spec: Mapping[str, tf.io.FixedLenFeature], label: str
    ) -> TrainingRows:
        """Gzip TFRecords of transformed examples with the features of `spec`; ids bring rates of `label`.

        Raises:
          InputError: there are no rows, or a label, weight or fold is missing.
        """
        wanted = _label_names(spec)
        missing = [name for name in (*wanted, names.USER_FOLD) if name not in spec]
        if missing:
            raise InputError(
                f"transformed examples lack {', '.join(missing)}: remake the click examples, or name them "
                f"({names.USER_ID} for {names.USER_FOLD}) in the schema"
            )
        blocks = _blocks(files, spec)
        if sum(tf.io.gfile.stat(path).length for path in files) <= _KEPT_BYTES:
            blocks = looked_at = blocks.cache()
        else:
            counted = {name: each for name, each in spec.items() if name in wanted or _is_id(each)}
            looked_at = _blocks(files, counted)
        statistics = _statistics(blocks, looked_at, label)
        if not statistics.rows or not all(map(np.isfinite, statistics.base_rate.values())):
            raise InputError(f"no training rows with weight in {len(files)} files of transformed examples")
        return cls(blocks, statistics)

    @classmethod
    def of_arrays(
        cls, features: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], label: str
    ) -> TrainingRows:
        """Arrays [rows, ...] by name, as models.preprocessing gives them; ids bring rates of `label`."""
        blocks = tf.data.Dataset.from_tensors((dict(features), dict(labels)))
        return cls(blocks, _statistics(blocks, blocks, label))

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


def _is_id(spec: tf.io.FixedLenFeature) -> bool:
    return spec.dtype == tf.int64 and not spec.shape


def _statistics(blocks: tf.data.Dataset, counted: tf.data.Dataset, label: str) -> RowStatistics:
    """Of the rows of `counted`, which may hold fewer features than `blocks`; numbers are those of the first
    block, whose rows are of users in order of a hash."""
    found = RowStatistics.of(counted.as_numpy_iterator(), label)
    if not found.rows:
        return found
    features, _ = next(iter(blocks.take(1)))
    return dataclasses.replace(found, numbers=features[NUMERIC].numpy())
