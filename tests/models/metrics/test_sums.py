"""The NumPy reference against textbook definitions written out in loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics import sums


@st.composite
def rows(draw, *, soft_labels=False):
    n = draw(st.integers(1, 40))
    label = st.floats(0, 1) if soft_labels else st.sampled_from([0.0, 1.0])
    # Few distinct predictions, so that ties happen.
    prediction = st.sampled_from([0.0, 0.01, 0.2, 0.200001, 0.7, 1.0])
    columns = (
        st.lists(label, min_size=n, max_size=n),
        st.lists(prediction, min_size=n, max_size=n),
        st.lists(st.floats(0.1, 5), min_size=n, max_size=n),
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
    )
    return tuple(np.array(draw(column)) for column in columns)


def pairwise_auc(label, prediction, weight):
    won = total = 0.0
    for y1, p1, w1 in zip(label, prediction, weight, strict=True):
        for y0, p0, w0 in zip(label, prediction, weight, strict=True):
            pair = w1 * y1 * w0 * (1 - y0)
            total += pair
            won += pair * (1.0 if p1 > p0 else 0.5 if p1 == p0 else 0.0)
    return won / total if total > 0 else math.nan


@given(rows(soft_labels=True))
def test_auc_is_the_share_of_ordered_pairs(data):
    label, prediction, weight, _ = data
    expected = pairwise_auc(label, prediction, weight)
    assert sums.auc(label, prediction, weight) == pytest.approx(expected, nan_ok=True)


@given(rows())
def test_gauc_averages_auc_by_clicks_over_users_with_both_classes(data):
    label, prediction, weight, user = data
    won = covered = 0.0
    for one in np.unique(user):
        mine = user == one
        value = pairwise_auc(label[mine], prediction[mine], weight[mine])
        if not math.isnan(value):
            won += weight[mine].sum() * value
            covered += weight[mine].sum()
    got = sums.gauc(user, label, prediction, weight)
    assert got.gauc == pytest.approx(won / covered if covered else math.nan, nan_ok=True)
    assert got.coverage == pytest.approx(covered / weight.sum())


@given(rows(), st.integers(1, 5))
def test_sums_of_parts_are_the_sums_of_the_whole(data, parts):
    label, prediction, weight, user = data
    part = np.arange(len(label)) % parts
    group = sums.user_group(user.astype(str))
    for state in (
        lambda keep: sums.binary_sums(label[keep], prediction[keep], weight[keep]),
        lambda keep: sums.auc_histogram(label[keep], prediction[keep], weight[keep]),
        lambda keep: sums.paired_sums(
            group[keep], label[keep], prediction[keep], 1 - prediction[keep], weight[keep]
        ),
    ):
        merged = sum(state(part == i) for i in range(parts))
        np.testing.assert_allclose(merged, state(np.ones(len(label), bool)), rtol=1e-12)


def test_predicting_the_base_rate_has_ne_one():
    label = np.array([0, 0, 0, 1.0])
    assert sums.normalized_entropy(sums.binary_sums(label, np.full(4, 0.25))) == pytest.approx(1.0)


def test_ne_by_hand():
    label, p, w = np.array([1.0, 0.0]), np.array([0.8, 0.4]), np.array([1.0, 3.0])
    loss = (-math.log(0.8) - 3 * math.log(0.6)) / 4
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    state = sums.binary_sums(label, p, w)
    assert sums.normalized_entropy(state) == pytest.approx(loss / entropy)
    assert sums.calibration(state) == pytest.approx((0.8 + 3 * 0.4) / 1)
    assert sums.base_rate(state) == pytest.approx(0.25)


@pytest.mark.parametrize("label", [np.zeros(3), np.ones(3), np.zeros(0)])
def test_one_class_has_no_ne_and_no_auc(label):
    p = np.full(len(label), 0.5)
    assert math.isnan(sums.normalized_entropy(sums.binary_sums(label, p)))
    assert math.isnan(sums.auc(label, p))
    assert math.isnan(sums.auc_of_histogram(sums.auc_histogram(label, p)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1.7, -0.2])
def test_one_prediction_that_is_no_probability_makes_ne_and_binned_auc_nan(wrong):
    label, prediction = np.array([0.0, 1.0, 0.0]), np.array([wrong, 0.4, 0.1])
    assert np.isnan(sums.normalized_entropy(sums.binary_sums(label, prediction)))
    assert np.isnan(sums.auc_of_histogram(sums.auc_histogram(label, prediction)))


def test_a_prediction_of_nan_makes_every_metric_nan():
    label, p = np.array([0.0, 1.0, 1.0]), np.array([0.2, np.nan, 0.4])
    assert math.isnan(sums.normalized_entropy(sums.binary_sums(label, p)))
    assert math.isnan(sums.auc(label, p))
    assert math.isnan(sums.auc_of_histogram(sums.auc_histogram(label, p)))
    assert math.isnan(sums.gauc(np.zeros(3), label, p).gauc)
    paired = sums.paired_sums(np.arange(3), label, p, np.full(3, 0.5))
    assert math.isnan(sums.ne_change(paired))
    assert math.isnan(sums.ne_change_interval(paired).upper)


def test_predictions_of_exactly_zero_and_one_stay_finite():
    state = sums.binary_sums(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert math.isfinite(sums.normalized_entropy(state))


def test_binned_auc_is_near_the_exact_one():
    rng = np.random.default_rng(0)
    z = rng.normal(-4, 1.5, 20_000)
    label = (rng.random(20_000) < 1 / (1 + np.exp(-z))).astype(float)
    p = 1 / (1 + np.exp(-z * 0.9))
    assert sums.auc_of_histogram(sums.auc_histogram(label, p)) == pytest.approx(sums.auc(label, p), abs=1e-4)


def test_user_groups_are_stable_and_even():
    assert (
        sums.user_hash(np.array(["", "a", "user-7"])).tolist()
        == sums.user_hash(np.array([b"", b"a", b"user-7"])).tolist()
    )
    # Width of the array must not matter: "a" alone and beside a longer id.
    assert sums.user_hash(np.array(["a"]))[0] == sums.user_hash(np.array(["a", "longer id"]))[0]
    # A fixed value: other processes and machines must agree.
    assert int(sums.user_group(np.array(["user-7"]))[0]) == GROUP_OF_USER_7
    count = np.bincount(sums.user_group(np.arange(100_000).astype(str)), minlength=sums.USER_GROUPS)
    assert count.min() > 50 and count.max() < 150


GROUP_OF_USER_7 = 567


def _pair(seed, noise, users=3000):
    rng = np.random.default_rng(seed)
    n = 3 * users
    z = rng.normal(-2, 1.2, n)
    label = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(float)
    good, bad = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-(z + noise * rng.normal(size=n))))
    return sums.user_group((np.arange(n) % users).astype(str)), label, good, bad


def test_a_clear_gain_has_an_interval_below_zero_and_its_mirror_above():
    group, label, good, bad = _pair(0, noise=1.0)
    gain = sums.paired_sums(group, label, good, bad)
    interval = sums.ne_change_interval(gain)
    assert interval.lower < sums.ne_change(gain) < interval.upper < 0
    loss = sums.ne_change_interval(sums.paired_sums(group, label, bad, good))
    assert loss.lower > 0
    assert loss.upper == pytest.approx(-interval.lower)


def test_equal_models_change_nothing():
    group, label, good, _ = _pair(1, noise=1.0)
    assert sums.ne_change_interval(sums.paired_sums(group, label, good, good)) == (0.0, 0.0)


@pytest.mark.slow
def test_the_interval_covers_the_truth_as_often_as_it_says():
    truth = sums.ne_change(sums.paired_sums(*_pair(99, noise=0.5, users=400_000)))
    hits = 0
    for seed in range(200):
        state = sums.paired_sums(*_pair(seed, noise=0.5, users=1000))
        interval = sums.ne_change_interval(state, resamples=300)
        hits += interval.lower <= truth <= interval.upper
    assert 178 <= hits <= 198  # 95 % of 200, +- 4 standard errors


def test_ne_change_is_the_difference_of_two_ne():
    group, label, good, bad = _pair(2, noise=0.7)
    expected = sums.normalized_entropy(sums.binary_sums(label, good)) - sums.normalized_entropy(
        sums.binary_sums(label, bad)
    )
    state = sums.paired_sums(group, label, good, bad)
    assert sums.ne_change(state) == pytest.approx(expected)


@settings(max_examples=25)
@given(st.floats(0.6, 2.0), st.floats(-1.5, 1.5))
def test_platt_recovers_a_planted_distortion(slope, intercept):
    rng = np.random.default_rng(3)
    z = rng.normal(-1.5, 1.2, 40_000)
    label = 1 / (1 + np.exp(-z))  # soft labels: no sampling noise
    distorted = 1 / (1 + np.exp(-(z - intercept) / slope))
    platt = sums.fit_platt(label, distorted)
    assert platt.slope == pytest.approx(slope, rel=1e-3)
    assert platt.intercept == pytest.approx(intercept, abs=1e-3)
    np.testing.assert_allclose(platt(distorted), label, atol=1e-3)


def test_platt_of_one_class_is_the_identity():
    assert sums.fit_platt(np.zeros(5), np.full(5, 0.3)) == (1.0, 0.0)


def test_credit_ranks_as_a_weighted_positive():
    label, weight = sums.weighted_binary([0, 0.25, 1], [2, 2, 2])
    assert label.tolist() == [0, 1, 1] and weight.tolist() == [2, 0.5, 2]
    label, weight = sums.weighted_binary([0, 1])
    assert label.tolist() == [0, 1] and weight.tolist() == [1, 1]
