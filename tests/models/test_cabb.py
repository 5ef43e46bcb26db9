"""The CABB model's objective and its three ways to a conversion score, on hand-made inputs."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from models import features as names
from models import registry
from models.feature_space import NUMERIC, FeatureSpace, numeric_names
from models.metrics import sums
from models.row_statistics import RowStatistics
from models.settings import ModelSettings

SIZES = {names.ITEM: 9, names.LEAF: 5}
SPACE = FeatureSpace(
    cardinality=SIZES,
    numeric=numeric_names(),
    sequences=dict(names.SEQUENCES),
    statistics=RowStatistics(
        rows=100,
        base_rate={names.Y_CABA: 0.1, names.Y_CABB: 0.2, names.Y_ANY: 0.25},
        label=names.Y_ANY,
        by_id={name: np.ones([names.USER_FOLDS, 2, size]) for name, size in SIZES.items()},
        numbers=np.zeros([1, len(numeric_names())], np.float32),
    ),
)


def batch(n=16):
    rng = np.random.default_rng(0)
    features = {
        names.ITEM: rng.integers(1, 9, n),
        names.LEAF: rng.integers(1, 5, n),
        names.RECENT_ITEMS: rng.integers(0, 9, (n, names.SEQUENCE_LENGTH)),
        names.RECENT_LEAVES: rng.integers(0, 5, (n, names.SEQUENCE_LENGTH)),
        NUMERIC: rng.normal(size=(n, len(SPACE.numeric))).astype(np.float32),
    }
    labels = {name: rng.integers(0, 2, n).astype(np.float32) for name in names.LABELS}
    labels |= {name: rng.random(n).astype(np.float32) for name in names.WEIGHTS}
    return tuple({k: tf.constant(v) for k, v in part.items()} for part in (features, labels))


def model(**settings):
    return registry.create(ModelSettings(members=1, **settings), SPACE)


@pytest.mark.parametrize(("lambda_cabb", "share"), [(0.0, 1.0), (0.75, 1.0), (0.75, 0.3)])
def test_the_objective_is_the_papers_if_alpha_alone_weighs(lambda_cabb, share):
    features, labels = batch()
    cabb = model(lambda_cabb=lambda_cabb, conversion_weight=0.5, alpha_share=share, action_weight=0)
    p = {output: value.numpy()[:, 0] for output, value in cabb(features).items()}
    y = {name: value.numpy() for name, value in labels.items()}
    row = y[names.ROW_WEIGHT]
    caba = (row * sums.cross_entropy(y[names.Y_CABA], p[names.P_CABA])).mean()
    weight = row * (1 - share + share * y[names.ALPHA])
    weighted = (weight * sums.cross_entropy(y[names.Y_CABB], p[names.P_CABB])).mean()
    conversion = (row * sums.cross_entropy(y[names.Y_ANY], p[names.P_CONVERSION])).mean()
    losses = cabb.losses_of(cabb.logits(features, training=False), labels)
    assert float(losses["loss_caba"]) == pytest.approx(caba, rel=1e-5)
    assert float(losses["loss_cabb"]) == pytest.approx(weighted, rel=1e-5)
    assert float(losses["loss"]) == pytest.approx(caba + lambda_cabb * weighted + 0.5 * conversion, rel=1e-5)


def test_sum_and_or_are_functions_of_the_two_heads():
    features, labels = batch()
    either = model(conversion_score="or")
    p = either(features)
    expected = 1 - (1 - p[names.P_CABA]) * (1 - p[names.P_CABB])
    np.testing.assert_allclose(p[names.P_CONVERSION], expected, rtol=1e-6)
    added = model(conversion_score="sum", conversion_sum_weights=(1.0, 9.0))
    p = added(features)
    expected = np.clip(p[names.P_CABA] + 9 * p[names.P_CABB], 0, 1)
    np.testing.assert_allclose(p[names.P_CONVERSION], expected, rtol=1e-6)
    assert "loss_conversion" not in added.losses_of(added.logits(features, training=False), labels)


def test_every_action_adds_its_cross_entropy_and_no_score():
    features, labels = batch()
    cabb = model(action_weight=0.3)
    assert set(cabb(features)) == set(names.LABEL_OF_OUTPUT)
    logits = cabb.logits(features, training=False)
    row = labels[names.ROW_WEIGHT].numpy()
    p = tf.sigmoid(logits["actions"]).numpy()
    actions = sum(
        (row * sums.cross_entropy(labels[name].numpy(), p[:, i])).mean()
        for i, name in enumerate(names.ACTIONS)
    )
    losses = cabb.losses_of(logits, labels)
    assert "loss_actions" not in model(action_weight=0).losses_of(logits, labels)
    assert float(losses["loss_actions"]) == pytest.approx(actions, rel=1e-5)
    purchases = losses["loss_caba"] + 0.75 * losses["loss_cabb"] + losses["loss_conversion"]
    assert float(losses["loss"]) == pytest.approx(float(purchases) + 0.3 * actions, rel=1e-5)


def test_actions_teach_the_bottom_and_the_conversion_head_sees_the_other_heads():
    features, labels = batch()
    cabb = model()
    with tf.GradientTape(persistent=True) as tape:
        logits = cabb.logits(features, training=False)
        actions = cabb.losses_of(logits, labels)["loss_actions"]
    bottom = tape.gradient(actions, [v for v in cabb._bottom.trainable_variables if "mlp" in v.name])
    assert all(np.abs(g).max() > 0 for g in bottom)
    for output in (names.P_CABA, names.P_CABB):
        assert tape.gradient(logits[names.P_CONVERSION], logits[output]) is not None


def test_an_action_that_the_log_does_not_know_has_no_head():
    rates = {**SPACE.statistics.base_rate, names.Y_CART_A: 0.3, **dict.fromkeys(names.ACTIONS[1:], 0.0)}
    space = SPACE.over(dataclasses.replace(SPACE.statistics, base_rate=rates))
    features, labels = batch()
    cabb = registry.create(ModelSettings(members=1), space)
    logits = cabb.logits(features, training=False)
    p = tf.sigmoid(logits["actions"])
    np.testing.assert_allclose(p, np.full([16, 1], 0.3), rtol=0.3)
    expected = labels[names.ROW_WEIGHT] * sums.cross_entropy(labels[names.Y_CART_A].numpy(), p[:, 0].numpy())
    assert float(cabb.losses_of(logits, labels)["loss_actions"]) == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("trains", [True, False])
def test_the_conversion_head_trains_the_bottom_only_when_told_to(trains):
    features, labels = batch()
    cabb = model(conversion_trains_bottom=trains)
    cabb(features)
    with tf.GradientTape() as tape:
        loss = cabb.losses_of(cabb.logits(features, training=False), labels)["loss_conversion"]
    bottom = cabb._bottom.trainable_variables
    reached = [g is not None for g in tape.gradient(loss, bottom, unconnected_gradients="none")]
    assert any(reached) == trains


def test_a_conversion_head_that_trains_nothing_else_leaves_the_others_as_if_it_were_absent():
    features, labels = batch()

    def weights_after_a_step(**settings):
        tf_keras.utils.set_random_seed(0)
        cabb = model(**settings)
        cabb(features)
        with tf.GradientTape() as tape:
            loss = cabb.losses_of(cabb.logits(features, training=False), labels)["loss"]
        variables = [v for v in cabb.trainable_variables if f"/{names.P_CONVERSION}/" not in v.name]
        gradients = tape.gradient(loss, variables)
        return [v - 0.1 * tf.convert_to_tensor(g) for v, g in zip(variables, gradients, strict=True)]

    beside = weights_after_a_step(conversion_trains_bottom=False)
    absent = weights_after_a_step(conversion_score="or")
    for one, other in zip(beside, absent, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-8)


def test_starts_at_the_base_rates():
    tf_keras.utils.set_random_seed(0)
    action_rates = dict(zip(names.ACTIONS, (0.4, 0.05, 0.2, 0.6), strict=True))
    known = dataclasses.replace(SPACE.statistics, base_rate=SPACE.statistics.base_rate | action_rates)
    logits = registry.create(ModelSettings(members=1), SPACE.over(known)).logits(batch()[0])
    for output, rate in ((names.P_CABA, 0.1), (names.P_CABB, 0.2), (names.P_CONVERSION, 0.25)):
        np.testing.assert_allclose(tf.sigmoid(logits[output]), rate, atol=0.05)
    np.testing.assert_allclose(tf.sigmoid(logits["actions"]), [[*action_rates.values()]] * 16, atol=0.05)


def test_no_history_in_a_whole_batch_is_fine():
    features, labels = batch()
    for name in names.SEQUENCES:
        features[name] = tf.zeros_like(features[name])
    cabb = model()
    with tf.GradientTape() as tape:
        loss = cabb.losses_of(cabb.logits(features, training=False), labels)["loss"]
    for gradient in tape.gradient(loss, cabb.trainable_variables):
        dense = tf.convert_to_tensor(gradient)
        assert np.isfinite(dense).all()
