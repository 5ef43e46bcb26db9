"""Monotone calibration of served probabilities, fitted on held-out days and exported inside the SavedModel.

A map acts on logits, piecewise linear and strictly increasing: it changes what a score promises, not how
clicks rank.

    platt     z -> slope z + intercept by maximum likelihood, on labels pulled inwards by one row of either
              class (Platt 1999), so that scores that separate the classes give no step
    isotonic  isotonic regression of the label on the score (pool adjacent violators), joined by lines between
              the centres of its blocks, so that scores of one block keep their order (centred isotonic
              regression, Oron and Flournoy 2017); slope 1 beyond the first and the last centre
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from scipy.optimize import isotonic_regression

from models.metrics import sums

_SMALLEST_SLOPE = 1e-3


@dataclasses.dataclass(frozen=True)
class MonotoneMap:
    """Logit -> logit: lines through (x, y), `slope` outside of them.

    Attributes:
      x, y: strictly increasing, at least one point each.
      slope: of the ends, > 0.
    """

    x: tuple[float, ...] = (0.0,)
    y: tuple[float, ...] = (0.0,)
    slope: float = 1.0

    def __call__(self, p: tf.Tensor) -> tf.Tensor:
        """Probabilities of any shape -> calibrated ones, float32; NaN stays NaN."""
        # In float64, because a float32 logarithm differs in its last digit with a score's place in the batch:
        # equal scores would part.
        inside = tf.clip_by_value(tf.cast(p, tf.float64), sums.EPSILON, 1 - sums.EPSILON)
        z = tf.math.log(inside) - tf.math.log1p(-inside)
        x, y = tf.constant(self.x, tf.float64), tf.constant(self.y, tf.float64)
        rises = np.append(np.diff(self.y), 0.0) / np.append(np.diff(self.x), 1.0)
        # Segment 0 lies before the first point, segment i between points i - 1 and i.
        segment = tf.reshape(tf.searchsorted(x, tf.reshape(z, [-1])), tf.shape(z))
        point = tf.maximum(segment - 1, 0)
        slopes = tf.constant([self.slope, *rises[:-1], self.slope], tf.float64)
        value = tf.gather(y, point) + tf.gather(slopes, segment) * (z - tf.gather(x, point))
        return tf.where(tf.math.is_nan(p), p, tf.cast(tf.sigmoid(value), tf.float32))


def fit_map(kind: str, label: np.ndarray, p: np.ndarray, weight: np.ndarray | None = None) -> MonotoneMap:
    """The map of one output.

    Args:
      kind: platt or isotonic.
      label: what came true, in [0, 1], [n]; with one class only the result is the identity.
      p: probabilities on days that the model did not learn from, [n].
      weight: of rows, [n]; None: ones.
    """
    y = np.asarray(label, np.float64)
    w = np.ones_like(y) if weight is None else np.asarray(weight, np.float64)
    if not 0 < (w * y).sum() < w.sum():
        return MonotoneMap()
    return {"platt": _platt, "isotonic": _isotonic}[kind](y, np.asarray(p, np.float64), w)


def fit_maps(
    kind: str,
    label_of_output: Mapping[str, str],
    labels: Mapping[str, np.ndarray],
    p: Mapping[str, np.ndarray],
    weight: np.ndarray,
) -> dict[str, MonotoneMap]:
    """A map per served output, each fitted to the label that the output is judged against."""
    return {
        output: fit_map(kind, np.clip(labels[label], 0.0, 1.0), p[output], weight)
        for output, label in label_of_output.items()
    }


def _platt(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> MonotoneMap:
    positive, negative = (w * y).sum(), (w * (1 - y)).sum()
    fitted = sums.fit_platt(y * (positive + 1) / (positive + 2) + (1 - y) / (negative + 2), p, w)
    if fitted.slope >= _SMALLEST_SLOPE:
        return MonotoneMap((0.0,), (fitted.intercept,), fitted.slope)
    # The score says nothing, or the opposite: all but the base rate goes, the order stays.
    rate = (w * y).sum() / w.sum()
    centre = float(_logit(rate) - _SMALLEST_SLOPE * (w * _logit(p)).sum() / w.sum())
    return MonotoneMap((0.0,), (centre,), _SMALLEST_SLOPE)


def _isotonic(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> MonotoneMap:
    used = w > 0
    z, y, w = _logit(p[used]), y[used], w[used]
    order = np.argsort(z, kind="stable")
    z, y, w = z[order], y[order], w[order]
    starts = isotonic_regression(y, weights=w).blocks[:-1]
    mass = np.add.reduceat(w, starts)
    rate = (w * y).sum() / w.sum()
    # One more row at the base rate in every block: none promises 0 or 1.
    level = np.maximum.accumulate((np.add.reduceat(w * y, starts) + rate) / (mass + 1))
    centre = np.add.reduceat(w * z, starts) / mass
    # Only points that rise in float32 as well.
    keep = [0]
    for i in range(1, len(centre)):
        if centre[i] > centre[keep[-1]] + 1e-4 and _logit(level[i]) > _logit(level[keep[-1]]) + 1e-4:
            keep.append(i)
    return MonotoneMap(tuple(centre[keep].tolist()), tuple(_logit(level[keep]).tolist()))


def _logit(p) -> np.ndarray:
    inside = np.clip(np.asarray(p, np.float64), sums.EPSILON, 1 - sums.EPSILON)
    return np.log(inside) - np.log1p(-inside)
