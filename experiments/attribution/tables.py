"""The tables of `cabb attribution`: positives by view (MAL Table 1), credit by what the touches are, and on a
simulated store how credit orders the touches by their planted uplift. Intervals resample users."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from scipy.stats import rankdata

from components.similarity_transform.attribution_views import AttributionSettings
from experiments.attribution.credited import POSITIONS, Credited
from models.metrics.sums import USER_GROUPS

LEVEL = 0.95
RESAMPLES = 500
MOST_VALUES = 12
"""Values of a dimension that have a row of their own, by credit under the first view."""
OTHERS = "all others"


Estimate = dict[str, float]
"""value, and low and high of its interval."""


def compose(credited: Credited, settings: AttributionSettings) -> dict[str, Any]:
    """All tables as plain values: what the page and the JSON file show."""
    reference = _reference(credited)
    return {
        "source": credited.source,
        "views": list(credited.views),
        "reference": reference,
        "conversions": credited.touches["path"].n_unique(),
        "touches": len(credited.touches),
        "clicks": len(credited.clicks),
        "positives": positives(credited, reference),
        "uplift": uplift_agreement(credited),
        "mta": credited.mta,
        "credit": [
            {"dimension": dimension, "rows": credit_by(credited, dimension)}
            for dimension in credited.dimensions
        ],
        "level": LEVEL,
        "resamples": RESAMPLES,
        "settings": settings.model_dump(mode="json"),
    }


def _reference(credited: Credited) -> str:
    return "last_click" if "last_click" in credited.views else credited.views[0]


def positives(credited: Credited, reference: str) -> list[dict[str, Any]]:
    """Clicks with credit under each view, and their number relative to the reference view's.

    Returns:
        Rows of view, positives, share (of clicks), ratio (an estimate) and mean_credit of a positive.
    """
    groups = credited.clicks["user_group"].to_numpy()
    counts = np.stack(
        [np.bincount(groups, credited.clicks[view].to_numpy() > 0, USER_GROUPS) for view in credited.views],
        axis=1,
    )
    base = credited.views.index(reference)
    return [
        {
            "view": view,
            "positives": int(counts[:, k].sum()),
            "share": float(counts[:, k].sum() / len(groups)),
            "ratio": _ratio(counts[:, [k]], counts[:, [base]])[0],
            "mean_credit": float(credited.clicks[view].sum() / max(int(counts[:, k].sum()), 1)),
        }
        for k, view in enumerate(credited.views)
    ]


def credit_by(credited: Credited, dimension: str) -> list[dict[str, Any]]:
    """Share of a view's credit by the values of a dimension.

    Returns:
        Rows of value, touches (of conversions) and shares: view -> Estimate.
    """
    values = _shown_values(credited, dimension)
    place = pl.col(dimension).replace_strict(
        {value: k for k, value in enumerate(values)}, default=len(values) - 1, return_dtype=pl.Int64
    )
    cell = credited.touches.select(pl.col("user_group") * len(values) + place).to_series().to_numpy()
    shape = (USER_GROUPS, len(values))

    def summed(weight: np.ndarray | None) -> np.ndarray:
        return np.bincount(cell, weight, USER_GROUPS * len(values)).reshape(shape)

    shares = {}
    for view in credited.views:
        sums = summed(credited.touches[view].to_numpy())
        shares[view] = _ratio(sums, sums.sum(axis=1, keepdims=True))
    touches = summed(None).sum(axis=0)
    return [
        {
            "value": value,
            "touches": int(touches[k]),
            "shares": {view: shares[view][k] for view in credited.views},
        }
        for k, value in enumerate(values)
    ]


def _shown_values(credited: Credited, dimension: str) -> list[str]:
    if dimension == "position":
        return list(POSITIONS)
    by_credit = (
        credited.touches.group_by(dimension)
        .agg(pl.col(credited.views[0]).sum())
        .sort(pl.col(credited.views[0]).round(6), dimension, descending=[True, False])
    )[dimension].to_list()
    if dimension == "from the end":
        return sorted(by_credit)
    return by_credit if len(by_credit) <= MOST_VALUES else [*by_credit[: MOST_VALUES - 1], OTHERS]


def uplift_agreement(credited: Credited) -> list[dict[str, Any]]:
    """How a view's credit of a touch orders touches by planted uplift; no rows without the truth.

    Touches of one click example in one path count together; only paths with two examples or more, since the
    credit of a lone touch is 1 under every view.

    Returns:
        Rows of view, pooled (Spearman's rho over all such touches) and within (its mean over paths, 0 where a
        view credits all touches of a path alike), both Estimates.
    """
    if "uplift" not in credited.touches.columns:
        return []
    touches = (
        credited.touches.drop_nulls("uplift")
        .group_by("path", "click", maintain_order=True)
        .agg(pl.col("user_group", "uplift").first(), pl.col(*credited.views).sum())
        .filter(pl.len().over("path") > 1)
    )
    path = touches["path"].rle_id().to_numpy()
    group = touches["user_group"].to_numpy()
    first = np.flatnonzero(np.diff(path, prepend=-1))
    uplift = touches["uplift"].to_numpy().astype(np.float64)
    rows = []
    for view in credited.views:
        credit = touches[view].to_numpy().round(12)
        of_path = _within(path, credit, uplift)
        sums = np.stack(
            [
                np.bincount(group[first], of_path, USER_GROUPS),
                np.bincount(group[first], minlength=USER_GROUPS),
            ],
            axis=1,
        )
        rows.append(
            {
                "view": view,
                "pooled": _correlation(group, rankdata(credit), rankdata(uplift)),
                "within": _ratio(sums[:, [0]], sums[:, [1]])[0],
                "paths": len(first),
            }
        )
    return rows


def _within(path: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of each path, 0 where one of the two is constant."""

    def centred(values: np.ndarray) -> np.ndarray:
        rank = (
            pl.DataFrame({"path": path, "v": values}).select(pl.col("v").rank().over("path"))["v"].to_numpy()
        )
        return rank - (np.bincount(path, rank) / np.bincount(path))[path]

    a, b = centred(x), centred(y)
    scale = np.sqrt(np.bincount(path, a * a) * np.bincount(path, b * b))
    return np.where(scale > 0, np.bincount(path, a * b) / np.where(scale > 0, scale, 1), 0.0)


