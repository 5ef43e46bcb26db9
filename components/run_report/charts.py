"""The report's charts as inline SVG.

Drawn by hand rather than by a plotting library: colours are CSS classes, so the charts follow the reader's
light or dark scheme; text is real text; and the same numbers always give the same bytes. Every string from
data passes through Markup.format, which escapes it. Charts are 360 units wide, a phone's text column, so that
labels keep their size there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from components.run_report import formats

WIDTH = 360
EMPTY = Markup('<p class="note">{}</p>')


@dataclass(frozen=True)
class Line:
    """One curve: points (x, y) in data units; `tone` is the CSS class suffix of its colour (a, b or c)."""

    name: str
    tone: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class _Axes:
    """A plotting area in SVG units and the linear map from data to it."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        return self.left + (self.right - self.left) * _fraction(value, self.x_range)

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * _fraction(value, self.y_range)

    def y_ticks(self, ticks: Sequence[float], label: Callable[[float], str]) -> Markup:
        """Horizontal grid lines with their values at the left."""
        mark = Markup(
            '<line class="grid" x1="{l}" x2="{r}" y1="{y}" y2="{y}"/>'
            '<text class="tick" x="{t}" y="{y}" dy="0.32em" text-anchor="end">{s}</text>'
        )
        return _join(
            mark.format(l=_u(self.left), r=_u(self.right), y=_u(self.y(v)), t=_u(self.left - 6), s=label(v))
            for v in ticks
        )

    def x_ticks(self, ticks: Sequence[float], label: Callable[[float], str]) -> Markup:
        """Values along the bottom."""
        mark = Markup(
            '<line class="axis" x1="{x}" x2="{x}" y1="{y}" y2="{e}"/>'
            '<text class="tick" x="{x}" y="{t}" text-anchor="middle">{s}</text>'
        )
        return _join(
            mark.format(
                x=_u(self.x(v)), y=_u(self.bottom), e=_u(self.bottom + 4), t=_u(self.bottom + 16), s=label(v)
            )
            for v in ticks
        )

    def base(self) -> Markup:
        """The line along the bottom."""
        return Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            _u(self.left), _u(self.right), _u(self.bottom), _u(self.bottom)
        )

    def titles(self, x_title: str, y_title: str) -> Markup:
        """Axis titles: x under the ticks, y above the axis, both horizontal."""
        return Markup(
            '<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>'
            '<text class="label" x="2" y="{}">{}</text>'
        ).format(_u((self.left + self.right) / 2), _u(self.bottom + 33), x_title, _u(self.top - 12), y_title)


def changes(rows: Sequence[tuple[str, float, Sequence[float], str]], x_title: str, reference: str) -> Markup:
    """Relative changes with intervals, one row each: (name, change, (low, high), tone good | bad | tie).

    `reference` names the line at zero.
    """
    shown = [row for row in rows if formats.is_number(row[1]) and all(map(formats.is_number, row[2]))]
    if not shown:
        return EMPTY.format("No paired change is defined, so there is nothing to draw.")
    row_height, top = 34, 22
    bottom = top + row_height * len(shown)
    low = min(0.0, *(row[2][0] for row in shown))
    high = max(0.0, *(row[2][1] for row in shown))
    pad = 0.06 * (high - low or 1e-3)
    left = min(max(112, 10 + 6 * max(len(row[0]) for row in shown)), 190)
    axes = _Axes(left, top, WIDTH - 14, bottom, (low - pad, high + pad), (0, 1))
    parts = []
    for tick in _ticks(*axes.x_range, 4):
        parts.append(
            Markup(
                '<line class="grid" x1="{x}" x2="{x}" y1="{t}" y2="{b}"/>'
                '<text class="tick" x="{x}" y="{y}" text-anchor="middle">{s}</text>'
            ).format(x=_u(axes.x(tick)), t=top, b=_u(bottom), y=_u(bottom + 16), s=_signed_tick(tick))
        )
    zero = _u(axes.x(0))
    parts.append(
        Markup('<line class="zero" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(zero, top - 4, _u(bottom))
    )
    parts.append(
        Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            _u(min(max(float(zero), 40), WIDTH - 40)), top - 9, reference
        )
    )
    mark = Markup(
        '<g class="tone-{tone}"><title>{name}: {words}</title>'
        '<text class="label" x="2" y="{y}" dy="0.32em">{name}</text>'
        '<line class="whisker" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>'
        '<circle class="dot" cx="{x}" cy="{y}" r="5"/></g>'
    )
    for index, (name, value, bounds, tone) in enumerate(shown):
        parts.append(
            mark.format(
                tone=tone,
                name=name,
                words=f"{formats.change(value)} ({formats.change_interval(list(bounds))})",
                y=_u(top + row_height * (index + 0.5)),
                x=_u(axes.x(value)),
                x1=_u(axes.x(bounds[0])),
                x2=_u(axes.x(bounds[1])),
            )
        )
    parts.append(
        Markup('<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            _u((axes.left + axes.right) / 2), _u(bottom + 33), x_title
        )
    )
    return _svg(bottom + 40, f"Change against {reference}, with intervals", parts)


