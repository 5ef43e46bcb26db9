"""Embedding tables learn at the rate that the settings name."""

import numpy as np
import tensorflow as tf

from models.optimizers import optimizers
from models.settings import ModelSettings


def test_an_embedding_moves_by_its_rate_however_small_its_gradient():
    settings = ModelSettings(warmup_share=0)
    table = tf.Variable(tf.zeros([3, 2]))
    _, embedding = optimizers(settings, steps=1_000, embedding_steps=1_000)
    gradient = tf.IndexedSlices(tf.fill([1, 2], 1e-3), tf.constant([1]), tf.constant([3, 2]))
    embedding.apply_gradients([(gradient, table)])
    moved = -table.numpy()
    np.testing.assert_allclose(moved[1], settings.embedding_learning_rate, rtol=0.1)
    assert not moved[[0, 2]].any()


def test_embeddings_learn_in_their_first_steps_only():
    settings = ModelSettings(warmup_share=0.2)
    dense, embedding = (optimizer.learning_rate for optimizer in optimizers(settings, 30, 10))
    rates = np.array([[float(rate(step)) for step in range(30)] for rate in (dense, embedding)])
    peaks = (settings.dense_learning_rate, settings.embedding_learning_rate)
    np.testing.assert_allclose(rates.max(axis=1), peaks, rtol=1e-5)
    assert (rates[1, :9] > 0).all() and not rates[1, 9:].any()
    assert (rates[0, :29] > 0).all() and (np.diff(rates[0, 6:]) < 0).all()
