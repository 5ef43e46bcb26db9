"""Attention of the candidate over the user's recent items."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from models.layers.mlp import MLP


@tf_keras.utils.register_keras_serializable("cabb")
class DIN(tf_keras.layers.Layer):
    """Deep Interest Network attention (Zhou et al. 2018, KDD): a weighted sum of keys, without a softmax.

        score_t = MLP([q, k_t, q - k_t, q * k_t]),   out = sum_t score_t k_t

    The scores are not normalised, so the output's length tells how strongly the history bears on the query. A
    row without history gives zeros, and so do its gradients.

    Histories are ragged, so that work is done for real entries only. Call with `query` [batch, d], `keys`
    [entries, d] and `row` [entries], the row of the query that each key belongs to; returns [batch, d].

    Args:
      units: hidden layers of the scorer.
    """

    def __init__(self, units: tuple[int, ...] = (32,), **kwargs):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self._hidden = MLP(self.units, name="hidden")
        self._score = tf_keras.layers.Dense(1, name="score")

    def call(self, query, keys, row):
        own = tf.gather(query, row)
        score = self._score(self._hidden(tf.concat([own, keys, own - keys, own * keys], axis=-1)))
        return tf.math.unsorted_segment_sum(score * keys, row, tf.shape(query)[0])

    def get_config(self):
        return {**super().get_config(), "units": self.units}
