"""Dropout whose masks belong to the state of a training."""

from __future__ import annotations

import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable("cabb")
class Dropout(tf_keras.layers.Layer):
    """Zeroes a share `rate` of the inputs in training and scales the others by 1 / (1 - rate).

    The mask follows from the seed and the number of calls so far. That number is a variable, so that a
    training resumed from a checkpoint draws the masks that it would have drawn.
    """

    def __init__(self, rate: float, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.seed = float(rate), int(seed)

    def build(self, input_shape):
        self._calls = self.add_weight(
            name="calls", shape=(), dtype=tf.int64, initializer="zeros", trainable=False
        )
        super().build(input_shape)

    def call(self, inputs, training: bool = False):
        if not training or not self.rate:
            return inputs
        call = self._calls.assign_add(1)
        return tf.nn.experimental.stateless_dropout(inputs, self.rate, seed=tf.stack([self.seed, call]))

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
