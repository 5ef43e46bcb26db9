"""Weekly rolling origins: train on everything before a week, judge that week, pool the weeks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from components.session_example_gen.splits import SplitWindows
from experiments import measures, tables
from experiments.bootstrap import Bootstrap, Losses
from experiments.measures import TARGETS, Measured
from experiments.prepared import Prepared
from experiments.report import about
from experiments.trials import Plan, Trial
from schemas.errors import InputError

WEEK = timedelta(days=7)
ROWS = (
    tables.LAST_CLICK,
    tables.CABA_ONLY,
    tables.TWO_HEADS,
    tables.OURS,
    tables.PURCHASES_ONLY,
    tables.ANY,
    tables.TREES,
)


class Week(NamedTuple):
    """One origin: its data and the trials of every variant."""

    prepared: Prepared
    trials: dict[str, list[Trial]]


def weeks(windows: SplitWindows, count: int) -> list[SplitWindows]:
    """The last `count` weeks before `eval_end`, first week first; each trains from `train_start` until it.

    Raises:
        InputError: the windows have no end, or training would begin after a week.
    """
    if windows.eval_end is None:
        raise InputError("split.eval_end is missing: rolling weeks are counted back from it")
    starts = [windows.eval_end - WEEK * back for back in range(count, 0, -1)]
    if windows.train_start and starts[0] <= windows.train_start:
        raise InputError(f"{count} weeks before {windows.eval_end} leave no day to train on; use --weeks")
    return [
        SplitWindows(train_start=windows.train_start, eval_start=start, eval_end=start + WEEK)
        for start in starts
    ]


def compose(all_weeks: Sequence[Week], plan: Plan) -> dict[str, Any]:
    """All that the page and rolling.json show, as plain JSON."""
    by_week = [
        {
            name: {target.name: measures.measure(trials, target, week.prepared, plan) for target in TARGETS}
            for name, trials in tables.with_sum(week.trials).items()
        }
        for week in all_weeks
    ]
    names = [name for name in (*ROWS[:3], tables.SUMMED, *ROWS[3:]) if name in by_week[0]]
    pooled = {
        name: {target.name: _pool([each[name][target.name] for each in by_week]) for target in TARGETS}
        for name in names
    }
    some = next(iter(pooled.values()))["overall"].raw
    bootstrap = Bootstrap(some.weight > 0, len(plan.seeds))
    return {
        **about(all_weeks[-1].prepared, plan),
        "weeks": [
            {
                **about(week.prepared, plan)["data"],
                "ne": {
                    name: {target.name: measured[name][target.name].platt.ne() for target in TARGETS}
                    for name in names
                },
            }
            for week, measured in zip(all_weeks, by_week, strict=True)
        ],
        "base_rates": {
            target.name: _base_rate(pooled[names[0]][target.name].raw, target.title) for target in TARGETS
        },
        "reference": tables.LAST_CLICK,
        "rows": [
            {
                "name": name,
                "targets": measures.described(
                    pooled[name], bootstrap, pooled[tables.LAST_CLICK] if name != tables.LAST_CLICK else None
                ),
                "trees": measures.against_trees(pooled[name], pooled[tables.TREES], bootstrap)
                if tables.TREES in pooled and name != tables.TREES
                else None,
            }
            for name in names
        ],
    }


def _pool(parts: Sequence[Measured]) -> Measured:
    return Measured(
        raw=reduce(add, (each.raw for each in parts)),
        platt=reduce(add, (each.platt for each in parts)),
        auc=float(np.mean([each.auc for each in parts])),
    )


def _base_rate(losses: Losses, title: str) -> dict[str, Any]:
    weight, positive = float(losses.weight.sum()), float(losses.positive.sum())
    return {"title": title, "weight": weight, "positive": positive, "base_rate": positive / weight}
