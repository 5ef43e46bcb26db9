"""Losses against the paper's formulas in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from models.losses import (
    binary_cross_entropy,
    credit_cross_entropy,
    multi_task_loss,
    relatedness_weight,
)
from models.metrics import sums

row = st.tuples(
    st.sampled_from([0.0, 1.0]),
    st.floats(-12, 12, width=32),
    st.floats(0, 1, width=32, allow_subnormal=False),
)


@given(st.lists(row, min_size=1, max_size=30))
def test_l_cabb_is_the_weighted_cross_entropy_over_the_number_of_rows(rows):
    label, logit, alpha = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    p = 1 / (1 + np.exp(-logit.astype(np.float64)))
    expected = (alpha * sums.cross_entropy(label, p)).sum() / len(rows)
    got = binary_cross_entropy(tf.constant(label), tf.constant(logit), tf.constant(alpha))
    assert float(got) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@given(st.lists(row, min_size=1, max_size=30))
def test_credit_is_a_weight_or_a_probability(rows):
    _, logit, credit = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    credit[: len(credit) // 2] = 0
    p = 1 / (1 + np.exp(-logit.astype(np.float64)))
    positive = credit > 0
    expected = {
        "weighted_binary": np.where(positive, credit, 1) * sums.cross_entropy(positive, p),
        "soft": sums.cross_entropy(credit, p),
    }
    for mode, loss in expected.items():
        got = credit_cross_entropy(tf.constant(credit), tf.constant(logit), mode)
        assert float(got) == pytest.approx(loss.mean(), rel=1e-4, abs=1e-6)


def test_weights_are_not_normalised():
    label, logit = tf.constant([1.0, 0.0]), tf.constant([0.3, -1.0])
    whole = binary_cross_entropy(label, logit)
    half = binary_cross_entropy(label, logit, tf.constant([0.5, 0.5]))
    assert float(half) == pytest.approx(float(whole) / 2)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=9), st.floats(0, 1, width=32))
def test_the_weight_lies_between_alike_and_alpha(alphas, share):
    alpha = np.array(alphas, np.float32)
    weight = relatedness_weight(tf.constant(alpha), share).numpy()
    np.testing.assert_allclose(weight, [(1 - share) + share * each for each in alphas], rtol=1e-5, atol=1e-6)
    # Rows without a B weigh the mean alpha of those with one: so they do after it, whatever the share.
    mean = relatedness_weight(tf.constant(alpha.mean()), share).numpy()
    np.testing.assert_allclose(weight.mean(), mean, rtol=1e-5, atol=1e-6)


def test_extreme_logits_stay_finite():
    loss = binary_cross_entropy(tf.constant([1.0, 0.0]), tf.constant([-1e4, 1e4]))
    assert float(loss) == pytest.approx(1e4)


def test_the_total_adds_lambda_times_cabb():
    assert float(multi_task_loss(tf.constant(2.0), tf.constant(4.0), 0.75)) == 5.0
