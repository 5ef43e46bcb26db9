"""The gate's own distances against exact ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from components.anomaly_gate.distances import Buckets, positive_divergence, quantile_distance


def buckets(values, number=10) -> Buckets:
    """Ten buckets of equal mass, as TFDV makes them."""
    ends = np.quantile(values, np.linspace(0, 1, number + 1), method="inverted_cdf")
    return Buckets(ends[:-1], ends[1:], np.full(number, 1 / number))


samples = st.lists(st.integers(-1, 30), min_size=40, max_size=120).map(np.array)


@settings(max_examples=200, deadline=None)
@given(samples, samples)
def test_at_most_the_exact_distance_and_at_most_two_buckets_less(a, b):
    exact = ks_2samp(a, b).statistic
    rounding = 1 / 40  # a bucket of a small sample holds a whole number of rows
    assert (
        exact - 0.2 - 2 * rounding - 1e-9
        <= quantile_distance(buckets(a), buckets(b))
        <= exact + 2 * rounding + 1e-9
    )


def test_symmetric_and_zero_for_itself():
    rng = np.random.default_rng(0)
    a, b = buckets(rng.lognormal(0, 1, 500)), buckets(rng.lognormal(1, 1, 500))
    assert quantile_distance(a, a) == 0 and quantile_distance(a, b) == quantile_distance(b, a) > 0.1


def test_an_outlier_does_not_count():
    values = np.random.default_rng(0).lognormal(0, 1, 500)
    assert quantile_distance(buckets(values), buckets(np.r_[values, 1e9])) == 0


def test_disjoint_columns_are_one_apart():
    assert quantile_distance(buckets(np.arange(50)), buckets(np.arange(50) + 100)) == pytest.approx(1)


@given(st.floats(0, 1), st.floats(0, 1))
def test_positive_divergence_is_jensen_shannon(a, b):
    expected = jensenshannon([a, 1 - a], [b, 1 - b], base=2) ** 2
    assert positive_divergence(a, b) == pytest.approx(np.nan_to_num(expected), abs=1e-9)
