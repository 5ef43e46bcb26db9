"""Intervals of NE and of its differences, by resampling users and training seeds together.

Rows are summed by group of users once; a resample draws groups and seeds with replacement and reads off the
sums. Two variants are compared on the same draws (paired), seed by seed. NE of a variant is the mean over its
seeds, so an interval says what another set of users and another set of seeds would give. With three seeds the
draw of seeds understates their spread (a variance by a third); Platt coefficients are taken as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from models.metrics import sums
from models.metrics.sums import Interval

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Losses:
    """Additive sums of one variant on one label, by group of users: `+` pools rows of several evaluations.

    Attributes:
        cross_entropy, predicted: sum of w * CE and of w * p, float64 [seeds, groups].
        weight, positive: sum of w and of w * label, float64 [groups].
    """

    cross_entropy: np.ndarray
    predicted: np.ndarray
    weight: np.ndarray
    positive: np.ndarray

    @staticmethod
    def of(
        group: np.ndarray,
        label: np.ndarray,
        predictions: Sequence[np.ndarray],
        weight: np.ndarray | None = None,
    ) -> Losses:
        """Sums of rows; `predictions` has one array per seed, `group` is as from `sums.user_group`."""
        label = np.asarray(label, np.float64)
        weight = np.ones(len(label)) if weight is None else np.asarray(weight, np.float64)

        def by_group(values: np.ndarray) -> np.ndarray:
            return np.bincount(group, values, sums.USER_GROUPS)

        losses = [by_group(weight * sums.cross_entropy(label, p)) for p in predictions]
        predicted = [by_group(weight * np.asarray(p, np.float64)) for p in predictions]
        return Losses(np.stack(losses), np.stack(predicted), by_group(weight), by_group(weight * label))

    def __add__(self, other: Losses) -> Losses:
        return Losses(
            self.cross_entropy + other.cross_entropy,
            self.predicted + other.predicted,
            self.weight + other.weight,
            self.positive + other.positive,
        )

    def by_seed(self) -> np.ndarray:
        """NE of every seed, [seeds]."""
        return _ne(self.cross_entropy.sum(axis=1), self.weight.sum(), self.positive.sum())

    def ne(self) -> float:
        """Mean NE over seeds."""
        return float(self.by_seed().mean())

    def calibration(self) -> float:
        """Predicted over actual positives, mean over seeds; NaN without positives."""
        positive = self.positive.sum()
        return float(self.predicted.sum(axis=1).mean() / positive) if positive > 0 else float("nan")


class Difference(NamedTuple):
    """A variant against a reference: NE - NE and NE / NE, of means over seeds, with their intervals."""

    change: float
    interval: Interval
    ratio: float
    ratio_interval: Interval


@dataclass(frozen=True)
class Bootstrap:
    """Draws of user groups and seeds, the same for every variant that is asked about.

    Attributes:
        groups: which groups hold users, bool [USER_GROUPS].
        seeds: number of seeds.
    """

    groups: np.ndarray
    seeds: int
    resamples: int = RESAMPLES
    level: float = LEVEL

    @property
    def draws(self) -> tuple[np.ndarray, np.ndarray]:
        """How often each group in `groups` and what share each seed is drawn, [resamples, .] each."""
        return _draw(int(self.groups.sum()), self.seeds, self.resamples)

    def distribution(self, losses: Losses) -> np.ndarray:
        """Mean NE over the drawn seeds of every resample, [resamples]."""
        users, seeds = self.draws
        loss = users @ losses.cross_entropy[:, self.groups].T
        weight, positive = users @ losses.weight[self.groups], users @ losses.positive[self.groups]
        return _ne((loss * seeds).sum(axis=1), weight, positive)

    def calibration_interval(self, losses: Losses) -> Interval:
        """Percentile bounds of the mean calibration."""
        users, seeds = self.draws
        predicted = users @ losses.predicted[:, self.groups].T
        with np.errstate(all="ignore"):
            return self.bounds((predicted * seeds).sum(axis=1) / (users @ losses.positive[self.groups]))

    def interval(self, losses: Losses) -> Interval:
        """Percentile bounds of the mean NE."""
        return self.bounds(self.distribution(losses))

    def difference(self, losses: Losses, reference: Losses) -> Difference:
        """The paired comparison of two variants on the same rows."""
        mine, other = self.distribution(losses), self.distribution(reference)
        with np.errstate(all="ignore"):
            return Difference(
                losses.ne() - reference.ne(),
                self.bounds(mine - other),
                losses.ne() / reference.ne(),
                self.bounds(mine / other),
            )

    def bounds(self, values: np.ndarray) -> Interval:
        """Percentile bounds of what was read off every resample; NaN if most are not finite."""
        values = values[np.isfinite(values)]
        if len(values) < self.resamples / 2:
            return Interval(float("nan"), float("nan"))
        low, high = np.quantile(values, [(1 - self.level) / 2, (1 + self.level) / 2])
        return Interval(float(low), float(high))


@lru_cache(maxsize=4)
def _draw(groups: int, seeds: int, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each group [resamples, groups] and what share each seed [resamples, seeds] is drawn."""
    rng = np.random.default_rng(0)
    users = rng.multinomial(groups, np.full(groups, 1 / groups), resamples).astype(np.float64)
    return users, rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds


def _ne(loss: np.ndarray, weight: np.ndarray, positive: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        rate = positive / weight
        entropy = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
        return np.where((rate > 0) & (rate < 1), loss / weight / entropy, np.nan)
