"""Numbers as the way through their quantiles: Gorishniy et al. 2022, "On Embeddings for Numerical Features in
Tabular Deep Learning" (NeurIPS), section 3.2."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable("cabb")
class PiecewiseLinear(tf_keras.layers.Layer):
    """A column with edges b_0 < ... < b_T becomes T: e_t = clip((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1) - 1/2.

    A linear layer on top can follow any curve with corners at the edges. Columns with fewer than three edges
    (constants, flags) are left out. [batch, columns] -> [batch, sum of T].

    Args:
      edges: of every column, increasing.
    """

    def __init__(self, edges: tuple[tuple[float, ...], ...], **kwargs):
        super().__init__(**kwargs)
        self.edges = tuple(map(tuple, edges))
        kept = [(number, column) for number, column in enumerate(self.edges) if len(column) > 2]
        self._column = np.array([number for number, column in kept for _ in column[1:]], np.int32)
        self._low = np.array([low for _, column in kept for low in column[:-1]], np.float32)
        high = np.array([high for _, column in kept for high in column[1:]], np.float32)
        self._width = high - self._low

    def call(self, inputs):
        # Gathered as rows, which are copied whole; entry by entry it takes four times as long.
        columns = tf.transpose(tf.gather(tf.transpose(inputs), self._column))
        return tf.clip_by_value((columns - self._low) / self._width, 0.0, 1.0) - 0.5

    def get_config(self):
        return {**super().get_config(), "edges": self.edges}
