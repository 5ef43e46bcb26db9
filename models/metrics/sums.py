"""The metrics as additive sums and pure functions over them, in NumPy: the reference for TFMA and Keras.

Every state here is an array that is merged by `+`, so a metric of the whole equals the metric of merged
parts, in any order. Rows are columns of equal length: `label` in [0, 1] (a fractional label is that much of a
positive and the rest of a negative), `prediction` a probability, `weight` >= 0 (None: all ones). A prediction
that is not finite makes every metric NaN, and NaN fails a gate.

He et al. 2014: Practical Lessons from Predicting Clicks on Ads at Facebook, ADKDD.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

EPSILON = 1e-7
"""Predictions are clipped to [EPSILON, 1 - EPSILON] before a logarithm, as float32 models can emit exact 0
and 1."""
ROUNDING = 1e-6
"""How far outside [0, 1] a probability may lie for its arithmetic alone."""

CROSS_ENTROPY, WEIGHT, POSITIVE, PREDICTION = range(4)
"""Columns of binary sums: sum w*CE, sum w, sum w*label, sum w*prediction."""

USER_GROUPS = 1024
"""Users are hashed into this many groups; a resample of groups stands for a resample of users."""

AUC_BINS = 4096
_AUC_LOGIT_RANGE = 14.0


class Interval(NamedTuple):
    """Two-sided bounds of a bootstrap distribution."""

    lower: float
    upper: float


def _inside(prediction: np.ndarray) -> np.ndarray:
    """Predictions clipped for a logarithm; NaN where one lies outside [0, 1] by more than rounding."""
    p = np.asarray(prediction, np.float64)
    return np.where(np.abs(p - 0.5) <= 0.5 + ROUNDING, np.clip(p, EPSILON, 1 - EPSILON), np.nan)


def cross_entropy(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Per-row cross-entropy in nats, [n] float64; NaN where the prediction is no probability."""
    y = np.asarray(label, np.float64)
    p = _inside(prediction)
    return -(y * np.log(p) + (1 - y) * np.log1p(-p))


# --- NE, base rate, calibration -----------------------------------------------------------------------------


def binary_sums(label: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """The four additive sums behind NE, base rate and calibration, [4] float64."""
    y = np.asarray(label, np.float64)
    p = np.asarray(prediction, np.float64)
    w = np.ones_like(y) if weight is None else np.asarray(weight, np.float64)
    return np.array([(w * cross_entropy(y, p)).sum(), w.sum(), (w * y).sum(), (w * p).sum()])


def entropy(rate: float) -> float:
    """Entropy of a Bernoulli rate in nats; NaN when only one class occurs."""
    if not 0.0 < rate < 1.0:
        return float("nan")
    return float(-(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)))


def base_rate(sums: np.ndarray) -> float:
    """Weighted mean label; NaN without weight."""
    return float(sums[POSITIVE] / sums[WEIGHT]) if sums[WEIGHT] > 0 else float("nan")


def normalized_entropy(sums: np.ndarray) -> float:
    """Mean cross-entropy over the entropy of the base rate (He et al. 2014, eq. 1); lower is better, 1 is the
    constant base rate, NaN when only one class occurs."""
    if not sums[WEIGHT] > 0:
        return float("nan")
    return float(sums[CROSS_ENTROPY] / sums[WEIGHT] / entropy(base_rate(sums)))


def calibration(sums: np.ndarray) -> float:
    """Sum of predictions over sum of labels (He et al. 2014); above 1 over-predicts; NaN without
    positives."""
    return float(sums[PREDICTION] / sums[POSITIVE]) if sums[POSITIVE] > 0 else float("nan")


