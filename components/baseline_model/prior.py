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


def base_rates(files: Sequence[str]) -> dict[str, float]:
    """Mean label of every served output over gzip TFRecords of click examples, weighted by `row_weight`.

    The row weight undoes a label policy with several rows per click. Rates stay inside (0, 1).

    Raises:
        InputError: there is no example, or one without labels.
    """
    labels = tuple(features.LABEL_OF_OUTPUT.values())
    columns = {label: tf.io.FixedLenFeature([], tf.float32) for label in labels}
    columns[features.ROW_WEIGHT] = tf.io.FixedLenFeature([], tf.float32, default_value=1.0)
    rows = tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(BATCH_ROWS)
    total, positive = 0.0, np.zeros(len(labels))
    try:
        for batch in rows.map(lambda serialized: tf.io.parse_example(serialized, columns)):
            weight = batch[features.ROW_WEIGHT].numpy().astype(np.float64)
            total += weight.sum()
            positive += [(weight * batch[label].numpy()).sum() for label in labels]
    except tf.errors.InvalidArgumentError as error:
        raise InputError(
            f"training examples lack one of the labels {', '.join(labels)}: make them again ({files[0]})"
        ) from error
    if total <= 0:
        raise InputError("the train split has no click example to take base rates from: widen its window")
    rates = np.clip(positive / total, SMALLEST_RATE, 1 - SMALLEST_RATE)
    return dict(zip(features.LABEL_OF_OUTPUT, rates.tolist(), strict=True))
