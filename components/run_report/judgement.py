"""How well the new model and the one in production predict the evaluation clicks, with intervals by user.

The metrics themselves are `models.metrics.sums`; this file decides on which rows and labels they are
asked for. NaN becomes None with the reason in words, because a report and JSON need both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from models import features
from models.metrics import sums
from schemas.settings import Seed, Settings

HEADS = (
    (features.P_CONVERSION, "Any conversion"),
    (features.P_CABA, "Buys the clicked item"),
    (features.P_CABB, "Buys another item"),
)
"""Served outputs in the order of the report, the product's score first, and what each predicts in words."""

SLICES = {features.LEAF: "Category", features.USER_ACTIVITY: "User activity"}


class ReportSettings(Settings):
    """How the report measures and how much it shows.

    Attributes:
        resamples: bootstrap draws of users per interval.
        level: coverage of the intervals.
        seed: of the draws; the default is the gate's.
        calibration_bins: groups of equal size in the calibration plots.
        slice_rows: largest values shown of every slice column.
        heat_map_leaves: best supported categories in the heat map.
        related_leaves, related_per_leaf: rows and entries of the table of related categories.
    """

    resamples: Annotated[int, Field(ge=100, le=10_000)] = 1000
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: Seed = 0
    calibration_bins: Annotated[int, Field(ge=2, le=50)] = 10
    slice_rows: Annotated[int, Field(ge=1, le=1000)] = 30
    heat_map_leaves: Annotated[int, Field(ge=2, le=60)] = 25
    related_leaves: Annotated[int, Field(ge=1, le=100)] = 12
    related_per_leaf: Annotated[int, Field(ge=1, le=20)] = 5


@dataclass(frozen=True)
class ScoredClicks:
    """Evaluation clicks with the predictions of both models; every array is [clicks].

    Attributes:
        user: user ids, bytes or str.
        event_time_us: time of the click, microseconds since the epoch, UTC.
        label_of_output: column of the label that each served output is judged against.
        labels: those columns, in [0, 1]; a click is a positive when it is above 0.
        alpha: relatedness weight of the row (CABB eq. 3).
        slices: values of the slice columns, str.
        candidate: predictions of the new model by served output.
        baseline: those of the model it is compared with, or None.
        uncalibrated: those of the new model before calibration; None if it is not calibrated.
    """

    user: np.ndarray
    event_time_us: np.ndarray
    label_of_output: Mapping[str, str]
    labels: Mapping[str, np.ndarray]
    alpha: np.ndarray
    slices: Mapping[str, np.ndarray]
    candidate: Mapping[str, np.ndarray]
    baseline: Mapping[str, np.ndarray] | None
    uncalibrated: Mapping[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.user)

    def label(self, output: str) -> np.ndarray:
        """What a served output is judged against, [clicks]."""
        return self.labels[self.label_of_output[output]]


def judge_heads(clicks: ScoredClicks, settings: ReportSettings) -> list[dict[str, Any]]:
    """One entry per served output: metrics of both models, their paired change, and the calibration bins."""
    group = sums.user_group(clicks.user)
    return [
        _judge_head(clicks, output, _title(title, clicks.label_of_output[output]), group, settings)
        for output, title in HEADS
    ]


def judge_slices(clicks: ScoredClicks, settings: ReportSettings) -> list[dict[str, Any]]:
    """p_conversion inside the largest values of every slice column, largest first."""
    group = sums.user_group(clicks.user)
    return [
        _judge_slice(clicks, name, SLICES.get(name, name), values, group, settings)
        for name, values in clicks.slices.items()
    ]


def _title(title: str, label: str) -> str:
    return f"{title} ({label})" if features.is_credit(label) else title


def _judge_head(
    clicks: ScoredClicks, output: str, title: str, group: np.ndarray, settings: ReportSettings
) -> dict[str, Any]:
    label = clicks.label(output)
    candidate = clicks.candidate[output]
    baseline = clicks.baseline[output] if clicks.baseline is not None else None
    ranked, weight = sums.weighted_binary(label)
    return {
        "output": output,
        "label": clicks.label_of_output[output],
        "title": title,
        "rows": len(label),
        "positives": int(np.count_nonzero(label)),
        "base_rate": _number(label.mean() if len(label) else math.nan),
        "candidate": _scores(clicks.user, group, label, candidate, settings),
        "baseline": _scores(clicks.user, group, label, baseline, settings) if baseline is not None else None,
        "click_order_gauc": _number(sums.gauc(clicks.user, ranked, clicks.event_time_us, weight).gauc),
        "change": _change(group, label, candidate, baseline, settings),
        "alpha_weighted": _alpha_weighted(label, clicks.alpha, candidate, baseline)
        if output == features.P_CABB
        else None,
        "before_calibration": _plain(label, clicks.uncalibrated[output]) if clicks.uncalibrated else None,
        "calibration_bins": _calibration_bins(group, label, candidate, settings),
    }


