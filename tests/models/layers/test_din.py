"""DIN against a loop in NumPy, and on users without history."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers.din import DIN


def reference(layer, query, keys, mask):
    """Formula by formula: score = MLP([q, k, q - k, q * k]); out = sum of score * k over real entries."""
    weights = [w.numpy().astype(np.float64) for w in layer.weights]
    out = np.zeros_like(query)
    for b in range(len(query)):
        for t in range(keys.shape[1]):
            if mask[b, t]:
                q, k = query[b], keys[b, t]
                x = np.concatenate([q, k, q - k, q * k])
                for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
                    x = np.maximum(x @ kernel + bias, 0)
                out[b] += (x @ weights[-2] + weights[-1])[0] * k
    return out


@pytest.mark.parametrize("units", [(), (5,), (6, 3)])
def test_it_follows_the_formula(units):
    rng = np.random.default_rng(0)
    query, keys = rng.normal(size=(4, 3)), rng.normal(size=(4, 7, 3))
    mask = rng.random((4, 7)) < 0.6
    mask[2] = False
    layer = DIN(units)
    call = lambda: layer(tf.constant(query, tf.float32), tf.constant(keys, tf.float32), tf.constant(mask))  # noqa: E731
    call()
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    np.testing.assert_allclose(call(), reference(layer, query, keys, mask), rtol=1e-4, atol=1e-4)


def test_no_history_gives_zeros_and_finite_gradients():
    layer = DIN((4,))
    query = tf.Variable(tf.ones([2, 3]))
    keys = tf.Variable(tf.fill([2, 5, 3], 7.0))
    with tf.GradientTape() as tape:
        out = layer(query, keys, tf.zeros([2, 5], tf.bool))
        total = tf.reduce_sum(out)
    np.testing.assert_array_equal(out, np.zeros((2, 3)))
    for gradient in tape.gradient(total, [query, keys, *layer.trainable_variables]):
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


def test_what_is_masked_cannot_leak():
    layer = DIN((4,))
    query, mask = tf.ones([1, 2]), tf.constant([[True, False]])
    clean = layer(query, tf.constant([[[1.0, 2.0], [0.0, 0.0]]]), mask)
    spoilt = layer(query, tf.constant([[[1.0, 2.0], [np.inf, np.nan]]]), mask)
    np.testing.assert_array_equal(clean, spoilt)
