"""Calibration maps: monotone, finite, right in the mean, and of NaN nothing but NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calibration import MonotoneMap, fit_map, fit_maps
from models.metrics import sums

KINDS = ("platt", "isotonic")
rows = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, 0.4]), st.floats(0, 1, width=32), st.floats(0, 3, width=32)),
    min_size=1,
    max_size=40,
)


def made(seed=0, n=20_000):
    """Scores that promise twice the odds, and labels of the true ones."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-2.5, 1.2, n)
    label = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(float)
    return label, 1 / (1 + np.exp(-(0.7 * z + np.log(2))))


@pytest.mark.parametrize("kind", KINDS)
@given(rows)
def test_any_map_is_increasing_and_gives_probabilities(kind, rows):
    label, p, weight = (np.array(column) for column in zip(*rows, strict=True))
    found = fit_map(kind, label, p, weight)
    grid = np.concatenate([np.linspace(0, 1, 101), p]).astype(np.float32)
    grid.sort()
    out = found(grid).numpy()
    assert ((out >= 0) & (out <= 1)).all()
    assert (np.diff(out) >= 0).all()
    assert found.slope > 0 and (np.diff(found.x) > 0).all() and (np.diff(found.y) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_it_repairs_scores_on_other_rows(kind):
    found = fit_map(kind, *made(0))
    label, p = made(1)
    before, after = (sums.binary_sums(label, x) for x in (p, found(p.astype(np.float32)).numpy()))
    assert sums.calibration(before) > 1.3
    assert sums.calibration(after) == pytest.approx(1, abs=0.04)
    assert sums.normalized_entropy(after) < sums.normalized_entropy(before) - 0.01
    assert sums.auc(label, found(p.astype(np.float32)).numpy()) == pytest.approx(sums.auc(label, p), abs=1e-4)


def test_platt_is_the_reference():
    label, p = made()
    expected = sums.fit_platt(label, p)
    np.testing.assert_allclose(
        fit_map("platt", label, p)(p.astype(np.float32)), expected(p), rtol=2e-3, atol=1e-4
    )


def test_a_map_of_several_points_follows_numpy():
    found = MonotoneMap((-2.0, 0.0, 1.0), (-3.0, -1.0, 2.0), 1.0)
    z = np.linspace(-5, 5, 41)
    expected = np.interp(z, found.x, found.y) + np.minimum(z + 2, 0) + np.maximum(z - 1, 0)
    got = found((1 / (1 + np.exp(-z))).astype(np.float32)).numpy()
    np.testing.assert_allclose(np.log(got / (1 - got)), expected, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_that_are_no_number_stay_so_and_one_class_changes_nothing(kind):
    label, p = made(n=500)
    out = fit_map(kind, label, p)(np.array([0.1, np.nan, 0.0, 1.0], np.float32)).numpy()
    assert np.isnan(out[1]) and np.isfinite(out[[0, 2, 3]]).all()
    assert fit_map(kind, np.zeros(500), p) == fit_map(kind, np.ones(500), p) == MonotoneMap()


def test_a_score_that_says_the_opposite_is_not_turned_round():
    label, p = made()
    out = fit_map("platt", label, 1 - p)(p[:100].astype(np.float32)).numpy()
    assert out.mean() == pytest.approx(label.mean(), rel=0.05)
    assert (np.diff(out[np.argsort(p[:100])]) >= 0).all()


def test_every_output_has_its_own_label():
    label, p = made()
    maps = fit_maps("platt", {"p": "y", "q": "z"}, {"y": label, "z": 1 - label}, {"p": p, "q": p}, label + 1)
    assert maps["p"] == fit_map("platt", label, p, label + 1)
    assert maps["q"] == fit_map("platt", 1 - label, p, label + 1)
