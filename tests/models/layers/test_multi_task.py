"""Experts, gates, fusion and CAT against their papers' formulas in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features import VIEWS
from models.layers.cat import Combinations
from models.layers.experts import Experts
from models.layers.fusion import KnowledgeFusion
from models.layers.gates import FeatureGate, Gate, SelfGate, mix

N, IN, EXPERTS = 6, 5, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, IN)).astype(np.float32)
OWN = RNG.normal(size=(N, EXPERTS, IN)).astype(np.float32)
SETS = st.sets(st.sampled_from(VIEWS), min_size=1).map(sorted)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def perturb(layer):
    """Zero initial weights would hide a missing term."""
    for variable in layer.trainable_variables:
        variable.assign(RNG.normal(size=variable.shape))
    return {v.name.split(":")[0].split("/")[-1]: v.numpy() for v in layer.trainable_variables}


@pytest.mark.parametrize("inputs", [X, OWN], ids=["one input", "an input each"])
def test_experts_are_separate_networks(inputs):
    layer = Experts(EXPERTS, (4, 2))
    layer(inputs)
    w = perturb(layer)
    for i in range(EXPERTS):
        x = inputs if inputs.ndim == 2 else inputs[:, i]
        for n in (0, 1):
            x = np.maximum(x @ w[f"kernel_{n}"][i] + w[f"bias_{n}"][i], 0)
        np.testing.assert_allclose(layer(inputs)[:, i], x, rtol=1e-4, atol=1e-5)


def test_normalised_experts_are_swish_of_batch_norm():
    layer = Experts(EXPERTS, (4,), normalized=True)
    layer(X)
    w = perturb(layer)
    x = np.stack([X @ w["kernel_0"][i] + w["bias_0"][i] for i in range(EXPERTS)], axis=1)
    norm = layer._norm
    gamma, beta = norm.gamma.numpy().reshape(EXPERTS, 4), norm.beta.numpy().reshape(EXPERTS, 4)

    def swish_of(mean, variance):
        z = (x - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta
        return z * sigmoid(z)

    np.testing.assert_allclose(
        layer(X, training=True), swish_of(x.mean(axis=0), x.var(axis=0)), rtol=1e-3, atol=1e-4
    )
    moving = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    assert np.abs(moving[0]).max() > 0, "training moves the averages that serving uses"
    served = swish_of(*(m.reshape(EXPERTS, 4) for m in moving))
    np.testing.assert_allclose(layer(X), served, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(layer(X[:1])[0], served[0], rtol=1e-3, atol=1e-4)


def test_a_gate_is_a_linear_softmax():
    gate = Gate(EXPERTS)
    weights = gate(X)
    np.testing.assert_allclose(weights, softmax(X @ gate._scores.kernel.numpy()), rtol=1e-4)
    np.testing.assert_allclose(mix(weights, OWN), np.einsum("be,bed->bd", weights, OWN), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("inputs", [X, OWN], ids=["one input", "an input each"])
def test_a_feature_gate_starts_as_the_identity_and_is_twice_a_sigmoid(inputs):
    gate = FeatureGate(EXPERTS, rank=2)
    each = np.broadcast_to(inputs[:, None], OWN.shape) if inputs.ndim == 2 else inputs
    np.testing.assert_array_equal(gate(inputs), each)
    w = perturb(gate)
    for i in range(EXPERTS):
        expected = each[:, i] * 2 * sigmoid(each[:, i] @ w["down"][i] @ w["up"][i])
        np.testing.assert_allclose(gate(inputs)[:, i], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("own", [1, 2])
def test_a_self_gate_is_a_sigmoid_for_one_expert_and_a_softmax_for_several(own):
    gate = SelfGate()
    experts = OWN[:, :own]
    gate((X, experts))
    w = perturb(gate)
    scores = X @ w["kernel"] + w["bias"]
    weights = sigmoid(scores) if own == 1 else softmax(scores)
    expected = np.einsum("be,bed->bd", weights, experts)
    np.testing.assert_allclose(gate((X, experts)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stop", [False, True])
def test_fusion_adds_aligned_knowledge(stop):
    fusion = KnowledgeFusion((4,), stop_gradient=stop)
    knowledge = tf.constant(RNG.normal(size=(N, 7)).astype(np.float32))
    fusion((X, knowledge))
    perturb(fusion)
    hidden = fusion._hidden._layers[0]
    inner = np.maximum(knowledge @ hidden.kernel.numpy() + hidden.bias.numpy(), 0)
    expected = X + inner @ fusion._align.kernel.numpy() + fusion._align.bias.numpy()
    with tf.GradientTape() as tape:
        tape.watch(knowledge)
        fused = fusion((X, knowledge))
    np.testing.assert_allclose(fused, expected, rtol=1e-4, atol=1e-5)
    assert (tape.gradient(fused, knowledge) is None) == stop


@given(SETS, st.integers(0, 10_000))
@settings(max_examples=25)
def test_classes_are_binary_numbers_and_possible_ones_those_that_credits_make(views, seed):
    classes = Combinations.of(views)
    if classes is None:
        assert len({"last_click", "first_click", "linear", "mta"} & set(views)) < 2
        return
    rng = np.random.default_rng(seed)
    touched = rng.random(40) < 0.5
    positive = {view: touched & ((view == "linear") | (rng.random(40) < 0.5)) for view in classes.views}
    label = classes.label([tf.constant(p * 0.5, tf.float32) for p in positive.values()]).numpy()
    expected = [sum(int(p[row]) << i for i, p in enumerate(positive.values())) for row in range(40)]
    np.testing.assert_array_equal(label, expected)
    assert classes.possible[label].all()


def test_all_four_views_have_nine_possible_classes_in_the_papers_order():
    classes = Combinations.of(VIEWS)
    assert classes.views == ("last_click", "first_click", "linear", "mta")
    assert np.flatnonzero(classes.possible).tolist() == [0, 4, 5, 6, 7, 12, 13, 14, 15]


def test_cat_is_the_cross_entropy_over_possible_classes():
    classes = Combinations.of(VIEWS)
    label = np.array([0, 4, 15, 15, 1])  # 1: last click without linear, which cannot be
    logits = RNG.normal(size=(5, 16)).astype(np.float32)
    logits[:, ~classes.possible] = 50
    weight = np.array([1, 2, 1, 0.5, 1], np.float32)
    p = softmax(np.where(classes.possible, logits.astype(np.float64), -np.inf))
    each = -weight[:4] * np.log(p[np.arange(4), label[:4]])
    got = classes.cross_entropy(tf.constant(label), tf.constant(logits), tf.constant(weight))
    assert float(got) == pytest.approx(each.sum() / 5, rel=1e-5)
    with tf.GradientTape() as tape:
        z = tf.constant(logits)
        tape.watch(z)
        loss = classes.cross_entropy(tf.constant(label), z, tf.constant(weight))
    gradient = tape.gradient(loss, z).numpy()
    assert (gradient[:, ~classes.possible] == 0).all() and (gradient[4] == 0).all()
