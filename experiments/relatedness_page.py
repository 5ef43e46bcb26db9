"""The page of `cabb experiment relatedness`."""

from __future__ import annotations

from typing import Any

from components.run_report import charts, formats
from experiments.findings_page import Section, Table, render
from experiments.relatedness import METRICS, QUALITY, REFERENCE
from simulator.taxonomy import RELATED_FLOOR

LAMBDA = 0.75
"""The paper's, for the column of the effective lambda."""
_TONES = ("a", "b", "c")


def page(results: dict[str, Any]) -> str:
    """HTML of `relatedness.compose`'s results."""
    worlds = results["worlds"]
    return render(
        title="Which similarity finds the true relatedness",
        subtitle="; ".join(
            f"{name}: {len(world['seeds'])} stores of {world['users']:,} users"
            for name, world in worlds.items()
        ),
        answer=answer(results),
        sentences=sentences(results),
        sections=[
            Section(
                title=METRICS[metric].capitalize(),
                charts=[(_caption(metric, results), _chart(metric, worlds))],
            )
            for metric in (*QUALITY, "auc_across")
        ]
        + [
            Section(
                title=f"World {name}",
                lead=[
                    "Means over seeds; below them the paired difference to "
                    f"{REFERENCE} with its 95 % interval over seeds (Student's t)."
                ],
                tables=[_table(world["rows"])],
            )
            for name, world in worlds.items()
        ],
    )


def answer(results: dict[str, Any]) -> str:
    """Who is better than the reference beyond noise."""
    if not results["better"]:
        return f"No variant is better than {REFERENCE} in every world beyond noise."
    return f"Better than {REFERENCE} in every world beyond noise: {', '.join(results['better'])}."


def sentences(results: dict[str, Any]) -> list[str]:
    """How to read the figures."""
    return [
        "Better means that the 95 % interval of the paired difference is above zero in rank correlation, "
        f"precision at {results['k']} and AUC alike, in each world.",
        f"Truly related is a planted relatedness of {RELATED_FLOOR} or more: complements and categories of "
        "one shelf. The truth is made from the category tree, so what reads the paths (semantic, blend, "
        "back-off) have an advantage here that a real shop need not give them.",
        "A scheme also scales the CABB loss: its effective lambda is lambda times the mean alpha.",
    ]


def _caption(metric: str, results: dict[str, Any]) -> str:
    return f"precision at {results['k']}" if metric == "precision" else metric.replace("_", " ")


def _chart(metric: str, worlds: dict[str, Any]) -> charts.Markup:
    tones = dict(zip(worlds, _TONES * len(worlds), strict=False))
    rows = [
        (
            variant,
            [
                (
                    cell["mean"],
                    [end if end is not None else cell["mean"] for end in cell["interval"]],
                    tones[name],
                )
                for name, world in worlds.items()
                for cell in [world["rows"][variant][metric]]
            ],
        )
        for variant in next(iter(worlds.values()))["rows"]
    ]
    return charts.intervals(rows, list(tones.items()), METRICS[metric])


def _table(rows: dict[str, Any]) -> Table:
    cells = []
    for variant, row in rows.items():
        alpha = row["alpha"]["mean"]
        cells.append(
            [
                variant,
                *(formats.decimal(row[metric]["mean"]) for metric in METRICS),
                formats.decimal(LAMBDA * alpha, 2),
            ]
        )
        cells.append(["difference", *(difference(row[metric]["against"]) for metric in METRICS), ""])
    return Table(["variant", *(m.replace("_", " ") for m in METRICS), f"effective lambda at {LAMBDA}"], cells)


def difference(against: dict[str, Any]) -> str:
    """A paired difference with its interval, as text."""
    low, high = against["interval"]
    if against["mean"] is None or low is None:
        return "\N{EN DASH}"
    return f"{against['mean']:+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "\N{MINUS SIGN}")
