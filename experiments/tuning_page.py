"""The page of a search: how it went, what every setting did, and what to write into the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from components.run_report import charts
from experiments.findings_page import Section, Table, render
from experiments.tuning import Search, settings_of, start_of

if TYPE_CHECKING:
    import optuna

_SHOWN = 10


def snippet(study: optuna.Study, search: Search) -> str:
    """YAML to paste into a configuration; empty if nothing beat the start."""
    changed = settings_of(study, search.plan.model)
    return yaml.safe_dump({"model": changed}, sort_keys=False, default_flow_style=None) if changed else ""


def page(study: optuna.Study, search: Search, name: str) -> str:
    """HTML of a search."""
    done = [each for each in study.trials if each.value is not None and each.state.name == "COMPLETE"]
    given_up = sum(each.state.name == "PRUNED" for each in study.trials)
    best, start = study.best_trial, start_of(study, search.plan.model)
    gain = f", {start.value - best.value:.4f} less than where it started" if start else ""
    plan = search.plan
    known = sorted({key for each in done for key in each.params})
    ranked = sorted(done, key=lambda each: each.value)
    return render(
        title=f"Tuning {plan.model.model} on {name}",
        subtitle=f"{len(done) + given_up} trials, {given_up} of them given up early",
        answer=f"Best NE of the conversion score {best.value:.4f}{gain}.",
        sentences=[
            f"A trial's value is the median over {len(plan.seeds)} seeds, averaged over {search.origins} "
            f"origins of {plan.holdout_days} days each inside the training days; no evaluation day was read.",
            "The best of many noisy values looks better than it is: measure it on other days before you "
            "believe it.",
            "Write into the configuration:" if snippet(study, search) else "Nothing beat the start.",
            snippet(study, search).replace("\n", " "),
        ],
        sections=[
            Section(
                "Every setting by itself",
                ["Each dot is a trial; the large one is the best."],
                [
                    (
                        key,
                        charts.scatter(
                            [
                                (each.params[key], each.value, each is ranked[0])
                                for each in done
                                if key in each.params
                            ],
                            key.replace("_", " "),
                            "NE",
                        ),
                    )
                    for key in known
                ],
            ),
            Section(
                "The best trials",
                tables=[
                    Table(
                        ["trial", "NE", *known],
                        [
                            [
                                str(each.number),
                                f"{each.value:.4f}",
                                *(_text(each.params.get(key)) for key in known),
                            ]
                            for each in ranked[:_SHOWN]
                        ],
                    )
                ],
            ),
        ],
    )


def _text(value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)
