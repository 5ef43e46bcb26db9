"""What training rows tell before a model sees one: mean labels, how ids convert, how numbers are spread."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from models import features as names

_RARE_ROWS = 50
"""Ids with fewer rows share one rate: their own would be little but the labels of those very rows."""
_PRIOR_ROWS = 20.0
"""Rows at the base rate that every rate counts beside its own."""
_SMALLEST_RATE = 1e-6
_CLIP = 5.0
"""Standard deviations."""


@dataclasses.dataclass(frozen=True)
class RowStatistics:
    """Statistics of rows, under the rows' weights.

    Attributes:
      rows: how many there are.
      base_rate: mean of each label and credit; NaN without weight.
      label: the one whose rate by id is known.
      by_id: categorical input -> weight of each id's rows, and the part of it that is positive, [2, ids].
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
        integers are ids."""
        rows, total, by_id = 0, 0.0, {}
        for features, labels in blocks:
            weight = labels[names.ROW_WEIGHT].astype(np.float64)
            order = sorted(labels.keys() - set(names.WEIGHTS))
            rows += len(weight)
            total += np.array([weight.sum(), *((weight * labels[name]).sum() for name in order)])
            for name, ids in features.items():
                if ids.ndim == 1 and np.issubdtype(ids.dtype, np.integer):
                    found = np.stack([np.bincount(ids, each) for each in (weight, weight * labels[label])])
                    by_id[name] = _added(by_id.get(name, np.zeros([2, 0])), found)
        if not rows:
            return cls(0, {}, label, {})
        rates = total[1:] / total[0] if total[0] > 0 else np.full(len(order), np.nan)
        return cls(rows, dict(zip(order, rates.tolist(), strict=True)), label, by_id)

    def id_scores(self, name: str, ids: int) -> np.ndarray:
        """Smoothed log odds of the label by id of a categorical input, standardised over rows, float32 [ids].
        An id that no row has scores as rare ones do."""
        weight, positive = _added(self.by_id[name], np.zeros([2, ids]))[:, :ids]
        rare = weight < _RARE_ROWS
        count, hits = (np.where(rare, each[rare].sum(), each) for each in (weight, positive))
        rate = (hits + _PRIOR_ROWS * self.base_rate[self.label]) / (count + _PRIOR_ROWS)
        rate = np.clip(rate, _SMALLEST_RATE, 1 - _SMALLEST_RATE)
        odds = np.log(rate) - np.log1p(-rate)
        odds -= np.average(odds, weights=weight)
        spread = np.sqrt(np.average(odds**2, weights=weight))
        return np.clip(odds / max(spread, 1e-6), -_CLIP, _CLIP).astype(np.float32)

    def edges(self, bins: int) -> tuple[tuple[float, ...], ...]:
        """Of every numeric input, the distinct ones among its `bins` + 1 quantiles, increasing."""
        quantiles = np.quantile(self.numbers, np.linspace(0, 1, bins + 1), axis=0, method="nearest")
        return tuple(tuple(np.unique(column).tolist()) for column in quantiles.T)


def _added(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Sum of two [2, n] arrays of which one may be shorter."""
    longer, shorter = (one, other) if one.shape[1] >= other.shape[1] else (other, one)
    return longer + np.pad(shorter, [(0, 0), (0, longer.shape[1] - shorter.shape[1])])
