"""Treatment against control: lifts with intervals by user, and what a test of this size can see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.ab_test.arms import Shown
from simulator.catalog import Catalog

RESAMPLES = 1000
LEVEL = 0.95
POWER_Z = 1.959964 + 0.841621
"""Two-sided 5 % and 80 % power: the detectable effect is this many standard errors."""

METRICS = {
    "value": "conversion value per user",
    "ordered": "orders per user",
    "clicked": "clicks per user",
    "caba_rate": "CABA rate: orders after a click that hold the clicked item",
    "distance": "intra-list distance: mean 1 - relatedness",
    "leaves": "distinct leaves in a list",
    "entropy": "entropy over leaves of all that is shown, bits",
}
GOALS = ("value", "ordered", "caba_rate")


def compare(
    shown: Mapping[str, Shown], control: str, treatment: str, catalog: Catalog, seed: int = 0
) -> dict[str, Any]:
    """Means of every arm, lifts of the treatment, and the power statement; JSON types only.

    Means are exact given the shoppers' truth. Intervals resample users, the same draw for both arms.
    """
    users = len(shown[control].distance)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(users, np.full(users, 1 / users), size=RESAMPLES).astype(np.float32)
    whole = np.ones((1, users), np.float32)
    arms = []
    for name, each in shown.items():
        means = {metric: _measured(each, metric, whole, catalog)[0] for metric in METRICS}
        items = len(np.unique(each.items))
        arms.append({"name": name, **{k: float(v) for k, v in means.items()}, "distinct_items": items})
    lifts = {}
    for metric in METRICS:
        old, new = (_measured(shown[name], metric, weights, catalog) for name in (control, treatment))
        before, after = (_measured(shown[name], metric, whole, catalog)[0] for name in (control, treatment))
        interval = [float(bound) for bound in np.quantile(new - old, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])]
        relative = [float(bound) for bound in np.quantile(new / old - 1, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])]
        lifts[metric] = {
            "difference": float(after - before),
            "interval": interval,
            "relative": float(after / before - 1),
            "relative_interval": relative,
            "verdict": "higher" if interval[0] > 0 else "lower" if interval[1] < 0 else "cannot tell",
        }
    return {
        "users": users,
        "control": control,
        "treatment": treatment,
        "arms": arms,
        "lifts": lifts,
        "power": {
            metric: _power(shown[control], shown[treatment], metric) for metric in ("value", "ordered")
        },
    }


def _measured(arm: Shown, metric: str, weights: np.ndarray, catalog: Catalog) -> np.ndarray:
    """A metric under resampled users: [resamples] from weights [resamples, users]."""
    if metric == "caba_rate":
        return (weights @ arm.expected["own"]) / (weights @ arm.expected["ordered_after"])
    if metric == "entropy":
        leaf = catalog.leaf[arm.items]
        leaves = int(catalog.leaf.max()) + 1
        places = np.repeat(np.arange(len(leaf)), leaf.shape[1]) * leaves + leaf.ravel()
        counts = np.bincount(places, minlength=len(leaf) * leaves).reshape(len(leaf), leaves)
        share = weights @ counts.astype(np.float32) / weights.sum(axis=1, keepdims=True) / leaf.shape[1]
        return -(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1)
    values = arm.expected[metric] if metric in arm.expected else getattr(arm, metric)
    return (weights @ values) / weights.sum(axis=1)


def _power(control: Shown, treatment: Shown, metric: str) -> dict[str, float]:
    """Smallest relative change that is found 4 times in 5, and the users a live test would need.

    live: users split in halves, each sees one arm and does one thing. paired: every user sees both under
    common random numbers. exact: the same by true probabilities, which is what is reported here.
    """
    one, other = control.drawn[metric], treatment.drawn[metric]
    users, mean = len(one), float(control.expected[metric].mean())
    spread = float(one.var(ddof=1) + other.var(ddof=1))
    difference = treatment.expected[metric] - control.expected[metric]
    effect = abs(float(difference.mean()))
    return {
        "detectable_live": POWER_Z * np.sqrt(spread / (users / 2)) / mean,
        "detectable_paired": POWER_Z * float((other - one).std(ddof=1)) / np.sqrt(users) / mean,
        "detectable_exact": POWER_Z * float(difference.std(ddof=1)) / np.sqrt(users) / mean,
        "live_users_for_this_effect": float(np.ceil(2 * POWER_Z**2 * spread / effect**2)) if effect else None,
    }
