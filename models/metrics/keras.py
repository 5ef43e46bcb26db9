"""Normalized Entropy inside a training graph."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from models.metrics import sums


@tf_keras.utils.register_keras_serializable("cabb")
class NormalizedEntropy(tf_keras.metrics.Metric):
    """NE of several outputs over the rows since the last reset (He et al. 2014): the sums of
    models.metrics.sums as float64 variables. The result is [outputs]."""

    def __init__(self, outputs: int = 1, name: str = "ne", **kwargs):
        super().__init__(name=name, dtype=tf.float64, **kwargs)
        self.outputs = outputs
        self._sums = self.add_weight(name="sums", shape=(4, outputs), initializer="zeros", dtype=tf.float64)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds rows: labels and probabilities of outputs, [rows, outputs]; weights [rows] (None: ones)."""
        y = tf.reshape(tf.cast(y_true, tf.float64), [-1, self.outputs])
        p = tf.reshape(tf.cast(y_pred, tf.float64), [-1, self.outputs])
        w = tf.ones_like(y[:, 0]) if sample_weight is None else tf.cast(sample_weight, tf.float64)
        probable = tf.abs(p - 0.5) <= 0.5 + sums.ROUNDING
        clipped = tf.clip_by_value(p, sums.EPSILON, 1 - sums.EPSILON)
        inside = tf.where(probable, clipped, tf.constant(float("nan"), tf.float64))
        loss = -(y * tf.math.log(inside) + (1 - y) * tf.math.log1p(-inside))
        columns = tf.concat([loss, tf.ones_like(y), y, p], axis=1)
        self._sums.assign_add(tf.reshape(tf.linalg.matvec(columns, w, transpose_a=True), [4, self.outputs]))

    def result(self):
        rate = self._sums[sums.POSITIVE] / self._sums[sums.WEIGHT]
        entropy = -(rate * tf.math.log(rate) + (1 - rate) * tf.math.log1p(-rate))
        return self._sums[sums.CROSS_ENTROPY] / self._sums[sums.WEIGHT] / entropy

    def reset_state(self):
        self._sums.assign(tf.zeros_like(self._sums))

    def get_config(self):
        return {**super().get_config(), "outputs": self.outputs}
