"""lambda: the uncertainty loss against NumPy, and a bilevel lambda where the right one is known."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from models.balance import FIRST_LAMBDA, TaskBalance
from models.losses import uncertainty_loss


@given(st.floats(0.01, 5), st.floats(0.01, 5), st.floats(-2, 2), st.floats(-2, 2))
def test_uncertainty_loss_is_the_formula(caba, cabb, s1, s2):
    expected = np.exp(-s1) * caba + np.exp(-s2) * cabb + np.log(np.exp(s1 / 2)) + np.log(np.exp(s2 / 2))
    assert float(uncertainty_loss(*map(tf.constant, (caba, cabb, s1, s2)))) == pytest.approx(
        expected, rel=1e-4, abs=1e-5
    )


def test_uncertainty_settles_at_the_ratio_of_the_losses():
    balance = TaskBalance("uncertainty")
    assert float(balance.value()) == pytest.approx(FIRST_LAMBDA)
    optimizer = tf.keras.optimizers.legacy.SGD(0.2)
    for _ in range(300):
        optimizer.minimize(lambda: balance(tf.constant(0.2), tf.constant(0.5)), balance.trainable_variables)
    assert float(balance.value()) == pytest.approx(0.2 / 0.5, rel=0.01)


def test_a_given_lambda_is_equation_6():
    balance = TaskBalance(0.5)
    assert float(balance(tf.constant(2.0), tf.constant(4.0))) == 4.0
    assert not balance.weights


@pytest.mark.parametrize("right", [0.25, 2.0])
def test_bilevel_finds_the_lambda_that_the_held_out_loss_wants(right):
    """L_CABA = w^2, L_CABB = (w - 1)^2: w settles at lambda / (1 + lambda), so a held-out loss
    (w - c)^2 wants lambda = c / (1 - c), though eq. 6 itself would always want less."""
    balance, w, rate = TaskBalance("bilevel"), tf.Variable(0.0), 0.1
    c = right / (1 + right)
    seen = []
    for step in range(1500):
        with tf.GradientTape() as tape:
            caba, cabb = w**2, (w - 1) ** 2
            total = balance(caba, cabb)
        with tf.GradientTape() as second:
            cabb = (w - 1) ** 2
        inner = second.gradient(cabb, [w])
        w.assign_sub(rate * tape.gradient(total, w))
        if step % 5 == 0:
            with tf.GradientTape() as tape:
                held_out = (w - c) ** 2
            balance.outer_step(tape.gradient(held_out, [w]), inner, rate)
            seen.append(math.log(float(balance.value())))
    assert math.exp(np.mean(seen[-100:])) == pytest.approx(right, rel=0.1)
    assert not balance.trainable_variables