def _scores(
    user: np.ndarray, group: np.ndarray, label: np.ndarray, prediction: np.ndarray, settings: ReportSettings
) -> dict[str, Any]:
    state = sums.binary_sums(label, prediction)
    ranked, weight = sums.weighted_binary(label)
    grouped = sums.gauc(user, ranked, prediction, weight)
    values = {
        "ne": sums.normalized_entropy(state),
        "auc": sums.auc(ranked, prediction, weight),
        "gauc": grouped.gauc,
        "calibration": sums.calibration(state),
    }
    columns = np.stack([sums.cross_entropy(label, prediction), label, np.ones(len(label))], axis=1)
    draws = _resampled(group, columns, settings)
    return {
        **{name: _number(value) for name, value in values.items()},
        "gauc_coverage": _number(grouped.coverage),
        "ne_interval": _interval(_ne(draws[:, 0], draws[:, 1], draws[:, 2]), settings),
        "undefined": _reasons(values, label, prediction),
    }


def _plain(label: np.ndarray, prediction: np.ndarray) -> dict[str, float | None]:
    state = sums.binary_sums(label, prediction)
    return {
        "ne": _number(sums.normalized_entropy(state)),
        "calibration": _number(sums.calibration(state)),
    }


def _change(
    group: np.ndarray,
    label: np.ndarray,
    candidate: np.ndarray,
    baseline: np.ndarray | None,
    settings: ReportSettings,
) -> dict[str, Any]:
    """Paired change of NE, absolute and relative to the baseline; the interval decides the word."""
    nothing = {"ne": None, "relative": None, "interval": [None, None], "words": "not defined"}
    if baseline is None:
        return nothing | {"undefined": "there is no model to compare with"}
    paired = sums.paired_sums(group, label, candidate, baseline)
    change = sums.ne_change(paired)
    if not math.isfinite(change):
        reasons = _reasons({"ne": math.nan}, label, candidate, baseline)
        return nothing | {"undefined": reasons["ne"]}
    columns = np.stack([sums.cross_entropy(label, candidate), sums.cross_entropy(label, baseline)], axis=1)
    draws = _resampled(group, columns, settings)
    # Both NE share the entropy of the base rate, so it cancels: the ratio is that of the cross-entropies.
    interval = _interval(draws[:, 0] / draws[:, 1] - 1, settings)
    return {
        "ne": change,
        "relative": _number(sums.ne_ratio(paired) - 1),
        "interval": interval,
        "words": _word(interval),
        "undefined": "" if interval[0] is not None else "too few users to resample",
    }


def _word(interval: Sequence[float | None]) -> str:
    low, high = interval
    if low is None or high is None:
        return "not defined"
    return "better" if high < 0 else "worse" if low > 0 else "tie"


def _alpha_weighted(
    label: np.ndarray, alpha: np.ndarray, candidate: np.ndarray, baseline: np.ndarray | None
) -> dict[str, Any]:
    """NE and calibration with alpha as the row weight (CABB eq. 5), not comparable with the unweighted NE."""

    def metrics(prediction: np.ndarray) -> dict[str, float | None]:
        state = sums.binary_sums(label, prediction, alpha)
        return {
            "ne": _number(sums.normalized_entropy(state)),
            "calibration": _number(sums.calibration(state)),
        }

    new, old = metrics(candidate), metrics(baseline) if baseline is not None else None
    defined = old is not None and new["ne"] is not None and old["ne"]
    return {
        "base_rate": _number(sums.base_rate(sums.binary_sums(label, label, alpha))),
        "candidate": new,
        "baseline": old,
        "change": new["ne"] / old["ne"] - 1 if defined else None,
    }


def _calibration_bins(
    group: np.ndarray, label: np.ndarray, prediction: np.ndarray, settings: ReportSettings
) -> list[dict[str, Any]]:
    """Clicks sorted by prediction and cut into bins of equal size; equal predictions stay in one bin."""
    if not len(label) or not np.isfinite(prediction).all():
        return []
    edges = np.unique(
        np.quantile(prediction, np.linspace(0, 1, settings.calibration_bins + 1)[1:-1], method="lower")
    )
    place = np.searchsorted(edges, prediction, side="left")
    bins = []
    for index in np.unique(place):
        inside = place == index
        y = label[inside]
        draws = _resampled(group[inside], np.stack([y, np.ones(len(y))], axis=1), settings)
        low, high = _interval(draws[:, 0] / draws[:, 1], settings)
        bins.append(
            {
                "predicted": float(prediction[inside].mean(dtype=np.float64)),
                "observed": float(y.mean()),
                "low": low,
                "high": high,
                "clicks": int(inside.sum()),
                "positives": int(np.count_nonzero(y)),
            }
        )
    return bins


