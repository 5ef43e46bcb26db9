"""Treatment against control: lifts with intervals by user, and what a test of this size can see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    shown: Mapping[str, Sequence[Shown]], control: str, treatment: str, catalog: Catalog, seed: int = 0
) -> dict[str, Any]:
    """Means of every arm, lifts of the treatment, and the power statement; JSON types only.

    Means are exact given the shoppers' truth, and over the trainings of an arm. Intervals draw users, the
    same for both arms, and trainings, each arm's by themselves; few trainings understate their own spread.

    Args:
        shown: arm -> what each of its trainings leads to, for the same users.
    """
    users = len(shown[control][0].distance)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(users, np.full(users, 1 / users), size=RESAMPLES).astype(np.float32)
    whole = np.ones((1, users), np.float32)
    trainings = {name: _shares(rng, len(each)) for name, each in shown.items()}
    arms = []
    for name, each in shown.items():
        means = {metric: float(_mean(each, metric, whole, catalog)[0]) for metric in METRICS}
        items = float(np.mean([len(np.unique(one.items)) for one in each]))
        arms.append({"name": name, "trainings": len(each), **means, "distinct_items": items})
    mean_of = {arm["name"]: arm for arm in arms}
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    lifts = {}
    for metric in METRICS:
        old, new = (
            _mean(shown[name], metric, drawn, catalog, trainings[name]) for name in (control, treatment)
        )
        before, after = mean_of[control][metric], mean_of[treatment][metric]
        interval = [float(bound) for bound in np.quantile(new - old, tails)]
        lifts[metric] = {
            "difference": after - before,
            "interval": interval,
            "relative": after / before - 1,
            "relative_interval": [float(bound) for bound in np.quantile(new / old - 1, tails)],
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


def _shares(rng: np.random.Generator, trainings: int) -> np.ndarray:
    """How much each training counts in every resample, [RESAMPLES, trainings]."""
    return rng.multinomial(trainings, np.full(trainings, 1 / trainings), size=RESAMPLES) / trainings


def _mean(
    arm: Sequence[Shown],
    metric: str,
    weights: np.ndarray,
    catalog: Catalog,
    shares: np.ndarray | None = None,
) -> np.ndarray:
    """Mean over trainings (by their shares, if given) of a metric under resampled users, [resamples]."""
    measured = np.stack([_measured(each, metric, weights, catalog) for each in arm], axis=1)
    return measured.mean(axis=1) if shares is None else (measured * shares).sum(axis=1)


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


def _power(control: Sequence[Shown], treatment: Sequence[Shown], metric: str) -> dict[str, float | None]:
    """Smallest relative change that is found 4 times in 5, and the users a live test would need.

    live: users split in halves, each sees one arm and does one thing. paired: every user sees both under
    common random numbers. exact: the same by true probabilities. The spread is that of the first trainings,
    the effect that of all.
    """
    one, other = control[0], treatment[0]
    users, mean = len(one.distance), float(one.expected[metric].mean())
    spread = float(one.drawn[metric].var(ddof=1) + other.drawn[metric].var(ddof=1))
    effect = abs(
        np.mean([each.expected[metric].mean() for each in treatment])
        - np.mean([each.expected[metric].mean() for each in control])
    )
    scale = POWER_Z / np.sqrt(users) / mean

    def paired(kind: str) -> float:
        difference = getattr(other, kind)[metric] - getattr(one, kind)[metric]
        return scale * float(difference.std(ddof=1))

    return {
        "detectable_live": scale * float(np.sqrt(2 * spread)),
        "detectable_paired": paired("drawn"),
        "detectable_exact": paired("expected"),
        "live_users_for_this_effect": float(np.ceil(2 * POWER_Z**2 * spread / effect**2)) if effect else None,
    }
