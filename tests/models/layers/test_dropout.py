"""Dropout: what is left out, what is kept, and that masks follow from seed and call."""

import numpy as np
import tensorflow as tf

from models.layers.dropout import Dropout

ONES = tf.ones([400, 50])


def test_it_leaves_out_its_share_and_keeps_the_mean():
    layer = Dropout(0.3)
    out = layer(ONES, training=True).numpy()
    np.testing.assert_allclose(np.unique(out), [0, 1 / 0.7], rtol=1e-6)
    assert abs((out == 0).mean() - 0.3) < 0.02


def test_it_does_nothing_outside_of_training():
    np.testing.assert_array_equal(Dropout(0.3)(ONES, training=False), ONES)
    np.testing.assert_array_equal(Dropout(0.0)(ONES, training=True), ONES)


def test_masks_differ_by_call_and_go_on_from_a_saved_state():
    first = Dropout(0.3, seed=1)
    masks = [first(ONES, training=True).numpy() for _ in range(3)]
    assert (masks[0] != masks[1]).any()
    resumed = Dropout(0.3, seed=1)
    resumed(ONES)
    resumed.set_weights([np.array(2)])
    np.testing.assert_array_equal(resumed(ONES, training=True), masks[2])
    assert (Dropout(0.3, seed=2)(ONES, training=True).numpy() != masks[0]).any()
