"""Weights move at the rates that the settings name."""

import numpy as np
import pytest
import tensorflow as tf

from models import features as names
from models import fit
from models.feature_space import NUMERIC, FeatureSpace
from models.fit import Training
from models.inputs import TrainingRows
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


@pytest.mark.parametrize("full", [4, 20])
def test_weights_of_dense_layers_decay_by_their_share_and_nothing_else_does(monkeypatch, full):
    steps = 5
    monkeypatch.setattr(fit, "_DECAY_STEPS", full)
    settings = ModelSettings(
        members=1,
        batch_size=8,
        epochs=1,
        warmup_share=0,
        weight_decay=0.1,
        attention_units=(),
        log_every_steps=steps,
    )
    still = {"dense_learning_rate": 1e-12, "embedding_learning_rate": 1e-12}
    rng = np.random.default_rng(0)
    features = {
        names.ITEM: rng.integers(0, 9, 40),
        NUMERIC: rng.normal(size=(40, 3)).astype(np.float32),
        names.USER_FOLD: np.arange(40) % names.USER_FOLDS,
    }
    labels = {name: (rng.random(40) < 0.5).astype(np.float32) for name in (*names.LABELS, *names.WEIGHTS)}
    space = FeatureSpace({names.ITEM: 9}, ("a", "b", "c"), {})
    rows = TrainingRows.of_arrays(features, labels, names.Y_ANY)
    training = Training(settings.model_copy(update=still), space, rows)
    before = [variable.numpy() for variable in training.model.trainable_variables]
    training.run()
    shares = settings.weight_decay / (max(steps, full) / 2) * (1 - np.arange(1, steps + 1) / steps)
    left = np.prod(1 - shares)
    for variable, start in zip(training.model.trainable_variables, before, strict=True):
        dense = len(variable.shape) > 1 and "embedding" not in variable.name
        np.testing.assert_allclose(variable.numpy(), start * (left if dense else 1), atol=1e-6)