def _judge_slice(
    clicks: ScoredClicks,
    name: str,
    title: str,
    values: np.ndarray,
    group: np.ndarray,
    settings: ReportSettings,
) -> dict[str, Any]:
    found, codes, sizes = np.unique(values, return_inverse=True, return_counts=True)
    order = np.lexsort((np.arange(len(found)), -sizes))
    kept = order[: settings.slice_rows]
    if name == features.USER_ACTIVITY:
        levels = {level: place for place, level in enumerate(features.USER_ACTIVITY_LEVELS)}
        kept = np.array(sorted(kept, key=lambda code: levels.get(found[code], len(levels))), dtype=int)
    label = clicks.label(features.P_CONVERSION)
    rows = []
    for code in kept:
        inside = codes == code
        y, candidate = label[inside], clicks.candidate[features.P_CONVERSION][inside]
        baseline = clicks.baseline[features.P_CONVERSION][inside] if clicks.baseline is not None else None
        state = sums.binary_sums(y, candidate)
        ne = sums.normalized_entropy(state)
        change = _change(group[inside], y, candidate, baseline, settings)
        rows.append(
            {
                "value": str(found[code]),
                "clicks": int(inside.sum()),
                "positives": int(np.count_nonzero(y)),
                "base_rate": float(y.mean()),
                "ne": _number(ne),
                "baseline_ne": _number(sums.normalized_entropy(sums.binary_sums(y, baseline)))
                if baseline is not None
                else None,
                "change": change["relative"],
                "interval": change["interval"],
                "words": change["words"],
                "calibration": _number(sums.calibration(state)),
                "undefined": _reasons({"ne": ne}, y, candidate).get("ne", ""),
            }
        )
    return {"name": name, "title": title, "rows": rows, "left_out": len(found) - len(kept)}


def _resampled(group: np.ndarray, columns: np.ndarray, settings: ReportSettings) -> np.ndarray:
    """Sums of columns [clicks, k] under a bootstrap by user, [resamples, k]; NaN with fewer than two groups.

    The groups of users and the way they are drawn are those of sums.ne_change_interval, which the gate uses.
    """
    by_group = np.stack([np.bincount(group, column, sums.USER_GROUPS) for column in columns.T], axis=1)
    occupied = by_group[np.bincount(group, minlength=sums.USER_GROUPS) > 0]
    if len(occupied) < 2:
        return np.full((settings.resamples, columns.shape[1]), np.nan)
    return _draws(len(occupied), settings.resamples, settings.seed) @ occupied


@lru_cache(maxsize=4)
def _draws(groups: int, resamples: int, seed: int) -> np.ndarray:
    """How often every group is in every resample, [resamples, groups]."""
    return np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=resamples)


def _ne(cross_entropy: np.ndarray, positives: np.ndarray, rows: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        rate = positives / rows
        base = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
        return np.where((rate > 0) & (rate < 1), cross_entropy / rows / base, np.nan)


def _interval(draws: np.ndarray, settings: ReportSettings) -> list[float | None]:
    """Percentile bounds; [None, None] when most resamples are undefined."""
    defined = draws[np.isfinite(draws)]
    if len(defined) < len(draws) / 2 or not len(defined):
        return [None, None]
    low, high = np.quantile(defined, [(1 - settings.level) / 2, (1 + settings.level) / 2])
    return [float(low), float(high)]


def _reasons(values: Mapping[str, float], label: np.ndarray, *predictions: np.ndarray) -> dict[str, str]:
    """Why a metric is NaN, in words, by metric."""
    if not len(label):
        why = "there are no evaluation clicks"
    elif any(not np.isfinite(each).all() for each in predictions):
        bad = max(int((~np.isfinite(each)).sum()) for each in predictions)
        why = f"a model's score is not a number on {bad:,} click{'s' if bad != 1 else ''}"
    elif not label.any():
        why = "no click has this outcome"
    elif label.all():
        why = "every click has this outcome"
    else:
        why = "no user has clicks with and without this outcome"
    return {name: why for name, value in values.items() if not math.isfinite(value)}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
