"""How well variants rank clicks by an attribution view's credit: weighted AUC and GAUC, with intervals.

A click with credit is a positive whose weight is the credit, one without is a negative of weight 1 (MAL 3.1,
4.1.3). Intervals resample users and seeds together, as experiments.bootstrap does, and compare two variants
on the same draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from experiments.bootstrap import Bootstrap
from models.metrics import sums
from models.metrics.sums import Interval

_RANKS = 1024
"""Bins of equal size by score, for resampled AUC: a pair inside one of them counts one half."""


class Truth(NamedTuple):
    """Judged rows: bootstrap group and code of the user (0, 1, ...), positive or not, weight; [rows] each."""

    group: np.ndarray
    user: np.ndarray
    positive: np.ndarray
    weight: np.ndarray

    @staticmethod
    def of(group: np.ndarray, user: np.ndarray, credit: np.ndarray) -> Truth:
        """From a credit column, [rows]."""
        positive, weight = sums.weighted_binary(credit)
        return Truth(group, user, positive > 0, weight)

    def where(self, inside: np.ndarray) -> Truth:
        """Some of the rows."""
        return Truth(*(column[inside] for column in self))


@dataclass(frozen=True)
class Estimate:
    """A figure: its mean over seeds, what it is in every resample [resamples], and the share of clicks that
    it rests on."""

    value: float
    draws: np.ndarray
    coverage: float = 1.0


def gauc(truth: Truth, predictions: Sequence[np.ndarray], bootstrap: Bootstrap) -> Estimate:
    """sum_u clicks(u) AUC_u / sum_u clicks(u) over users with both kinds of clicks (MAL eq. 3), clicks(u)
    being their weight; `predictions` has one array [rows] per seed."""
    mass = np.bincount(truth.user, truth.weight)
    positive = np.bincount(truth.user, truth.weight * truth.positive, len(mass))
    both = (positive > 0) & (positive < mass)
    place = np.zeros(len(mass), np.int64)
    place[truth.user] = truth.group
    counted = np.bincount(place[both], mass[both], sums.USER_GROUPS)
    won = []
    for p in predictions:
        value, _, _ = sums.auc_by_user(truth.user, truth.positive, p, truth.weight)
        won.append(np.bincount(place[both], (mass * value)[both], sums.USER_GROUPS))
    users, seeds = bootstrap.draws
    inside = bootstrap.groups
    with np.errstate(all="ignore"):
        draws = (users @ np.stack(won)[:, inside].T * seeds).sum(axis=1) / (users @ counted[inside])
        value = np.mean([each.sum() for each in won]) / counted.sum()
    return Estimate(float(value), draws, float(counted.sum() / mass.sum()))


def auc(truth: Truth, predictions: Sequence[np.ndarray], bootstrap: Bootstrap) -> Estimate:
    """Weighted AUC over all rows: exact, and over histograms of ranks in the resamples."""
    users, seeds = bootstrap.draws
    users = users.astype(np.float32)
    by_seed = [_auc(*(users @ kind[bootstrap.groups] for kind in _histogram(truth, p))) for p in predictions]
    exact = [sums.auc(truth.positive, p, truth.weight) for p in predictions]
    return Estimate(float(np.mean(exact)), (np.stack(by_seed, axis=1) * seeds).sum(axis=1))


def _histogram(truth: Truth, prediction: np.ndarray) -> list[np.ndarray]:
    """Weight of negatives and of positives by group and rank bin, [groups, _RANKS] each."""
    edges = np.unique(np.quantile(prediction, np.linspace(0, 1, _RANKS + 1)[1:-1]))
    cell = truth.group * _RANKS + np.searchsorted(edges, prediction)
    kinds = (truth.weight * ~truth.positive, truth.weight * truth.positive)
    return [
        np.bincount(cell, w, sums.USER_GROUPS * _RANKS).reshape(-1, _RANKS).astype(np.float32) for w in kinds
    ]


def _auc(negative: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """AUC of binned weights, [resamples] from [resamples, _RANKS]."""
    below = np.cumsum(negative, axis=1, dtype=np.float64) - negative
    won = (positive * (below + negative / 2)).sum(axis=1)
    with np.errstate(all="ignore"):
        return won / (negative.sum(axis=1, dtype=np.float64) * positive.sum(axis=1, dtype=np.float64))


class Change(NamedTuple):
    """A figure against a reference's: the relative change and its interval."""

    relative: float
    interval: Interval


def change(mine: Estimate, other: Estimate, bootstrap: Bootstrap) -> Change:
    """The paired comparison of two variants on the same rows."""
    with np.errstate(all="ignore"):
        return Change(mine.value / other.value - 1, bootstrap.bounds(mine.draws / other.draws - 1))
