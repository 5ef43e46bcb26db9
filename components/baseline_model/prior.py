"""A model that knows only the base rates: what the first candidate of a serving directory is compared
with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from models import features
from schemas.errors import InputError

BATCH_ROWS = 8192
SMALLEST_RATE = 1e-6
_CLICK = (features.USER_ID, features.SESSION_ID, features.ITEM)
"""What identifies a click example."""


class PriorModel(tf.Module):
    """Answers every click example with the same three probabilities, under the signature of a trained
    model."""

    def __init__(self, rates: Mapping[str, float]) -> None:
        """`rates`: probability of every served output, by output name."""
        super().__init__(name="prior")
        self._rates = {output: tf.constant(rates[output], tf.float32) for output in features.LABEL_OF_OUTPUT}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized tf.Examples [batch] -> output name to probability, [batch, 1]."""
        shape = tf.stack([tf.shape(examples)[0], 1])
        return {output: tf.fill(shape, rate) for output, rate in self._rates.items()}


def save_prior(rates: Mapping[str, float], folder: str) -> None:
    """Exports a `PriorModel` as a SavedModel with the signature `serving_default`."""
    model = PriorModel(rates)
    tf.saved_model.save(model, folder, signatures={"serving_default": model.serve})


def base_rates(files: Sequence[str], label_of_output: Mapping[str, str]) -> dict[str, float]:
    """Share of clicks with each served output's label, over gzip TFRecords of click examples.

    A label policy with several rows per click splits a click's labels over its rows; the click has a label
    when one of its rows has. Rates stay inside (0, 1).

    Args:
        files: shards; all rows of a click are in the same one.
        label_of_output: column of the label by served output.

    Raises:
        InputError: there is no example, or one without labels.
    """
    labels = tuple(label_of_output.values())
    columns = {
        **{label: tf.io.FixedLenFeature([], tf.float32) for label in labels},
        **{key: tf.io.FixedLenFeature([], tf.string) for key in _CLICK},
    }
    clicks, positive = 0, np.zeros(len(labels))
    for path in files:
        rows = tf.data.TFRecordDataset(path, compression_type="GZIP").batch(BATCH_ROWS)
        try:
            batches = [_keys_and_labels(tf.io.parse_example(each, columns), labels) for each in rows]
        except tf.errors.InvalidArgumentError as error:
            raise InputError(
                f"training examples lack one of {', '.join(columns)}: make them again ({path})"
            ) from error
        if not batches:
            continue
        keys, values = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        found, click = np.unique(keys, return_inverse=True)
        by_click = np.zeros((len(found), len(labels)))
        np.maximum.at(by_click, click, values)
        clicks += len(found)
        positive += by_click.sum(axis=0)
    if not clicks:
        raise InputError("the train split has no click example to take base rates from: widen its window")
    rates = np.clip(positive / clicks, SMALLEST_RATE, 1 - SMALLEST_RATE)
    return dict(zip(label_of_output, rates.tolist(), strict=True))


def _keys_and_labels(batch: Mapping[str, tf.Tensor], labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the click that each row belongs to, [n] int64, and the labels, [n, labels]."""
    key = tf.strings.join([batch[name] for name in _CLICK], separator="\x00")
    values = np.stack([batch[label].numpy() for label in labels], axis=1)
    return tf.strings.to_hash_bucket_fast(key, 2**62).numpy(), values
