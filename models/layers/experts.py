"""Several small networks side by side, of which gates take mixtures."""

from __future__ import annotations

import itertools
import math

import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable("cabb")
class Experts(tf_keras.layers.Layer):
    """`count` MLPs of one shape, each with its own weights.

        f_i(x) = ReLU(W_i x + b_i), layer by layer     (MMoE, Ma et al. 2018; PLE, Tang et al. 2020)
        f_i(x) = Swish(BatchNorm(MLP_i(x)))                (`normalized`; HoME, Wang et al. 2024)

    Swish(x) = x sigmoid(x) keeps normalised experts from being zero half of the time, and the norm keeps them
    at one scale, so that a gate's weights say how much each contributes.

    Call with [batch, n], or [batch, count, n] if experts read different inputs; returns
    [batch, count, units[-1]].

    Args:
      count: number of experts.
      units: layers of each.
      normalized: HoME's form; the last layer then has no ReLU.
    """

    def __init__(self, count: int, units: tuple[int, ...] = (64,), normalized: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.count, self.units, self.normalized = count, tuple(units), normalized
        # Few steps make a training: averages that remember 0.99 would still hold their starting values.
        self._norm = tf_keras.layers.BatchNormalization(momentum=0.95, name="norm") if normalized else None

    def build(self, input_shape):
        widths = (int(input_shape[-1]), *self.units)
        self._kernels, self._biases = [], []
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
            initial = tf_keras.initializers.RandomNormal(stddev=math.sqrt(2 / fan_in))
            self._kernels.append(
                self.add_weight(f"kernel_{layer}", (self.count, fan_in, fan_out), None, initial)
            )
            self._biases.append(self.add_weight(f"bias_{layer}", (self.count, fan_out), None, "zeros"))
        if self._norm is not None:
            self._norm.build((None, self.count * self.units[-1]))
        super().build(input_shape)

    def call(self, inputs, training=False):
        x = inputs
        last = len(self.units) - 1
        for layer, (kernel, bias) in enumerate(zip(self._kernels, self._biases, strict=True)):
            x = tf.einsum("bi,eio->beo" if x.shape.rank == 2 else "bei,eio->beo", x, kernel) + bias
            if layer < last or not self.normalized:
                x = tf.nn.relu(x)
        if self._norm is None:
            return x
        shape = [-1, self.count, self.units[-1]]
        return tf.nn.swish(tf.reshape(self._norm(tf.reshape(x, [-1, math.prod(shape[1:])]), training), shape))

    def get_config(self):
        own = {"count": self.count, "units": self.units, "normalized": self.normalized}
        return {**super().get_config(), **own}