def intervals(
    rows: Sequence[tuple[str, Sequence[tuple[float, Sequence[float], str]]]],
    legend: Sequence[tuple[str, str]],
    x_title: str,
    tick: Callable[[float], str] | None = None,
) -> Markup:
    """Values with intervals: rows of (name, series of (value, (low, high), tone a | b | c)), top to bottom.

    `legend` has (name, tone) of the series; `tick` writes an axis value.
    """
    shown = [(name, [each for each in series if formats.is_number(each[0])]) for name, series in rows]
    shown = [(name, series) for name, series in shown if series]
    if not shown:
        return EMPTY.format("No value is defined, so there is nothing to draw.")
    step, between, top, write = 9, 10, 24, tick or _plain_tick
    heights = [step * len(series) + between for _, series in shown]
    bottom = top + sum(heights)
    ends = [end for _, series in shown for value, bounds, _ in series for end in (value, *bounds)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    pad = 0.04 * (high - low or 1e-3)
    axes = _Axes(136, top, WIDTH - 14, bottom, (low - pad, high + pad), (0, 1))
    grid = Markup(
        '<line class="grid" x1="{x}" x2="{x}" y1="{t}" y2="{b}"/>'
        '<text class="tick" x="{x}" y="{y}" text-anchor="middle">{s}</text>'
    )
    parts = [
        grid.format(x=_u(axes.x(v)), t=top, b=_u(bottom), y=_u(bottom + 16), s=write(v))
        for v in _ticks(*axes.x_range, 4)
    ]
    parts.append(
        Markup('<line class="zero" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
            _u(axes.x(0)), top, _u(bottom)
        )
    )
    mark = Markup(
        '<g class="tone-{tone}"><title>{words}</title>'
        '<line class="whisker" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>'
        '<circle class="dot" cx="{x}" cy="{y}" r="3.5"/></g>'
    )
    start = float(top)
    for (name, series), height in zip(shown, heights, strict=True):
        parts.append(
            Markup('<text class="label" x="2" y="{}" dy="0.32em">{}</text>').format(
                _u(start + height / 2), _clip(name, 23)
            )
        )
        for place, (value, bounds, tone) in enumerate(series):
            parts.append(
                mark.format(
                    tone=tone,
                    words=f"{name}: {write(value)} ({write(bounds[0])} to {write(bounds[1])})",
                    y=_u(start + between / 2 + step * (place + 0.5)),
                    x=_u(axes.x(value)),
                    x1=_u(axes.x(bounds[0])),
                    x2=_u(axes.x(bounds[1])),
                )
            )
        start += height
    parts.append(
        Markup('<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            _u((axes.left + axes.right) / 2), _u(bottom + 33), x_title
        )
    )
    return _svg(bottom + 40, x_title, [*parts, _legend(legend)])


def lines(
    curves: Sequence[Line], x_title: str, y_title: str, reference: tuple[float, str] | None = None
) -> Markup:
    """Line chart with a legend; x counts rows.

    The first 5 % of a curve, still unsettled, do not set the y range and are cut at its edge.
    """
    curves = [Line(c.name, c.tone, [p for p in c.points if all(map(formats.is_number, p))]) for c in curves]
    curves = [c for c in curves if len(c.points) > 1]
    if not curves:
        return EMPTY.format("The training log has fewer than two points, so there is no curve to draw.")
    points = [p for c in curves for p in c.points]
    settled = [y for c in curves for _, y in c.points[len(c.points) // 20 :]]
    marks = [reference[0]] if reference else []
    low, high = min(settled + marks), max(settled + marks)
    pad = 0.06 * (high - low or 0.1)
    x_range = (min(0.0, min(x for x, _ in points)), max(x for x, _ in points))
    axes = _Axes(42, 46, WIDTH - 14, 226, x_range, (low - pad, high + pad))
    parts = [
        axes.y_ticks(_ticks(*axes.y_range, 5), _plain_tick),
        axes.base(),
        axes.x_ticks(_ticks(*x_range, 4), formats.short_count),
    ]
    if reference:
        parts.append(
            Markup(
                '<line class="reference" x1="{}" x2="{}" y1="{y}" y2="{y}"/><text class="tick" x="{}" y="{t}"'
                ' text-anchor="end">{}</text>'
            ).format(
                _u(axes.left),
                _u(axes.right),
                _u(axes.right - 2),
                reference[1],
                y=_u(axes.y(reference[0])),
                t=_u(axes.y(reference[0]) - 5),
            )
        )
    for curve in curves:
        path = " ".join(
            f"{_u(axes.x(x))},{_u(axes.y(min(max(y, axes.y_range[0]), axes.y_range[1])))}"
            for x, y in curve.points
        )
        parts.append(Markup('<polyline class="line tone-{}" points="{}"/>').format(curve.tone, path))
    parts += [_legend([(c.name, c.tone) for c in curves]), axes.titles(x_title, y_title)]
    return _svg(266, f"{y_title} by {x_title}", parts)


def scatter(points: Sequence[tuple[float | str, float, bool]], x_title: str, y_title: str) -> Markup:
    """Dots (x, y, best or not). Numbers that span more than ten times stand on a log axis; text by its
    order of appearance, sorted."""
    shown = [point for point in points if formats.is_number(point[1])]
    if not shown:
        return EMPTY.format("There is no value yet, so there is nothing to draw.")
    values = [x for x, _, _ in shown]
    numbers = not any(isinstance(x, str) for x in values)
    log = numbers and min(values) > 0 and max(values) > 10 * min(values)
    names = sorted(set(values)) if not numbers else []

    def place(x: float | str) -> float:
        return float(names.index(x)) if names else math.log10(x) if log else float(x)

    heights = sorted(y for _, y, _ in shown)
    # One trial that went wrong does not flatten the others: it is drawn at the upper edge.
    low, high = heights[0], heights[int(0.9 * (len(heights) - 1))]
    pad = 0.08 * (high - low or 0.01)
    xs = [place(x) for x in values]
    side = 0.06 * (max(xs) - min(xs) or 1.0)
    axes = _Axes(48, 26, WIDTH - 14, 206, (min(xs) - side, max(xs) + side), (low - pad, high + pad))
    if names:
        ticks, label = [float(i) for i in range(len(names))], lambda v: str(names[round(v)])
    elif log:
        ticks = [float(e) for e in range(math.ceil(axes.x_range[0]), math.floor(axes.x_range[1]) + 1)]
        label = lambda v: _plain_tick(10**v)  # noqa: E731
    else:
        ticks, label = _ticks(*axes.x_range, 4), _plain_tick
    mark = Markup(
        '<g class="tone-{tone}"><title>{words}</title><circle class="dot" cx="{x}" cy="{y}" r="{r}"/></g>'
    )
    dots = [
        mark.format(
            tone="b" if best else "a",
            x=_u(axes.x(place(x))),
            y=_u(axes.y(min(y, axes.y_range[1]))),
            r=7 if best else 4,
            words=f"{x if names else _plain_tick(x)}: {y:.4f}",
        )
        for x, y, best in shown
    ]
    parts = [axes.y_ticks(_ticks(*axes.y_range, 4), _plain_tick), axes.base(), axes.x_ticks(ticks, label)]
    return _svg(246, f"{y_title} by {x_title}", [*parts, *dots, axes.titles(x_title, y_title)])


def histogram(heights: Sequence[float], low: float, high: float, x_title: str, y_title: str) -> Markup:
    """Bars over equal bins of [low, high]."""
    if not heights or not any(heights):
        return EMPTY.format("No positive rows, so there is no histogram to draw.")
    axes = _Axes(42, 26, WIDTH - 14, 206, (low, high), (0, 1.04 * max(heights)))
    step = (high - low) / len(heights)
    parts = [axes.y_ticks(_ticks(*axes.y_range, 4), formats.short_count)]
    mark = Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')
    for index, height in enumerate(heights):
        left, right = axes.x(low + index * step), axes.x(low + (index + 1) * step)
        words = f"{low + index * step:.2f} to {low + (index + 1) * step:.2f}: {formats.count(height)}"
        parts.append(
            mark.format(
                _u(left + 0.75),
                _u(axes.y(height)),
                _u(right - left - 1.5),
                _u(axes.bottom - axes.y(height)),
                words,
            )
        )
    parts += [axes.base(), axes.x_ticks(_ticks(low, high, 5), _plain_tick), axes.titles(x_title, y_title)]
    return _svg(246, f"{y_title} by {x_title}", parts)


def calibration(bins: Sequence[dict], title: str) -> Markup:
    """Observed against predicted rate per quantile bin, with intervals; the diagonal is perfect calibration.

    Both axes grow with the square root of the rate: conversion rates crowd near zero, and a linear axis would
    hide nine bins of ten in one corner.
    """
    shown = [b for b in bins if formats.is_number(b["predicted"]) and formats.is_number(b["observed"])]
    if not shown:
        return EMPTY.format("No predictions to compare with outcomes.")
    top = max(max(b["predicted"], b["observed"], b["high"] or 0) for b in shown)
    top = min(1.0, 1.05 * top) or 1.0
    root = math.sqrt
    axes = _Axes(46, 30, WIDTH - 14, 290, (0, root(top)), (0, root(top)))
    ticks = _root_ticks(top)
    parts = [
        axes.y_ticks([root(t) for t in ticks], lambda r: _percent_tick(r * r)),
        axes.base(),
        axes.x_ticks([root(t) for t in ticks], lambda r: _percent_tick(r * r)),
        Markup('<line class="reference" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
            _u(axes.left), _u(axes.bottom), _u(axes.right), _u(axes.top)
        ),
    ]
    whisker = Markup('<line class="whisker" x1="{x}" x2="{x}" y1="{a}" y2="{b}"/>')
    dot = Markup('<circle class="dot" cx="{}" cy="{}" r="4"><title>{}</title></circle>')
    for b in shown:
        x = _u(axes.x(root(b["predicted"])))
        if formats.is_number(b["low"]) and formats.is_number(b["high"]):
            parts.append(
                whisker.format(x=x, a=_u(axes.y(root(max(b["low"], 0)))), b=_u(axes.y(root(b["high"]))))
            )
        words = (
            f"predicted {formats.percent(b['predicted'])}, observed {formats.percent(b['observed'])},"
            f" {formats.count(b['clicks'])} clicks"
        )
        parts.append(dot.format(x, _u(axes.y(root(b["observed"]))), words))
    parts.append(axes.titles("predicted rate", "observed rate"))
    return _svg(330, f"Calibration: {title}", [Markup('<g class="tone-a">'), *parts, Markup("</g>")])


def heat_map(names: Sequence[str], paths: Sequence[str], matrix: Sequence[Sequence[float]]) -> Markup:
    """Square heat map of relatedness; the diagonal (always 1) is grey, colour is scaled to the rest."""
    size, cell, left, top = len(names), 24, 158, 128
    off_diagonal = [matrix[i][j] for i in range(size) for j in range(size) if i != j]
    peak = max(off_diagonal, default=0.0) or 1.0
    width, height = left + size * cell + 74, top + size * cell + 34
    row_label = Markup(
        '<text class="tick" x="{}" y="{}" dy="0.32em" text-anchor="end">{}<title>{}</title></text>'
    )
    column_label = Markup(
        '<text class="tick" transform="translate({} {}) rotate(-60)" dy="0.32em">{}<title>{}</title></text>'
    )
    square = Markup(
        '<rect class="{}" x="{}" y="{}" width="{s}" height="{s}" fill-opacity="{}"><title>{}</title></rect>'
    )
    number = Markup('<text class="cell{}" x="{}" y="{}" dy="0.34em" text-anchor="middle">{}</text>')
    parts = []
    for i in range(size):
        parts.append(row_label.format(left - 6, _u(top + (i + 0.5) * cell), _clip(names[i], 25), paths[i]))
        parts.append(column_label.format(_u(left + (i + 0.5) * cell), top - 6, _clip(names[i], 21), paths[i]))
        for j in range(size):
            value, x, y = matrix[i][j], left + j * cell, top + i * cell
            share = 1.0 if i == j else value / peak
            words = f"{paths[i]} and {paths[j]}: {value:.3f}"
            parts.append(square.format("self" if i == j else "heat", x, y, f"{share:.3f}", words, s=cell - 1))
            if i != j and value >= 0.1 * peak and value >= 0.005:
                parts.append(
                    number.format(
                        " strong" if share > 0.55 else "",
                        _u(x + (cell - 1) / 2),
                        _u(y + (cell - 1) / 2),
                        f"{value:.2f}".lstrip("0"),
                    )
                )
    legend_y, steps = top + size * cell + 12, 6
    for step in range(steps):
        share = step / (steps - 1)
        parts.append(
            Markup('<rect class="heat" x="{}" y="{}" width="23" height="10" fill-opacity="{}"/>').format(
                left + step * 24, legend_y, f"{share:.3f}"
            )
        )
    parts.append(
        Markup(
            '<text class="tick" x="{}" y="{y}" text-anchor="end">0</text>'
            '<text class="tick" x="{}" y="{y}">{}</text>'
        ).format(left - 6, left + steps * 24 + 6, f"{peak:.2f} (strongest shown)", y=legend_y + 9)
    )
    return _svg(height, "Relatedness of the best supported categories", parts, width=width, css="chart wide")


def shares(parts: Sequence[tuple[str, float, str]], title: str) -> Markup:
    """One stacked bar with a legend: (name, amount, tone a | b | c)."""
    total = sum(amount for _, amount, _ in parts)
    if total <= 0:
        return EMPTY.format("No converting clicks.")
    x, marks = 2.0, []
    for name, amount, tone in parts:
        width = (WIDTH - 4) * amount / total
        words = f"{name}: {formats.count(amount)} ({formats.percent(amount / total)})"
        marks.append(
            Markup(
                '<rect class="fill tone-{}" x="{}" y="6" width="{}" height="20"><title>{}</title></rect>'
            ).format(tone, _u(x), _u(max(width - 1, 0)), words)
        )
        x += width
    rows = []
    for index, (name, amount, tone) in enumerate(parts):
        rows.append(
            Markup(
                '<rect class="fill tone-{}" x="2" y="{}" width="10" height="10"/>'
                '<text class="label" x="18" y="{y}">{}</text>'
                '<text class="label" x="{}" y="{y}" text-anchor="end">{}</text>'
            ).format(
                tone,
                38 + 18 * index,
                name,
                WIDTH - 2,
                f"{formats.count(amount)}  ({formats.percent(amount / total)})",
                y=47 + 18 * index,
            )
        )
    return _svg(38 + 18 * len(parts), title, [*marks, *rows])


def _svg(
    height: float, title: str, parts: Sequence[Markup], width: float = WIDTH, css: str = "chart"
) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{}">{}</svg>'
    ).format(css, title, _join(parts), w=_u(width), h=_u(height))


def _legend(entries: Sequence[tuple[str, str]]) -> Markup:
    parts, x = [], 2.0
    for name, tone in entries:
        parts.append(
            Markup(
                '<rect class="fill tone-{}" x="{}" y="4" width="12" height="4"/>'
                '<text class="label" x="{}" y="10">{}</text>'
            ).format(tone, _u(x), _u(x + 17), name)
        )
        x += 30 + 5.9 * len(name)
    return _join(parts)


def _join(parts) -> Markup:
    return Markup("").join(parts)


def _u(value: float) -> str:
    """SVG units with one decimal and no trailing zero, so that bytes do not depend on float noise."""
    return f"{value:.1f}".removesuffix(".0")


def _fraction(value: float, bounds: tuple[float, float]) -> float:
    return (value - bounds[0]) / ((bounds[1] - bounds[0]) or 1.0)


def _ticks(low: float, high: float, target: int) -> list[float]:
    """Round values inside [low, high]: steps of 1, 2 or 5 times a power of ten, about `target` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / target
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _root_ticks(top: float) -> list[float]:
    """Rates for a square-root axis up to `top`: each about three times the one before."""
    candidates = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0]
    kept = [0.0]
    for rate in candidates:
        if rate <= top and math.sqrt(rate) - math.sqrt(kept[-1]) >= 0.1 * math.sqrt(top):
            kept.append(rate)
    return kept


def _plain_tick(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def _percent_tick(rate: float) -> str:
    return f"{100 * rate:.3g}%"


def _signed_tick(value: float) -> str:
    return "0%" if abs(value) < 1e-12 else f"{100 * value:+.3g}%".replace("-", "\N{MINUS SIGN}")


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
