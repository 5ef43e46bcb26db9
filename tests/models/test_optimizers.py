"""Embedding tables learn at the rate that the settings name."""

import numpy as np
import tensorflow as tf

from models.optimizers import optimizers
from models.settings import ModelSettings


def test_an_embedding_moves_by_its_rate_however_small_its_gradient():
    settings = ModelSettings(warmup_share=0, final_share=1)
    table = tf.Variable(tf.zeros([3, 2]))
    _, embedding = optimizers(settings, steps=10)
    gradient = tf.IndexedSlices(tf.fill([1, 2], 1e-3), tf.constant([1]), tf.constant([3, 2]))
    embedding.apply_gradients([(gradient, table)])
    moved = -table.numpy()
    np.testing.assert_allclose(moved[1], settings.embedding_learning_rate, rtol=0.1)
    assert not moved[[0, 2]].any()
