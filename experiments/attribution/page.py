"""The page of `cabb attribution`: one HTML file with nothing to load from anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from components.run_report import formats
from experiments.page import render

COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#9c755f", "#e15759")
"""One per view, in the order of models.features.VIEWS; told apart in grey and by people who see few colours
through the order of the bars, which is the legend's."""
WIDTH, NAME_WIDTH, BAR, GAP = 640, 190, 9, 10


def render_attribution(results: dict[str, Any]) -> str:
    """HTML of the tables; the same results give the same bytes.

    Args:
        results: what `tables.compose` returns.
    """
    charts = {
        each["dimension"]: share_bars(
            [(row["value"], [row["shares"][view] for view in results["views"]]) for row in each["rows"]],
            results["views"],
        )
        for each in results["credit"]
    }
    return render("attribution/page.html.j2", results, chart=charts)


def share_bars(rows: Sequence[tuple[str, Sequence[dict[str, float]]]], series: Sequence[str]) -> Markup:
    """Horizontal bars: a group per row, a bar per series, with whiskers of its interval.

    Args:
        rows: (name, per series a mapping of value, low, high); shares in [0, 1].
    """
    top = 24
    group = len(series) * (BAR + 1) + GAP
    height = top + group * len(rows) + 24
    longest = max((bar["high"] for _, bars in rows for bar in bars), default=0) or 1.0
    left, right = NAME_WIDTH, WIDTH - 44

    def x(share: float) -> str:
        return f"{left + (right - left) * share / longest:.1f}"

    parts, place = [], 2.0
    for colour, name in zip(COLOURS, series, strict=False):
        parts.append(
            Markup(
                '<rect x="{}" y="4" width="10" height="10" fill="{}"/>'
                '<text class="label" x="{}" y="13">{}</text>'
            ).format(f"{place:.0f}", colour, f"{place + 14:.0f}", name)
        )
        place += 26 + 6.2 * len(name)
    for k, (name, bars) in enumerate(rows):
        y = top + k * group
        shown = name if len(name) < 30 else name[:28] + "\N{HORIZONTAL ELLIPSIS}"
        parts.append(
            Markup('<text class="label" x="{}" y="{}" text-anchor="end">{}<title>{}</title></text>').format(
                left - 6, f"{y + group / 2:.0f}", shown, name
            )
        )
        for n, (colour, view, bar) in enumerate(zip(COLOURS, series, bars, strict=False)):
            at = y + n * (BAR + 1)
            parts.append(
                Markup(
                    '<rect x="{l}" y="{y}" width="{w}" height="{h}" fill="{c}"><title>{t}</title></rect>'
                    '<line x1="{a}" x2="{b}" y1="{m}" y2="{m}" stroke="currentColor" stroke-opacity="0.6"/>'
                ).format(
                    l=left,
                    y=at,
                    w=f"{float(x(bar['value'])) - left:.1f}",
                    h=BAR,
                    c=colour,
                    t=f"{name}, {view}: {formats.percent(bar['value'])} "
                    f"({formats.percent(bar['low'])} to {formats.percent(bar['high'])})",
                    a=x(bar["low"]),
                    b=x(bar["high"]),
                    m=at + BAR / 2,
                )
            )
    return Markup(
        '<svg class="chart wide" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
        'aria-label="Share of credit by view">{}</svg>'
    ).format(Markup("").join(parts), w=WIDTH, h=height)
