"""What is measured of a variant: NE raw and recalibrated, AUC, calibration, on each label it is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.bootstrap import Bootstrap, Losses
from experiments.prepared import Prepared
from experiments.trials import Plan, Trial
from experiments.verdicts import FAILS, HOLDS, OPEN
from models import features as names
from models.metrics import sums

MARGIN = 1.02
"""NE ratio to LightGBM under which a variant counts as no worse."""


@dataclass(frozen=True)
class Target:
    """A label that variants are judged on, and the output that answers it.

    Attributes:
        scheme: similarity whose alpha weighs the rows, the same for every variant; None: rows count alike.
    """

    name: str
    title: str
    output: str
    label: str
    scheme: str | None = None


CABA = Target("caba", "CABA", names.P_CABA, names.Y_CABA)
CABB = Target("cabb", "CABB", names.P_CABB, names.Y_CABB)
CABB_ALPHA = Target("cabb_alpha", "CABB, alpha-weighted", names.P_CABB, names.Y_CABB, "taxonomy_cf")
OVERALL = Target("overall", "overall", names.P_CONVERSION, names.Y_ANY)
TARGETS = (CABA, CABB, CABB_ALPHA, OVERALL)


@dataclass(frozen=True)
class Measured:
    """A variant on a target: its sums, raw and after Platt scaling of each seed on the held-out training
    days, and its mean AUC over seeds."""

    raw: Losses
    platt: Losses
    auc: float


def predictions(
    trials: Sequence[Trial], target: Target, prepared: Prepared, plan: Plan
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The evaluation rows' scores by seed: raw, and after Platt scaling on the held-out days, [seeds][rows].

    On a weighted target the scaling is fitted under its weights.
    """
    held_out = plan.rows(prepared)[1]
    label = np.asarray(prepared.labels[target.label][held_out], np.float64)
    weight = _weight(target, prepared, held_out) * prepared.labels[names.ROW_WEIGHT][held_out]
    raw = [each.evaluation[target.output] for each in trials]
    platt = [
        sums.fit_platt(label, each.held_out[target.output], weight)(p)
        for each, p in zip(trials, raw, strict=True)
    ]
    return raw, platt


def measure(trials: Sequence[Trial], target: Target, prepared: Prepared, plan: Plan) -> Measured:
    """Judges the trials of a variant, one per seed, on the evaluation rows."""
    rows = prepared.evaluation
    raw, platt = predictions(trials, target, prepared, plan)
    y, group = np.asarray(prepared.labels[target.label][rows]), prepared.user_group[rows]
    w = _weight(target, prepared, rows)
    return Measured(
        raw=Losses.of(group, y, raw, w),
        platt=Losses.of(group, y, platt, w),
        auc=float(np.mean([sums.auc(y, p, w) for p in raw])),
    )


def _weight(target: Target, prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    if target.scheme is None:
        return np.ones(len(rows))
    return np.asarray(prepared.alpha[target.scheme][rows], np.float64)


def draws(prepared: Prepared, plan: Plan) -> Bootstrap:
    """The resamples of the evaluation users and the plan's seeds."""
    occupied = np.bincount(prepared.user_group[prepared.evaluation], minlength=sums.USER_GROUPS) > 0
    return Bootstrap(occupied, len(plan.seeds))


def base_rates(prepared: Prepared, targets: Sequence[Target] = TARGETS) -> dict[str, dict[str, Any]]:
    """Target -> rows, positives and (weighted) base rate of the evaluation days."""
    rows = prepared.evaluation
    found = {}
    for target in targets:
        y = np.asarray(prepared.labels[target.label][rows], np.float64)
        w = _weight(target, prepared, rows)
        rate = float((w * y).sum() / w.sum())
        found[target.name] = {
            "title": target.title,
            "rows": len(y),
            "positives": int(y.sum()),
            "base_rate": rate,
        }
    return found


def described(
    measured: Mapping[str, Measured], bootstrap: Bootstrap, reference: Mapping[str, Measured] | None = None
) -> dict[str, dict[str, Any]]:
    """Numbers for a table row: target -> NE with spread and interval, AUC, calibration, and the change
    against a reference, all of it plain JSON."""
    found = {}
    for name, one in measured.items():
        found[name] = {
            **{
                kind: {
                    "ne": losses.ne(),
                    "by_seed": losses.by_seed().tolist(),
                    "interval": list(bootstrap.interval(losses)),
                    "calibration": losses.calibration(),
                }
                for kind, losses in (("raw", one.raw), ("platt", one.platt))
            },
            "auc": one.auc,
            "against": None,
        }
        if reference is not None:
            difference = bootstrap.difference(one.platt, reference[name].platt)
            found[name]["against"] = {
                "change": difference.change,
                "interval": list(difference.interval),
                "ratio": difference.ratio,
                "ratio_interval": list(difference.ratio_interval),
            }
    return found


def against_trees(
    measured: Mapping[str, Measured], trees: Mapping[str, Measured], bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    """Target -> NE ratio of a row to LightGBM, its interval, and whether the row is no worse by `MARGIN`."""
    found = {}
    for name, one in measured.items():
        difference = bootstrap.difference(one.platt, trees[name].platt)
        low, high = difference.ratio_interval
        verdict = HOLDS if high < MARGIN else FAILS if low > MARGIN else OPEN
        found[name] = {"ratio": difference.ratio, "ratio_interval": [low, high], "no_worse": verdict}
    return found
