"""Dropout: what it drops, and that its draws are those of the seed and the call."""

import numpy as np
import tensorflow as tf

from models.layers.dropout import Dropout

ROWS = tf.ones([400, 50])


def test_drops_its_share_and_keeps_the_mean():
    dropped = Dropout(0.2, seed=1)(ROWS, training=True).numpy()
    assert set(np.unique(dropped)) == {0.0, 1.25}
    assert abs((dropped == 0).mean() - 0.2) < 0.01


def test_is_the_identity_when_serving_and_at_rate_zero():
    np.testing.assert_array_equal(Dropout(0.2, seed=1)(ROWS), ROWS)
    np.testing.assert_array_equal(Dropout(0.0, seed=1)(ROWS, training=True), ROWS)


def test_every_call_draws_anew_and_a_restored_layer_goes_on_with_the_same_draws():
    layer, restored = Dropout(0.2, seed=1), Dropout(0.2, seed=1)
    first = layer(ROWS, training=True).numpy()
    restored.build(ROWS.shape)
    restored.set_weights(layer.get_weights())
    second = layer(ROWS, training=True).numpy()
    assert (first != second).any()
    np.testing.assert_array_equal(restored(ROWS, training=True), second)
    assert (Dropout(0.2, seed=2)(ROWS, training=True).numpy() != first).any()