def weighted_binary(credit: np.ndarray, weight: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(label, weight) of rows to be ranked by credit in [0, 1]: a row with credit is a positive of that
    weight, one without a negative of weight 1 (MAL 3.1). Labels of 0 and 1 stay as they are."""
    credit = np.asarray(credit, np.float64)
    positive = credit > 0
    own = np.where(positive, credit, 1.0)
    return positive.astype(np.float64), own if weight is None else own * np.asarray(weight, np.float64)


# --- AUC ----------------------------------------------------------------------------------------------------


def auc(label: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Exact weighted AUC, ties count one half; NaN when only one class occurs.

    sum_pos w_i (sum_{neg below} w_j + 1/2 sum_{neg tied} w_j) / (W+ W-).
    """
    value, _, _ = auc_by_user(np.zeros(len(label), np.int64), label, prediction, weight)
    return float(value[0]) if len(value) else float("nan")


def auc_histogram(label: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Additive state of the binned AUC, [2, AUC_BINS]: weight of negatives and of positives by bin of
    logit(p).

    Bins are equal in logit, so that low conversion rates are resolved as finely as high ones: a bin is 0.7 %
    of the odds wide. A prediction that is no probability makes the state NaN.
    """
    y = np.asarray(label, np.float64)
    p = _inside(prediction)
    w = np.ones_like(y) if weight is None else np.asarray(weight, np.float64)
    if not np.isfinite(p).all():
        return np.full((2, AUC_BINS), np.nan)
    place = (np.log(p) - np.log1p(-p) + _AUC_LOGIT_RANGE) / (2 * _AUC_LOGIT_RANGE) * AUC_BINS
    bins = np.clip(place, 0, AUC_BINS - 1).astype(np.int64)
    return np.stack([np.bincount(bins, w * (1 - y), AUC_BINS), np.bincount(bins, w * y, AUC_BINS)])


def auc_of_histogram(histogram: np.ndarray) -> float:
    """AUC of a binned state; pairs inside one bin count one half; NaN when only one class occurs."""
    negative, positive = histogram
    below = np.cumsum(negative) - negative
    pairs = negative.sum() * positive.sum()
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs > 0 else float("nan")


class GroupedAUC(NamedTuple):
    """GAUC and the share of weight it rests on."""

    gauc: float
    coverage: float


def gauc(
    user: np.ndarray, label: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None
) -> GroupedAUC:
    """sum_u clicks(u) AUC_u / sum_u clicks(u) over users with both classes, and their share of all clicks.

    `user` is any array of ids. With weights, clicks(u) is the sum of the user's weights.
    """
    _, codes = np.unique(np.asarray(user), return_inverse=True)
    value, mass, total = auc_by_user(codes, label, prediction, weight)
    counted = ~np.isnan(value)
    if total > 0 and not np.isfinite(np.asarray(prediction, np.float64)).all():
        return GroupedAUC(float("nan"), float("nan"))
    covered = mass[counted].sum()
    return GroupedAUC(
        float((mass[counted] * value[counted]).sum() / covered) if covered > 0 else float("nan"),
        float(covered / total) if total > 0 else float("nan"),
    )


def auc_by_user(
    codes: np.ndarray, label: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """AUC_u [users] (NaN with one class), weight of each user [users], total weight; codes are 0..users-1."""
    y = np.asarray(label, np.float64)
    p = np.asarray(prediction, np.float64)
    w = np.ones_like(y) if weight is None else np.asarray(weight, np.float64)
    if not len(y):
        return np.zeros(0), np.zeros(0), 0.0
    codes = np.asarray(codes).reshape(-1)
    users = int(codes.max()) + 1
    order = np.lexsort((p, codes))
    codes, y, p, w = codes[order], y[order], p[order], w[order]
    negative, positive = w * (1 - y), w * y
    # Runs of equal (user, prediction): a tie shares the mean of the negatives below and up to it.
    starts = np.flatnonzero(np.r_[True, (codes[1:] != codes[:-1]) | (p[1:] != p[:-1])])
    run_user = codes[starts]
    run_negative = np.add.reduceat(negative, starts)
    run_positive = np.add.reduceat(positive, starts)
    negative_of_user = np.bincount(codes, negative, users)
    positive_of_user = np.bincount(codes, positive, users)
    before_user = np.cumsum(negative_of_user) - negative_of_user
    below = np.cumsum(run_negative) - run_negative - before_user[run_user]
    won = np.bincount(run_user, run_positive * (below + run_negative / 2), users)
    pairs = negative_of_user * positive_of_user
    value = np.full(users, np.nan)
    np.divide(won, pairs, out=value, where=pairs > 0)
    value[np.bincount(codes, ~np.isfinite(p), users) > 0] = np.nan
    return value, np.bincount(codes, w, users), float(w.sum())


# --- Users --------------------------------------------------------------------------------------------------


def user_hash(user_ids: np.ndarray) -> np.ndarray:
    """Stable 64-bit FNV-1a of user ids (bytes or str), [n] uint64: the same in every process and on every
    machine."""
    ids = np.asarray(user_ids)
    if ids.dtype.kind != "S":
        ids = np.char.encode(ids.astype(str), "utf-8")
    value = np.full(ids.shape, 0xCBF29CE484222325, np.uint64)
    if ids.itemsize == 0 or not ids.size:
        return value
    letters = np.ascontiguousarray(ids).view(np.uint8).reshape(len(ids), ids.itemsize)
    length = np.char.str_len(ids)
    for column in range(ids.itemsize):
        inside = column < length
        mixed = (value ^ letters[:, column]) * np.uint64(0x100000001B3)
        value = np.where(inside, mixed, value)
    # FNV's low bits are weak on short ids: fold the high half in (a 64-bit finaliser, Steele et al. 2014).
    value ^= value >> np.uint64(30)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    return value


def user_group(user_ids: np.ndarray) -> np.ndarray:
    """Bootstrap group of each user, [n] int64 in [0, USER_GROUPS)."""
    return (user_hash(user_ids) % np.uint64(USER_GROUPS)).astype(np.int64)


# --- Paired change against a baseline -----------------------------------------------------------------------

CANDIDATE, BASELINE, PAIR_WEIGHT, PAIR_POSITIVE = range(4)
"""Columns of paired sums: sum w*CE of the candidate, of the baseline, sum w, sum w*label."""


def paired_sums(
    group: np.ndarray,
    label: np.ndarray,
    candidate: np.ndarray,
    baseline: np.ndarray,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Additive state of the paired comparison, [USER_GROUPS, 4] float64; `group` as from user_group."""
    y = np.asarray(label, np.float64)
    w = np.ones_like(y) if weight is None else np.asarray(weight, np.float64)
    columns = (w * cross_entropy(y, candidate), w * cross_entropy(y, baseline), w, w * y)
    return np.stack([np.bincount(group, column, USER_GROUPS) for column in columns], axis=1)


def ne_change(sums: np.ndarray) -> float:
    """NE(candidate) - NE(baseline) on the same rows; below 0 the candidate is better; NaN with one class."""
    return float(_ne_change(sums.sum(axis=0)))


def ne_ratio(sums: np.ndarray) -> float:
    """NE(candidate) / NE(baseline) on the same rows."""
    total = sums.sum(axis=0)
    return float(total[CANDIDATE] / total[BASELINE]) if total[BASELINE] > 0 else float("nan")


def ne_change_interval(
    sums: np.ndarray, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile bounds of NE(candidate) - NE(baseline) under a bootstrap by user.

    Groups of users are drawn with replacement (each group is a fixed random set of users), `resamples` times,
    from a fixed seed. Only occupied groups are drawn. NaN with one class or with fewer than two groups.
    """
    occupied = sums[sums[:, PAIR_WEIGHT] > 0]
    nothing = Interval(float("nan"), float("nan"))
    if len(occupied) < 2 or not np.isfinite(_ne_change(sums.sum(axis=0))):
        return nothing
    draws = np.random.default_rng(seed).multinomial(
        len(occupied), np.full(len(occupied), 1 / len(occupied)), size=resamples
    )
    changes = _ne_change(draws @ occupied)
    changes = changes[np.isfinite(changes)]
    if len(changes) < resamples / 2:
        return nothing
    lower, upper = np.quantile(changes, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(lower), float(upper))


def _ne_change(total: np.ndarray) -> np.ndarray:
    """The change of each row of [..., 4] totals."""
    total = np.asarray(total, np.float64)
    with np.errstate(all="ignore"):
        rate = total[..., PAIR_POSITIVE] / total[..., PAIR_WEIGHT]
        base = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
        change = (total[..., CANDIDATE] - total[..., BASELINE]) / total[..., PAIR_WEIGHT] / base
    return np.where((rate > 0) & (rate < 1), change, np.nan)


# --- Platt scaling ------------------------------------------------------------------------------------------


class Platt(NamedTuple):
    """Recalibration p -> sigmoid(slope * logit(p) + intercept)."""

    slope: float
    intercept: float

    def __call__(self, prediction: np.ndarray) -> np.ndarray:
        """Recalibrated probabilities, [n] float64."""
        return _sigmoid(self.slope * _logit(prediction) + self.intercept)


def fit_platt(
    label: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None, *, iterations: int = 50
) -> Platt:
    """Maximum likelihood slope and intercept on logit(p) (Platt 1999) by damped Newton steps.

    Fit on other days than those it is judged on. With one class only it returns the identity.
    """
    y = np.asarray(label, np.float64)
    w = np.ones_like(y) if weight is None else np.asarray(weight, np.float64)
    if not 0 < (w * y).sum() < w.sum():
        return Platt(1.0, 0.0)
    x = np.stack([_logit(prediction), np.ones_like(y)], axis=1)
    coefficients = np.array([1.0, 0.0])
    loss = _platt_loss(x, y, w, coefficients)
    for _ in range(iterations):
        p = _sigmoid(x @ coefficients)
        gradient = x.T @ (w * (p - y))
        hessian = (x * (w * p * (1 - p))[:, None]).T @ x + 1e-9 * w.sum() * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while scale > 1e-6 and _platt_loss(x, y, w, coefficients - scale * step) > loss:
            scale /= 2
        coefficients = coefficients - scale * step
        improved, loss = loss, _platt_loss(x, y, w, coefficients)
        if improved - loss < 1e-12 * w.sum():
            break
    return Platt(float(coefficients[0]), float(coefficients[1]))


def _platt_loss(x, y, w, coefficients):
    z = x @ coefficients
    return float((w * (np.logaddexp(0, z) - y * z)).sum())


def _logit(prediction):
    p = np.clip(np.asarray(prediction, np.float64), EPSILON, 1 - EPSILON)
    return np.log(p) - np.log1p(-p)


def _sigmoid(z):
    return 1 / (1 + np.exp(-np.clip(z, -60, 60)))
