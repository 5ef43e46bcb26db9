"""The report page: results.json in, one HTML file out, with nothing to load from anywhere else."""

from importlib import resources
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from components.run_report import charts, formats
from models import features

_TONES = {"better": "good", "worse": "bad", "tie": "tie", "not defined": "tie"}
_CURVES = {
    features.P_CONVERSION: ("ne_conversion", "any conversion", "a"),
    features.P_CABA: ("ne_caba", "clicked item", "b"),
    features.P_CABB: ("ne_cabb", "another item", "c"),
}


def render(results: dict[str, Any]) -> str:
    """HTML of one run. The same results give the same bytes; every string from data is escaped.

    Args:
        results: what `results.compose` returns, or results.json read back.
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
        undefined_words=formats.undefined_words,
        decimal=formats.decimal,
        significant=formats.significant,
        percent=formats.percent,
        change=formats.change,
        interval=formats.interval,
        change_interval=formats.change_interval,
        leaf=formats.short_leaf,
        yaml=lambda tree: yaml.safe_dump(tree, sort_keys=False, allow_unicode=True),
        tone=_TONES.get,
    )
    template = environment.get_template("report.html.j2")
    return template.render(
        r=results,
        tiles=_tiles(results),
        last_ne=_last_ne(results["training"]),
        chart=_charts(results),
        style=Markup(_source("report.css")),
    )


def _source(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _tiles(results: dict[str, Any]) -> list[dict[str, str]]:
    """The four numbers to remember."""
    head, short = results["heads"][0], results["baseline"]["short"]
    new, old = head["candidate"], head["baseline"] or {}

    def beside(metric: str, digits: int, meaning: str) -> str:
        return f"{short} {formats.decimal(old.get(metric), digits)}; {meaning}"

    return [
        {
            "title": f"NE against {short}",
            "value": formats.change(head["change"]["relative"]),
            "detail": f"{formats.decimal(new['ne'])}, {beside('ne', 3, 'lower is better')}",
        },
        {
            "title": "AUC",
            "value": formats.decimal(new["auc"]),
            "detail": beside("auc", 3, "higher is better"),
        },
        {
            "title": "Predicted over actual",
            "value": formats.decimal(new["calibration"], 2),
            "detail": beside("calibration", 2, "1 is right"),
        },
        {
            "title": "Clicks that converted",
            "value": formats.percent(head["base_rate"]),
            "detail": f"{formats.count(head['positives'])} of {formats.count(head['rows'])}",
        },
    ]


def _last_ne(training: list[dict[str, Any]]) -> dict[str, float | None]:
    """NE of the last training window that has one, by served output."""
    found: dict[str, float | None] = {}
    for output, (key, _, _) in _CURVES.items():
        values = [row[key] for row in training if formats.is_number(row.get(key))]
        found[output] = values[-1] if values else None
    return found


def _charts(results: dict[str, Any]) -> dict[str, Any]:
    heads = results["heads"]
    labels, similarity = results["labels"], results["similarity"]
    heat = similarity["heat_map"]
    return {
        "changes": charts.changes(
            [
                (h["title"], h["change"]["relative"], h["change"]["interval"], _TONES[h["change"]["words"]])
                for h in heads
            ],
            "change in normalised entropy (left is better)",
            results["baseline"]["short"],
        ),
        "training": charts.lines(
            [
                charts.Line(
                    name, tone, [(row["examples"], row[key]) for row in results["training"] if key in row]
                )
                for key, name, tone in _CURVES.values()
            ],
            "training rows seen",
            "progressive NE",
            reference=(1.0, "1 = always predicting the average"),
        ),
        "calibration": {h["output"]: charts.calibration(h["calibration_bins"], h["title"]) for h in heads},
        "alpha": {
            split["split"]: charts.histogram(
                split["alpha_histogram"], 0.0, 1.0, "alpha of a row with a purchase of another item", "rows"
            )
            for split in labels
        },
        "shares": {
            split["split"]: charts.shares(
                [
                    ("only the clicked item", split["only_caba"], "b"),
                    ("the clicked item and another", split["both"], "a"),
                    ("only another item", split["only_cabb"], "c"),
                ],
                f"What converting clicks led to, {split['split']}",
            )
            for split in labels
        },
        "heat_map": charts.heat_map(_distinct(heat["leaves"]), heat["leaves"], heat["matrix"])
        if len(heat["leaves"]) > 1
        else charts.EMPTY.format("Fewer than two categories have support, so there is nothing to compare."),
    }


def _distinct(paths: list[str]) -> list[str]:
    """Short names of category paths; two that would read the same get their parent in front."""
    short = [formats.short_leaf(path) for path in paths]
    return [
        formats.short_leaf(path, 2) if short.count(name) > 1 else name
        for path, name in zip(paths, short, strict=True)
    ]
