"""The pages of experiments: results in, one HTML file out, with nothing to load from anywhere else."""

from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from components.run_report import charts, formats
from experiments.verdicts import FAILS, HOLDS

TONES = {HOLDS: "good", FAILS: "bad"}


def render(template: str, results: dict[str, Any], **more: Any) -> str:
    """HTML of one experiment. The same results give the same bytes; every string is escaped.

    Args:
        template: a file of experiments/ that extends page.html.j2.
        results: what it shows as `r`; undefined numbers are None.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=formats.count,
        decimal=formats.decimal,
        percent=formats.percent,
        change=formats.change,
        interval=formats.interval,
        yaml=lambda tree: yaml.safe_dump(tree, sort_keys=False, allow_unicode=True),
        bounds=lambda bounds: formats.change_interval(bounds, 2),
        tone=lambda verdict: TONES.get(verdict, "tie"),
        change_interval=lambda bounds: formats.change_interval([b and b - 1 for b in bounds]),
    )
    style = Markup(resources.files("components.run_report").joinpath("report.css").read_text("utf-8"))
    return environment.get_template(template).render(r=results, style=style, **more)


def render_tables(results: dict[str, Any]) -> str:
    """The page of `cabb experiment tables`."""
    shown = {1: ("overall",), 2: ("caba", "cabb"), 3: ("caba", "cabb")}
    return render(
        "tables.html.j2",
        results,
        chart={
            table["number"]: [
                (results["data"]["base_rates"][target]["title"], _changes(table, target))
                for target in shown[table["number"]]
            ]
            for table in results["tables"]
        },
    )


def render_mal(results: dict[str, Any]) -> str:
    """The page of `cabb experiment mal`."""
    return render(
        "mal.html.j2",
        results,
        chart=[
            _gains(
                [
                    (row["name"], row["gauc"]["against"])
                    for row in table["rows"]
                    if row["cost"] and row["gauc"]["against"]
                ],
                "GAUC",
            )
            for table in results["tables"]
        ],
        by_gain=_gains([(row["title"], row) for row in results["by_gain"]], "GAUC"),
        by_category=_gains([(row["category"], row) for row in results["by_category"]["rows"]], "AUC"),
    )


def _gains(named: Sequence[tuple[str, dict[str, Any]]], metric: str) -> Markup:
    """Changes of a metric relative to Base, by name."""
    rows = []
    for name, against in named:
        low, high = bounds = against["interval"]
        if all(map(formats.is_number, bounds)):
            tone = "good" if low > 0 else "bad" if high < 0 else "tie"
            rows.append((name, against["relative"], bounds, tone))
    return charts.changes(rows, f"change in {metric} (right is better)", "Base")


def _changes(table: dict[str, Any], target: str) -> Markup:
    """Every row's relative NE change against the table's reference, after recalibration."""
    rows = []
    for row in table["rows"]:
        against = row["targets"][target]["against"]
        if against and all(map(formats.is_number, (against["ratio"], *against["ratio_interval"]))):
            low, high = (bound - 1 for bound in against["ratio_interval"])
            tone = "good" if high < 0 else "bad" if low > 0 else "tie"
            rows.append((row["name"], against["ratio"] - 1, (low, high), tone))
    return charts.changes(rows, "change in NE after recalibration (left is better)", table["reference"])


def _source(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
