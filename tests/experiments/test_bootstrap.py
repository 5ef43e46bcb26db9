"""Intervals from group sums are those of scoring resampled rows again."""

import numpy as np
import pytest

from experiments.bootstrap import Bootstrap, Losses
from models.metrics import sums


@pytest.fixture(scope="module")
def scored():
    """(group, label, weight, predictions of two variants by seed) of clicks of 40 users."""
    rng = np.random.default_rng(3)
    n = 1500
    user = rng.integers(0, 40, n)
    group = sums.user_group(np.array([f"u{u}" for u in user]))
    truth = 1 / (1 + np.exp(-(rng.normal(size=n) - 1 + 0.5 * rng.normal(size=40)[user])))
    label = (rng.random(n) < truth).astype(float)

    def noisy(sd):
        z = np.log(truth / (1 - truth))
        return [1 / (1 + np.exp(-(z + sd * rng.normal(size=n)))) for _ in range(3)]

    return group, label, rng.random(n) + 0.1, noisy(0.3), noisy(0.9)


def ne(label, prediction, weight):
    return sums.normalized_entropy(sums.binary_sums(label, prediction, weight))


def test_ne_by_seed_is_that_of_the_metric(scored):
    group, label, weight, good, _ = scored
    losses = Losses.of(group, label, good, weight)
    np.testing.assert_allclose(losses.by_seed(), [ne(label, p, weight) for p in good], rtol=1e-12)
    assert losses.ne() == pytest.approx(np.mean([ne(label, p, weight) for p in good]))


def test_resamples_equal_resampled_rows(scored):
    """Every resample against a plain program: rows of the drawn groups, predictions of the drawn seeds."""
    group, label, weight, good, bad = scored
    occupied = np.bincount(group, minlength=sums.USER_GROUPS) > 0
    bootstrap = Bootstrap(occupied, seeds=3, resamples=20)
    users, seeds = bootstrap.draws
    plain = []
    for drawn, shares in zip(users, seeds, strict=True):
        times = np.zeros(sums.USER_GROUPS)
        times[occupied] = drawn
        w = weight * times[group]
        plain.append([sum(s * ne(label, p[k], w) for k, s in enumerate(shares)) for p in (good, bad)])
    mine = [bootstrap.distribution(Losses.of(group, label, p, weight)) for p in (good, bad)]
    np.testing.assert_allclose(np.array(mine).T, plain, rtol=1e-9)
    # Groups and seeds are drawn with replacement, as many as there are.
    assert (users.sum(axis=1) == occupied.sum()).all() and users.max() > 1
    np.testing.assert_allclose(seeds.sum(axis=1), 1)
    assert len(np.unique(seeds)) > 2


def test_paired_difference_has_the_bounds_of_the_paired_resamples(scored):
    group, label, weight, good, bad = scored
    occupied = np.bincount(group, minlength=sums.USER_GROUPS) > 0
    bootstrap = Bootstrap(occupied, seeds=3, resamples=500)
    mine, other = (Losses.of(group, label, p, weight) for p in (good, bad))
    found = bootstrap.difference(mine, other)
    draws = bootstrap.distribution(mine), bootstrap.distribution(other)
    np.testing.assert_allclose(found.interval, np.quantile(draws[0] - draws[1], [0.025, 0.975]))
    np.testing.assert_allclose(found.ratio_interval, np.quantile(draws[0] / draws[1], [0.025, 0.975]))
    assert found.change == pytest.approx(mine.ne() - other.ne()) and found.interval.upper < 0
    assert found.interval.upper - found.interval.lower < np.ptp(bootstrap.interval(mine))
    assert bootstrap.difference(mine, mine).interval == (0, 0)


def test_seeds_that_differ_widen_the_interval(scored):
    group, label, _, good, bad = scored
    occupied = np.bincount(group, minlength=sums.USER_GROUPS) > 0
    bootstrap = Bootstrap(occupied, seeds=3)
    same = Losses.of(group, label, [good[0]] * 3)
    mixed = Losses.of(group, label, [good[0], bad[0], bad[1]])
    assert np.ptp(bootstrap.interval(mixed)) > np.ptp(bootstrap.interval(same))


def test_pooled_rows_are_the_sum_of_their_losses(scored):
    group, label, weight, good, _ = scored
    first = np.arange(len(label)) < 600
    parts = [
        Losses.of(group[rows], label[rows], [p[rows] for p in good], weight[rows]) for rows in (first, ~first)
    ]
    whole = Losses.of(group, label, good, weight)
    np.testing.assert_allclose((parts[0] + parts[1]).by_seed(), whole.by_seed())


def test_one_class_has_no_interval(scored):
    group, label, _, good, _ = scored
    losses = Losses.of(group, np.zeros_like(label), good)
    bootstrap = Bootstrap(np.bincount(group, minlength=sums.USER_GROUPS) > 0, seeds=3, resamples=50)
    assert np.isnan(bootstrap.interval(losses)).all()
