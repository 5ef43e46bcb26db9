"""What training rows tell before a model sees one: mean labels, how ids convert, how numbers are spread."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from models import features as names

_RARE_ROWS = 50
"""Ids with fewer rows share one rate: their own would be little but noise."""
_PRIOR_ROWS = 20.0
"""Rows at the base rate that every rate counts beside its own."""
_SMALLEST_RATE = 1e-6
_SMALLEST_SPREAD = 0.1
"""Of log odds. Rates that hardly differ, such as those of a column with one value, are not blown up into
inputs that matter."""
_CLIP = 5.0
"""Standard deviations."""


@dataclasses.dataclass(frozen=True)
class RowStatistics:
    """Statistics of rows, under the rows' weights.

    Attributes:
      rows: how many there are.
      base_rate: mean of each label and credit; NaN without weight.
      label: the one whose rate by id is known.
      by_id: categorical input -> weight of each id's rows, and the part of it that is positive, by fold of
        users, [USER_FOLDS, 2, ids].
      numbers: numeric inputs of some of the rows, [sample, n_numeric].
    """

    rows: int
    base_rate: dict[str, float]
    label: str
    by_id: dict[str, np.ndarray]
    numbers: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros([0, 0], np.float32))

    @classmethod
    def of(
        cls, blocks: Iterable[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]], label: str
    ) -> RowStatistics:
        """All but `numbers`, of (features, labels), [rows, ...] each, block by block; features [rows] of
        integers are ids, but for USER_FOLD, which every block has."""
        rows, total, by_id = 0, 0.0, {}
        for features, labels in blocks:
            weight = labels[names.ROW_WEIGHT].astype(np.float64)
            order = sorted(labels.keys() - set(names.WEIGHTS))
            rows += len(weight)
            total += np.array([weight.sum(), *((weight * labels[name]).sum() for name in order)])
            for name, ids in features.items():
                if ids.ndim == 1 and np.issubdtype(ids.dtype, np.integer) and name != names.USER_FOLD:
                    found = _by_fold(ids, features[names.USER_FOLD], weight, labels[label])
                    by_id[name] = _added(by_id[name], found) if name in by_id else found
        if not rows:
            return cls(0, {}, label, {})
        rates = total[1:] / total[0] if total[0] > 0 else np.full(len(order), np.nan)
        return cls(rows, dict(zip(order, rates.tolist(), strict=True)), label, by_id)

    def id_scores(self, name: str, ids: int) -> np.ndarray:
        """Smoothed log odds of the label by id of a categorical input, float32 [USER_FOLDS + 1, ids]: of the
        rows outside of each fold, and last of all rows; standardised over all rows.

        An id that no row has scores as rare ones do.
        """
        by_fold = _added(self.by_id[name], np.zeros([1, 1, ids]))[..., :ids]
        whole = by_fold.sum(axis=0)
        rare = whole[0] < _RARE_ROWS
        odds = np.stack([self._log_odds(*each, rare) for each in (*(whole - by_fold), whole)])
        odds -= np.average(odds[-1], weights=whole[0])
        spread = np.sqrt(np.average(odds[-1] ** 2, weights=whole[0]))
        return np.clip(odds / max(spread, _SMALLEST_SPREAD), -_CLIP, _CLIP).astype(np.float32)

    def _log_odds(self, weight: np.ndarray, positive: np.ndarray, rare: np.ndarray) -> np.ndarray:
        """Of each id, [ids]; the rare share theirs."""
        count, hits = (np.where(rare, each[rare].sum(), each) for each in (weight, positive))
        rate = (hits + _PRIOR_ROWS * self.base_rate[self.label]) / (count + _PRIOR_ROWS)
        rate = np.clip(rate, _SMALLEST_RATE, 1 - _SMALLEST_RATE)
        return np.log(rate) - np.log1p(-rate)

    def edges(self, bins: int) -> tuple[tuple[float, ...], ...]:
        """Of every numeric input, the distinct ones among its `bins` + 1 quantiles, increasing."""
        quantiles = np.quantile(self.numbers, np.linspace(0, 1, bins + 1), axis=0, method="nearest")
        return tuple(tuple(np.unique(column).tolist()) for column in quantiles.T)


def _by_fold(ids: np.ndarray, fold: np.ndarray, weight: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Weight of the rows of each fold and id, and the part that is positive, [USER_FOLDS, 2, ids]."""
    size = int(ids.max(initial=0)) + 1
    cell = fold.astype(np.int64) * size + ids
    sums = [np.bincount(cell, each, names.USER_FOLDS * size) for each in (weight, weight * label)]
    return np.stack([each.reshape(names.USER_FOLDS, size) for each in sums], axis=1)


def _added(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Sum of two arrays [..., ids] of which one may know fewer ids."""
    longer, shorter = (one, other) if one.shape[-1] >= other.shape[-1] else (other, one)
    padding = [(0, 0)] * (shorter.ndim - 1) + [(0, longer.shape[-1] - shorter.shape[-1])]
    return longer + np.pad(shorter, padding)
