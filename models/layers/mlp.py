"""Stacked dense layers."""

from __future__ import annotations

import tf_keras


@tf_keras.utils.register_keras_serializable("cabb")
class MLP(tf_keras.layers.Layer):
    """Dense layers with ReLU after each, [..., n] -> [..., units[-1]]; no units: the identity."""

    def __init__(self, units: tuple[int, ...], **kwargs):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self._layers = [
            tf_keras.layers.Dense(n, activation="relu", kernel_initializer="he_normal", name=f"dense_{i}")
            for i, n in enumerate(self.units)
        ]

    def call(self, inputs):
        for layer in self._layers:
            inputs = layer(inputs)
        return inputs

    def get_config(self):
        return {**super().get_config(), "units": self.units}
