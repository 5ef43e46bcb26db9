"""The page of `cabb explain features`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.run_report import charts, formats
from experiments import findings_page
from experiments.findings_page import Section, Table
from models import features as names

TONES = {names.P_CABA: "b", names.P_CABB: "c", names.P_CONVERSION: "a"}
SHORT = {names.P_CABA: "CABA", names.P_CABB: "CABB", names.P_CONVERSION: "any conversion"}


def sentences(results: Mapping[str, Any]) -> list[str]:
    """What matters most on each head, then the paper's claims with their verdicts."""
    said = []
    for head in results["heads"]:
        first, second = head["families"][:2]
        said.append(
            f"{SHORT[head['output']]}: {_family(first)} matters most, then {_family(second)}."
            f" The top group is {head['groups'][0]['name']}"
            f" (NE {formats.decimal(head['ne'])} {_rise(head['groups'][0])})."
        )
    said += [
        f"{each['claim'][0].upper()}{each['claim'][1:]}: {each['verdict']}"
        f" ({formats.percent(each['share_caba'], 0)} of CABA's importance,"
        f" {formats.percent(each['share_cabb'], 0)} of CABB's;"
        f" difference {formats.change(each['difference'])},"
        f" interval {formats.change_interval(each['interval'])})."
        for each in results["claims"]
    ]
    return said


def render(results: Mapping[str, Any]) -> str:
    """HTML of what `findings` found, with the run and the method added by the command."""
    run, method = results["run"], results["method"]
    legend = [(SHORT[output], tone) for output, tone in TONES.items()]
    head_of = {head["output"]: head for head in results["heads"]}

    def chart(kind: str, value: str, interval: str, title: str, tick=None):
        order = [each["name"] for each in head_of[names.P_CONVERSION][kind]]
        entry = {output: {each["name"]: each for each in head_of[output][kind]} for output in TONES}
        rows = [
            (name, [(entry[o][name][value], entry[o][name][interval], tone) for o, tone in TONES.items()])
            for name in order
        ]
        return charts.intervals(rows, legend, title, tick)

    def table(kind: str) -> Table:
        order = [each["name"] for each in head_of[names.P_CONVERSION][kind]]
        entry = {output: {each["name"]: each for each in head_of[output][kind]} for output in TONES}
        columns = [kind[:-1] if kind == "groups" else "family"]
        columns += ["of family"] * (kind == "groups")
        columns += [f"{SHORT[output]}, NE {formats.decimal(head_of[output]['ne'])}" for output in TONES]
        rows = []
        for name in order:
            cells = [name]
            if kind == "groups":
                cells.append(entry[names.P_CABA][name]["family"])
            for output in TONES:
                each = entry[output][name]
                share = f", {formats.percent(each['share'], 0)}" if "share" in each else ""
                cells.append(f"{_rise(each)}{share}")
            rows.append(cells)
        return Table(columns, rows)

    level = formats.percent(method["level"], 0)
    return findings_page.render(
        title=f"What the heads of {run['name']} look at",
        subtitle=f"{run['model']}, {run['rows']:,} evaluation clicks of {run['users']:,} users",
        answer="Feature importance by head (Click A, Buy B, RQ-4)",
        sentences=sentences(results),
        sections=[
            Section(
                "Families: how personal a head is",
                [
                    "A family's share is its rise of NE over the sum of all families' rises on the same"
                    " head. Shares compare heads; rises of NE do not: the heads predict different things.",
                ],
                [
                    (
                        "Share of the head's importance",
                        chart(
                            "families",
                            "share",
                            "share_interval",
                            "share of importance",
                            lambda v: f"{100 * v:.0f}%",
                        ),
                    ),
                    ("Rise of NE", chart("families", "rise", "interval", "rise of NE when permuted")),
                ],
                [table("families")],
            ),
            Section(
                "Groups of features",
                [
                    "The rise of a head's NE when the group takes the values of another, randomly chosen"
                    " click. Groups that say the same thing stand in for each other: a small rise is no"
                    " proof that the group holds nothing.",
                ],
                [("Rise of NE", chart("groups", "rise", "interval", "rise of NE when permuted"))],
                [table("groups")],
            ),
            Section(
                "How it was measured",
                [
                    f"{method['repeats']} random orders, the same for all groups; intervals hold {level} of"
                    f" {method['resamples']:,} draws of users and orders together. Seed {method['seed']}."
                    " One trained model: how much importance would vary between trainings is not in the"
                    " intervals.",
                ],
            ),
        ],
    )


def _family(family: Mapping[str, Any]) -> str:
    return f"{family['name']} ({formats.percent(family['share'], 0)} of the importance)"


def _rise(entry: Mapping[str, Any]) -> str:
    low, high = entry["interval"]
    return f"{entry['rise']:+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "\N{MINUS SIGN}")
