"""Tiny SavedModels with the signature of a trained model, whose answers are known."""

from __future__ import annotations

import tensorflow as tf

from models import features as f


class ReadsOneColumn(tf.Module):
    """p = sigmoid(slope * signal + offset of the output), signal being the column `price_to_leaf`."""

    def __init__(self, slope: float, offsets: dict[str, float]):
        super().__init__()
        self._slope = slope
        self._offsets = offsets

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        """Serialized examples -> output name to probability, [batch, 1]."""
        row = tf.io.parse_example(examples, {"price_to_leaf": tf.io.FixedLenFeature([1], tf.float32)})
        return {
            output: tf.sigmoid(self._slope * row["price_to_leaf"] + offset)
            for output, offset in self._offsets.items()
        }


def save_model(
    folder: str, slope: float, offset: float = 0.0, offsets: dict[str, float] | None = None
) -> None:
    """Exports a `ReadsOneColumn`; a slope of NaN makes it answer NaN."""
    model = ReadsOneColumn(slope, dict.fromkeys(f.LABEL_OF_OUTPUT, offset) | (offsets or {}))
    tf.saved_model.save(model, folder, signatures={"serving_default": model.serve})
