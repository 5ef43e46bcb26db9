"""What a model finds of a simulated store's truth: calibration, what more data would give, what stays hidden.

The same model learns from a store and from one with several times the shoppers, which holds the first one's
shoppers too. Both are judged on the clicks that both stores evaluate. The truth is conditional on what no log
shows (intent, readiness, plan), so no model can reach its NE; the gap to it is reported without a bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from experiments import measures
from experiments.bootstrap import Bootstrap, Losses
from experiments.measures import CABA, CABB, OVERALL, Target
from experiments.prepared import Prepared
from experiments.report import about
from experiments.trials import Plan, Trial
from experiments.variants import Variant
from models.metrics import sums

TARGETS = (CABA, CABB, OVERALL)
TRUTH = {CABA.name: "p_caba", CABB.name: "p_cabb", OVERALL.name: "p_conversion"}
CALIBRATION_BAR = 0.05
"""How far from 1 predicted over actual may be. Where half of its 95 % interval is wider than that, there are
too few clicks to judge it."""
RATIO_BAR = 1.03
"""NE over the NE that the larger store gives."""
DECILES = 10

MODEL = Variant(name="static", title="the product's model, static alpha", scheme="static")


class Learned(NamedTuple):
    """A store's arrays and the trials of MODEL on them."""

    prepared: Prepared
    trials: list[Trial]


def compose(small: Learned, large: Learned, truth: Path, plan: Plan) -> dict[str, Any]:
    """All that the page and recovery.json show, as plain JSON.

    Args:
        truth: the folder of the larger store's truth.
    """
    shared = _shared_rows(small.prepared, large.prepared, truth)
    return {
        **about(large.prepared, plan),
        "small_rows": small.prepared.train_rows,
        "large_rows": large.prepared.train_rows,
        "shared_rows": len(shared),
        "bars": {"calibration": CALIBRATION_BAR, "ratio": RATIO_BAR},
        "calibration": [
            {
                "target": target.title,
                **{
                    name: _calibration(learned, target, plan)
                    for name, learned in (("small", small), ("large", large))
                },
            }
            for target in TARGETS
        ],
        "ne": [_ne(small, large, shared, target, plan) for target in TARGETS],
    }


def whole_chunks(users: int, per_chunk: int) -> int:
    """The nearest number of shoppers that a larger store of the same world repeats exactly: a store is drawn
    chunk by chunk, and one that is cut short is another draw."""
    return max(round(users / per_chunk), 1) * per_chunk


def _shared_rows(small: Prepared, large: Prepared, truth: Path) -> pl.DataFrame:
    """Positions of the clicks that both evaluate, `small` and `large`, with the truth of each."""
    keys = small.keys().columns

    def places(prepared: Prepared, name: str) -> pl.DataFrame:
        return (
            prepared.keys()
            .with_row_index(name)[prepared.train_rows :]
            .with_columns(pl.col(name) - prepared.train_rows)
        )

    known = pl.read_parquet(truth / "clicks-*.parquet")
    both = places(small, "small").join(places(large, "large"), on=keys, how="inner")
    return both.join(known, on=keys, how="inner").sort("small")


def _calibration(learned: Learned, target: Target, plan: Plan) -> dict[str, Any]:
    """Predicted over actual, overall and by decile of the prediction, raw and recalibrated."""
    prepared, rows = learned.prepared, learned.prepared.evaluation
    label, group = np.asarray(prepared.labels[target.label][rows]), prepared.user_group[rows]
    bootstrap = measures.draws(prepared, plan)
    found = {}
    kinds = zip(("raw", "platt"), measures.predictions(learned.trials, target, prepared, plan), strict=True)
    for kind, predictions in kinds:
        whole = Losses.of(group, label, predictions)
        # Deciles of the mean over seeds, so that all seeds are judged on the same clicks.
        order = np.argsort(np.mean(predictions, axis=0), kind="stable")
        deciles = [
            Losses.of(group[part], label[part], [p[part] for p in predictions])
            for part in np.array_split(order, DECILES)
        ]
        found[kind] = {
            "overall": _judged(whole, bootstrap),
            "deciles": [_judged(each, bootstrap) for each in deciles],
        }
    return found


def _judged(losses: Losses, bootstrap: Bootstrap) -> dict[str, Any]:
    positives = float(losses.positive.sum())
    value = losses.calibration()
    low, high = bootstrap.calibration_interval(losses)
    return {
        "positives": positives,
        "predicted": float(losses.predicted.sum(axis=1).mean() / losses.weight.sum()),
        "observed": positives / float(losses.weight.sum()),
        "calibration": value,
        "interval": [low, high],
        "inside": bool(abs(value - 1) <= CALIBRATION_BAR) if (high - low) / 2 <= CALIBRATION_BAR else None,
    }


def _ne(small: Learned, large: Learned, shared: pl.DataFrame, target: Target, plan: Plan) -> dict[str, Any]:
    """NE of both models and of the truth on the shared clicks."""
    rows = {name: shared[name].to_numpy() for name in ("small", "large")}
    first = small.prepared.train_rows
    label = np.asarray(small.prepared.labels[target.label][first + rows["small"]])
    group = small.prepared.user_group[first + rows["small"]]
    bootstrap = Bootstrap(np.bincount(group, minlength=sums.USER_GROUPS) > 0, len(plan.seeds))

    def losses(learned: Learned, name: str) -> Sequence[Losses]:
        both = measures.predictions(learned.trials, target, learned.prepared, plan)
        return [Losses.of(group, label, [p[rows[name]] for p in kind]) for kind in both]

    true = Losses.of(group, label, [shared[TRUTH[target.name]].to_numpy()] * len(plan.seeds))
    found: dict[str, Any] = {
        "target": target.title,
        "base_rate": float(label.mean()),
        "positives": int(label.sum()),
        "truth": true.ne(),
    }
    for kind, mine, more in zip(
        ("raw", "platt"), losses(small, "small"), losses(large, "large"), strict=True
    ):
        difference = bootstrap.difference(mine, more)
        found[kind] = {
            "small": mine.ne(),
            "large": more.ne(),
            "ratio": difference.ratio,
            "ratio_interval": list(difference.ratio_interval),
            "inside": bool(difference.ratio <= RATIO_BAR),
            "gap_small": mine.ne() - true.ne(),
            "gap_large": more.ne() - true.ne(),
        }
    return found
