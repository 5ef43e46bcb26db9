"""How far two numeric columns are apart, by what TFDV's statistics can prove.

**Quantile distance.** TFDV keeps about ten buckets of equal mass per column. Inside a bucket the values may
lie anywhere, so each histogram gives a lower and an upper bound of the distribution function F. The distance
is the largest gap between the lower bound of one and the upper bound of the other: never more than the
Kolmogorov-Smirnov distance max |F - G|, at most two buckets (about 0.2) less, blind to how far away an
outlier is, and exact about point masses such as NEVER.

**Positive divergence**, for labels: the Jensen-Shannon divergence of the shares of values above 0, which the
statistics hold exactly. (A decile bucket of a 0/1 column changes sides when the share crosses 10 %.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2


class Buckets(NamedTuple):
    """A histogram whose buckets are closed intervals."""

    low: np.ndarray
    high: np.ndarray
    mass: np.ndarray
    """Shares of the values, summing to 1."""


def quantile_histogram(statistics: statistics_pb2.FeatureNameStatistics) -> Buckets | None:
    """The quantile histogram of a numeric column; None for other columns and for columns without a value."""
    for histogram in statistics.num_stats.histograms:
        if histogram.type == statistics_pb2.Histogram.QUANTILES:
            rows = [(b.low_value, b.high_value, b.sample_count) for b in histogram.buckets]
            low, high, count = np.array(rows, np.float64).reshape(-1, 3).T
            if count.sum() > 0:
                return Buckets(low, high, count / count.sum())
    return None


def quantile_distance(a: Buckets, b: Buckets) -> float:
    """The largest provable difference of two distribution functions, in [0, 1]."""
    return max(_above(a, b), _above(b, a), 0.0)


def _above(a: Buckets, b: Buckets) -> float:
    """max over x of (share of `a` surely <= x) - (share of `b` possibly <= x); both only grow, so x = a's
    ends do."""
    surely = np.array([a.mass[a.high <= x].sum() for x in a.high])
    possibly = np.array([b.mass[b.low <= x].sum() for x in a.high])
    return float((surely - possibly).max())


def positive_share(statistics: statistics_pb2.FeatureNameStatistics) -> float | None:
    """Share of values that are not 0, in a column without negatives; None without a value."""
    values = statistics.num_stats.common_stats.tot_num_values
    return 1 - statistics.num_stats.num_zeros / values if values else None


def positive_divergence(a: float, b: float) -> float:
    """Jensen-Shannon divergence in bits of two Bernoulli shares, in [0, 1].

    >>> round(positive_divergence(0.1, 0.2), 3)
    0.014
    """
    p, q = np.array([a, 1 - a]), np.array([b, 1 - b])
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(x > 0, x * np.log2(x / middle), 0.0) for x in (p, q)]
    return float(max(np.sum(parts) / 2, 0.0))
