"""Attention of the candidate over the user's recent items."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from models.layers.mlp import MLP


@tf_keras.utils.register_keras_serializable("cabb")
class DIN(tf_keras.layers.Layer):
    """Deep Interest Network attention (Zhou et al. 2018, KDD): a weighted sum of keys, without a softmax.

        score_t = MLP([q, k_t, q - k_t, q * k_t]),   out = sum_t mask_t score_t k_t

    The scores are not normalised, so the output's length tells how strongly the history bears on the query. A
    row without history gives zeros, and so do its gradients.

    Call with `query` [batch, d], `keys` [batch, length, d] and `mask` [batch, length] (True: a real entry);
    returns [batch, d].

    Args:
      units: hidden layers of the scorer.
    """

    def __init__(self, units: tuple[int, ...] = (32,), **kwargs):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self._hidden = MLP(self.units, name="hidden")
        self._score = tf_keras.layers.Dense(1, name="score")

    def call(self, query, keys, mask):
        query = tf.expand_dims(query, 1)
        difference, product = query - keys, query * keys
        repeated = tf.broadcast_to(query, tf.shape(keys))
        repeated.set_shape(keys.shape)
        score = self._score(self._hidden(tf.concat([repeated, keys, difference, product], axis=-1)))
        # where, not multiplication: a masked NaN or infinity must not leak as 0 * inf.
        mask = tf.expand_dims(mask, -1)
        return tf.reduce_sum(tf.where(mask, score, 0.0) * tf.where(mask, keys, 0.0), axis=1)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
