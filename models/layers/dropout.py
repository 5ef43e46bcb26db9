"""Dropout that a training which was interrupted goes on with as if it had not been."""

from __future__ import annotations

import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable("cabb")
class Dropout(tf_keras.layers.Layer):
    """In training each entry is zero with probability `rate`, else divided by 1 - rate; otherwise the
    identity, [...] -> [...] (Srivastava et al. 2014, JMLR).

    What is dropped depends on the seed and on the number of the training call, which is a variable: a
    checkpoint holds all there is to it.

    Args:
      rate: in [0, 1).
      seed: of the draws.
    """

    def __init__(self, rate: float, seed: int, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed

    def build(self, input_shape):
        if self.rate:
            self._calls = self.add_weight("calls", (), tf.int64, "zeros", trainable=False)
        super().build(input_shape)

    def call(self, inputs, training=False):
        if not (self.rate and training):
            return inputs
        seed = tf.stack([tf.constant(self.seed, tf.int64), self._calls.assign_add(1)])
        return tf.nn.experimental.stateless_dropout(inputs, self.rate, seed)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
