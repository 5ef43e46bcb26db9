"""Gates: how much of each expert, of each feature, of its own past a task takes."""

from __future__ import annotations

import tensorflow as tf
import tf_keras


def mix(weights: tf.Tensor, experts: tf.Tensor) -> tf.Tensor:
    """sum_i w_i f_i: weights [batch, experts], experts [batch, experts, n] -> [batch, n]."""
    return tf.einsum("be,bed->bd", weights, experts)


@tf_keras.utils.register_keras_serializable("cabb")
class Gate(tf_keras.layers.Layer):
    """softmax(W x): one linear map, no bias, no hidden layer (MMoE, Ma et al. 2018, eq. 7).

    [batch, n] -> weights [batch, experts] that sum to 1.

    Args:
      experts: how many are mixed.
    """

    def __init__(self, experts: int, **kwargs):
        super().__init__(**kwargs)
        self.experts = experts
        self._scores = tf_keras.layers.Dense(experts, use_bias=False, name="scores")

    def call(self, inputs):
        return tf.nn.softmax(self._scores(inputs))

    def get_config(self):
        return {**super().get_config(), "experts": self.experts}


@tf_keras.utils.register_keras_serializable("cabb")
class FeatureGate(tf_keras.layers.Layer):
    """v * 2 sigmoid(v B_i A_i): each expert i reads its own emphasis (HoME, Wang et al. 2024).

    B_i [n, rank], A_i [rank, n]. A starts at zero, so the gate starts as the identity.

    Call with [batch, n], or [batch, count, n] if the inputs differ; returns [batch, count, n].

    Args:
      count: number of gates.
      rank: of B_i A_i.
    """

    def __init__(self, count: int, rank: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.count, self.rank = count, rank

    def build(self, input_shape):
        n = int(input_shape[-1])
        self._down = self.add_weight("down", (self.count, n, self.rank), None, "glorot_normal")
        self._up = self.add_weight("up", (self.count, self.rank, n), None, "zeros")
        super().build(input_shape)

    def call(self, inputs):
        shared = inputs.shape.rank == 2
        low = tf.einsum("bi,eir->ber" if shared else "bei,eir->ber", inputs, self._down)
        gate = 2 * tf.sigmoid(tf.einsum("ber,ero->beo", low, self._up))
        return (tf.expand_dims(inputs, 1) if shared else inputs) * gate

    def get_config(self):
        return {**super().get_config(), "count": self.count, "rank": self.rank}


@tf_keras.utils.register_keras_serializable("cabb")
class SelfGate(tf_keras.layers.Layer):
    """sum_k s_k(x) f_k of a task's own experts, a residual beside the mixture (HoME, Wang et al. 2024).

    s = sigmoid(w x) for one expert, softmax(W x) for several: the own experts are reached whatever the gate
    over all of them says.

    Call with x [batch, n] and experts [batch, own, m]; returns [batch, m].
    """

    def build(self, input_shape):
        _, experts = input_shape
        self._scores = tf_keras.layers.Dense(int(experts[1]), name="scores")
        super().build(input_shape)

    def call(self, inputs):
        x, experts = inputs
        scores = self._scores(x)
        weights = tf.sigmoid(scores) if scores.shape[-1] == 1 else tf.nn.softmax(scores)
        return mix(weights, experts)
