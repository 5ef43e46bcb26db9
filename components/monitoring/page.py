"""The monitor's page: one HTML file with nothing to load from anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from components.anomaly_gate.anomalies import Distance
from components.run_report import charts, formats


def render(version: str, rows: int, distances: Sequence[Distance], outcomes: Sequence[dict[str, Any]]) -> str:
    """HTML of what a version sees and how well its scores hold; every string from data is escaped.

    Args:
        version: in words.
        rows: scored rows in the log.
        distances: as `skew` gives them.
        outcomes: as `judged` gives them; empty if no outcomes are known.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _source(__package__, name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=formats.count, decimal=formats.decimal, percent=formats.percent)
    return environment.get_template("monitor.html.j2").render(
        version=version,
        rows=rows,
        distances=distances,
        moved=[each for each in distances if not each.value <= each.threshold],
        outcomes=outcomes,
        ne=_by_day(outcomes, "ne", "NE"),
        calibration=_by_day(outcomes, "calibration", "calibration"),
        style=Markup(_source("components.run_report", "report.css")),
    )


def _by_day(outcomes: Sequence[dict[str, Any]], metric: str, title: str) -> Markup:
    days = sorted({each["day"] for each in outcomes if each["day"] is not None})
    if len(days) < 2:
        return Markup("")
    curves = [
        charts.Line(
            output,
            tone,
            [
                (days.index(each["day"]) + 1, each[metric])
                for each in outcomes
                if each["day"] is not None and each["output"] == output
            ],
        )
        for output, tone in zip(dict.fromkeys(each["output"] for each in outcomes), "abc", strict=False)
    ]
    return charts.lines(curves, "days", title, (1.0, "1"))


def _source(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
