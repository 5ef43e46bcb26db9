"""DIN against a loop in NumPy, and on users without history."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers.din import DIN


def reference(layer, query, keys, row):
    """Formula by formula: score = MLP([q, k, q - k, q * k]); out = sum of score * k over a row's entries."""
    weights = [w.numpy().astype(np.float64) for w in layer.weights]
    out = np.zeros_like(query)
    for k, b in zip(keys, row, strict=True):
        q = query[b]
        x = np.concatenate([q, k, q - k, q * k])
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            x = np.maximum(x @ kernel + bias, 0)
        out[b] += (x @ weights[-2] + weights[-1])[0] * k
    return out


@pytest.mark.parametrize("units", [(), (5,), (6, 3)])
def test_it_follows_the_formula(units):
    rng = np.random.default_rng(0)
    query, row = rng.normal(size=(4, 3)), np.array([0, 0, 0, 1, 3, 3])  # row 2 has no history
    keys = rng.normal(size=(len(row), 3))
    layer = DIN(units)
    call = lambda: layer(tf.constant(query, tf.float32), tf.constant(keys, tf.float32), tf.constant(row))  # noqa: E731
    call()
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    np.testing.assert_allclose(call(), reference(layer, query, keys, row), rtol=1e-4, atol=1e-4)


def test_no_history_gives_zeros_and_finite_gradients():
    layer = DIN((4,))
    query = tf.Variable(tf.ones([2, 3]))
    with tf.GradientTape() as tape:
        out = layer(query, tf.zeros([0, 3]), tf.zeros([0], tf.int64))
        total = tf.reduce_sum(out)
    np.testing.assert_array_equal(out, np.zeros((2, 3)))
    for gradient in tape.gradient(total, [query, *layer.trainable_variables]):
        dense = tf.convert_to_tensor(gradient)
        np.testing.assert_array_equal(dense, np.zeros(dense.shape))
