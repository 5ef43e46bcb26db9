"""Normalized Entropy inside a training graph."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from models.metrics import sums


@tf_keras.utils.register_keras_serializable("cabb")
class NormalizedEntropy(tf_keras.metrics.Metric):
    """NE of the rows since the last reset (He et al. 2014): the sums of models.metrics.sums as float64
    variables."""

    def __init__(self, name: str = "ne", **kwargs):
        super().__init__(name=name, dtype=tf.float64, **kwargs)
        self._sums = self.add_weight(name="sums", shape=(4,), initializer="zeros", dtype=tf.float64)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds rows: labels and probabilities of any equal shape, weights likewise (None: ones)."""
        y = tf.reshape(tf.cast(y_true, tf.float64), [-1])
        p = tf.reshape(tf.cast(y_pred, tf.float64), [-1])
        w = tf.ones_like(y) if sample_weight is None else tf.reshape(tf.cast(sample_weight, tf.float64), [-1])
        probable = tf.abs(p - 0.5) <= 0.5 + sums.ROUNDING
        clipped = tf.clip_by_value(p, sums.EPSILON, 1 - sums.EPSILON)
        inside = tf.where(probable, clipped, tf.constant(float("nan"), tf.float64))
        loss = -(y * tf.math.log(inside) + (1 - y) * tf.math.log1p(-inside))
        self._sums.assign_add(
            tf.stack([tf.reduce_sum(w * column) for column in (loss, tf.ones_like(y), y, p)])
        )

    def result(self):
        rate = self._sums[sums.POSITIVE] / self._sums[sums.WEIGHT]
        entropy = -(rate * tf.math.log(rate) + (1 - rate) * tf.math.log1p(-rate))
        return self._sums[sums.CROSS_ENTROPY] / self._sums[sums.WEIGHT] / entropy

    def reset_state(self):
        self._sums.assign(tf.zeros_like(self._sums))
