"""The page of `cabb ab-test`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.run_report import charts, formats
from experiments import findings_page
from experiments.ab_test.comparison import GOALS, METRICS
from experiments.findings_page import Section, Table

_TONES = {"higher": "good", "lower": "bad", "cannot tell": "tie"}


def answer(results: Mapping[str, Any]) -> str:
    """The verdict on conversion value in one line."""
    lift = results["lifts"]["value"]
    words = {
        "higher": "{t} earns more than {c}",
        "lower": "{t} earns less than {c}",
        "cannot tell": "Cannot tell {t} from {c} by value",
    }[lift["verdict"]]
    return words.format(t=results["treatment"], c=results["control"])


def sentences(results: Mapping[str, Any]) -> list[str]:
    """Goals, how much of what is possible was won, and what a live test would need."""
    arm = {each["name"]: each for each in results["arms"]}
    old, new = arm[results["control"]], arm[results["treatment"]]
    said = [
        f"{_title(goal)}: {_change(results['lifts'][goal])}"
        f" ({_number(goal, old[goal])} to {_number(goal, new[goal])}): {results['lifts'][goal]['verdict']}."
        for goal in GOALS
    ]
    low, high = arm["clicks alone"]["value"], arm["oracle"]["value"]
    if high > low:
        shares = [formats.percent((each["value"] - low) / (high - low), 0) for each in (old, new)]
        said.append(
            f"Of what knowing the truth would add to clicks alone, {results['control']} wins {shares[0]}"
            f" and {results['treatment']} {shares[1]}."
        )
    power = results["power"]["value"]
    needed = power["live_users_for_this_effect"]
    said.append(
        f"With these {results['users']:,} users a live test could see a change of value of"
        f" {formats.percent(power['detectable_live'])} or more; the same users under both arms with common"
        f" random numbers {formats.percent(power['detectable_paired'])}, by true probabilities"
        f" {formats.percent(power['detectable_exact'])}."
        + (f" For the effect seen here a live test needs {needed:,.0f} users." if needed else "")
    )
    return said


def render(results: Mapping[str, Any]) -> str:
    """HTML of what `compare` found, with world, settings and arms added by the command."""
    lifts = results["lifts"]
    rows = [
        (
            words.split(":")[0],
            lifts[metric]["relative"],
            lifts[metric]["relative_interval"],
            _TONES[lifts[metric]["verdict"]],
        )
        for metric, words in METRICS.items()
    ]
    settings = results["settings"]
    return findings_page.render(
        title=f"{results['treatment']} against {results['control']}: {results['world']}",
        subtitle=f"{results['users']:,} simulated users, each shown a list by every arm;"
        f" {_trainings(results)}",
        answer=answer(results),
        sentences=sentences(results),
        sections=[
            Section(
                "Lift of the treatment",
                [
                    "Means by true probabilities; intervals resample users and are paired. For distance,"
                    " leaves and entropy higher is only more diverse, not better."
                ],
                [("Relative change", charts.changes(rows, "relative change", results["control"]))],
                [
                    Table(
                        ["metric", "change", "95 % interval", "absolute", "verdict"],
                        [
                            [
                                words,
                                formats.change(lifts[metric]["relative"], 2),
                                formats.change_interval(lifts[metric]["relative_interval"], 2),
                                formats.significant(lifts[metric]["difference"], 3),
                                lifts[metric]["verdict"],
                            ]
                            for metric, words in METRICS.items()
                        ],
                    )
                ],
            ),
            Section(
                "All arms",
                [
                    "References: a random list; click probability x value without a model; the oracle ranks"
                    " by the true gain of a click. From clicks alone to the oracle is what a conversion model"
                    " can win."
                ],
                tables=[
                    Table(
                        ["arm", *(words.split(":")[0] for words in METRICS.values()), "distinct items"],
                        [
                            [
                                each["name"],
                                *(_number(metric, each[metric]) for metric in METRICS),
                                f"{each['distinct_items']:,.0f}",
                            ]
                            for each in results["arms"]
                        ],
                    )
                ],
            ),
            Section(
                "Power",
                ["Smallest relative change found in four of five tests at the 5 % level."],
                tables=[
                    Table(
                        [
                            "metric",
                            "live, users split in halves",
                            "paired draws",
                            "true probabilities",
                            "live users for the effect seen",
                        ],
                        [
                            [
                                METRICS[metric],
                                *(
                                    formats.percent(power[f"detectable_{kind}"])
                                    for kind in ("live", "paired", "exact")
                                ),
                                formats.count(power["live_users_for_this_effect"]),
                            ]
                            for metric, power in results["power"].items()
                        ],
                    )
                ],
            ),
            Section(
                "What is assumed",
                [
                    f"Each user comes once and sees a list of {settings['places']} of"
                    f" {settings['candidates']} candidates on the page of the first item clicked. Both arms"
                    " get the same candidates and the same click model, which is exact given the page; they"
                    " rank by its click probability x p_conversion x"
                    f" {'the price of the item' if settings['value'] == 'price' else '1'}. Users read from"
                    " the top, click at most once, and then behave by the formulas that made the logs. There"
                    " is no feedback into training.",
                ],
            ),
        ],
    )


def _trainings(results: Mapping[str, Any]) -> str:
    count = {arm["name"]: arm["trainings"] for arm in results["arms"]}
    one, other = count[results["control"]], count[results["treatment"]]
    if one == other == 1:
        return "one training of either arm, whose luck the intervals do not know"
    return f"{one} trainings of {results['control']} and {other} of {results['treatment']}"


def _title(metric: str) -> str:
    words = METRICS[metric].split(":")[0]
    return words[0].upper() + words[1:]


def _change(lift: Mapping[str, Any]) -> str:
    bounds = formats.change_interval(lift["relative_interval"], 2)
    return f"{formats.change(lift['relative'], 2)}, interval {bounds}"


def _number(metric: str, value: float) -> str:
    return (
        formats.percent(value, 2) if metric in ("caba_rate", "ordered", "clicked") else formats.decimal(value)
    )
