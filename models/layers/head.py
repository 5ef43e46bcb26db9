"""The end of a task: hidden layers and one logit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras

from models.layers.mlp import MLP


@tf_keras.utils.register_keras_serializable("cabb")
class Head(tf_keras.layers.Layer):
    """[batch, n] -> logit [batch], starting at the logit of `base_rate` for every row.

    Args:
      units: hidden layers.
      base_rate: mean of the label in training.
    """

    def __init__(self, units: tuple[int, ...] = (32,), base_rate: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.units, self.base_rate = tuple(units), float(base_rate)
        self._hidden = MLP(self.units, name="hidden")
        self._logit = linear_logits([self.base_rate], name="logit")

    def call(self, inputs):
        return tf.squeeze(self._logit(self._hidden(inputs)), axis=-1)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "base_rate": self.base_rate}


def linear_logits(base_rates: Sequence[float], name: str) -> tf_keras.layers.Dense:
    """[batch, n] -> logits [batch, len(base_rates)], each starting at that of its base rate for every row;
    rates of 0 and 1 are pulled inwards."""
    inside = np.clip(base_rates, 1e-4, 1 - 1e-4)
    return tf_keras.layers.Dense(
        len(inside),
        kernel_initializer=tf_keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=tf_keras.initializers.Constant(np.log(inside) - np.log1p(-inside)),
        name=name,
    )