def _correlation(group: np.ndarray, x: np.ndarray, y: np.ndarray) -> Estimate:
    """Pearson's r of two columns, its interval from resampled sums of the user groups."""
    columns = (np.ones(len(x)), x, y, x * x, y * y, x * y)
    sums = np.stack([np.bincount(group, column, USER_GROUPS) for column in columns], axis=1)

    def r(total: np.ndarray) -> np.ndarray:
        n, sx, sy, sxx, syy, sxy = np.moveaxis(total, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(
                (sxy - sx * sy / n) / np.sqrt(np.maximum((sxx - sx * sx / n) * (syy - sy * sy / n), 0))
            )

    return _estimate(r(sums.sum(axis=0)), r(_resampled(sums)))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> list[Estimate]:
    """Ratios of sums over user groups, [groups, k] over [groups, 1], with intervals."""
    both = np.concatenate([numerator, denominator], axis=1)

    def divided(total: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return total[..., :-1] / total[..., -1:]

    value, again = divided(both.sum(axis=0)), divided(_resampled(both))
    return [_estimate(value[k], again[:, k]) for k in range(len(value))]


def _resampled(sums: np.ndarray) -> np.ndarray:
    """Totals of RESAMPLES resamples of the groups, [resamples, k]."""
    rng = np.random.default_rng(0)
    return rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), RESAMPLES) @ sums


def _estimate(value: float, again: np.ndarray) -> Estimate:
    low, high = np.quantile(again, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return {"value": float(value), "low": float(low), "high": float(high)}
