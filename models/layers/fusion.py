"""Knowledge of other tasks, added to a task's own representation."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from models.layers.mlp import MLP


@tf_keras.utils.register_keras_serializable("cabb")
class KnowledgeFusion(tf_keras.layers.Layer):
    """v_fusion = v_p + v_a,   v_a = MLP(K)   (MAL 3.4, eq. 2, after KEEP, Zhang et al. 2022).

    The last layer of the MLP is linear, so that v_a can move v_p either way.

    Call with v_p [batch, d] and K [batch, n]; returns [batch, d].

    Args:
      units: hidden layers of the MLP.
      stop_gradient: the primary task then does not train what K comes from. The paper does not say.
    """

    def __init__(self, units: tuple[int, ...] = (64,), stop_gradient: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.units, self.stop_gradient = tuple(units), stop_gradient
        self._hidden = MLP(self.units, name="hidden")

    def build(self, input_shape):
        own, _ = input_shape
        self._align = tf_keras.layers.Dense(int(own[-1]), name="align")
        super().build(input_shape)

    def call(self, inputs):
        own, knowledge = inputs
        if self.stop_gradient:
            knowledge = tf.stop_gradient(knowledge)
        return own + self._align(self._hidden(knowledge))

    def get_config(self):
        return {**super().get_config(), "units": self.units, "stop_gradient": self.stop_gradient}
