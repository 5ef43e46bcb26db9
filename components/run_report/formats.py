"""Numbers as people read them: grouped thousands, few digits, a true minus sign, words for undefined."""

import math
from collections.abc import Mapping

NOT_DEFINED = "not defined"
_METRICS = {"ne": "NE", "auc": "AUC", "gauc": "GAUC"}
_SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
_EN_DASH = "\N{EN DASH}"


def is_number(value: float | None) -> bool:
    """Whether a value can be shown as a number: JSON null and NaN cannot."""
    return value is not None and math.isfinite(value)


def count(value: float | None) -> str:
    """1234567 -> '1,234,567'."""
    return f"{int(value):,}" if is_number(value) else NOT_DEFINED


def decimal(value: float | None, digits: int = 3) -> str:
    """0.76149 -> '0.761'."""
    return _minus(f"{value:.{digits}f}") if is_number(value) else NOT_DEFINED


def significant(value: float | None, digits: int = 4) -> str:
    """0.78 -> '0.78', -0.0213456 -> '−0.02135'."""
    return _minus(f"{value:.{digits}g}") if is_number(value) else NOT_DEFINED


def percent(value: float | None, digits: int | None = None) -> str:
    """A share as a percentage: 0.118 -> '11.8 %'; small shares keep two significant digits."""
    if not is_number(value):
        return NOT_DEFINED
    scaled = 100 * value
    if digits is None:
        magnitude = abs(scaled)
        digits = 1 if magnitude >= 1 or magnitude == 0 else min(4, 1 - math.floor(math.log10(magnitude)))
        if scaled == round(scaled) and magnitude in (0, 100):
            digits = 0
    return _minus(f"{scaled:.{digits}f}") + _SPACE + "%"


def change(value: float | None, digits: int = 1) -> str:
    """A signed relative change: -0.0321 -> '−3.2 %', 0.012 -> '+1.2 %'."""
    if not is_number(value):
        return NOT_DEFINED
    text = f"{100 * value:+.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return _minus(text) + _SPACE + "%"


def interval(bounds: list[float] | None, digits: int = 3) -> str:
    """[0.72, 0.80] -> '0.720 – 0.800'."""
    if not bounds or not all(map(is_number, bounds)):
        return NOT_DEFINED
    low, high = bounds
    return f"{decimal(low, digits)}{_SPACE}{_EN_DASH}{_SPACE}{decimal(high, digits)}"


def change_interval(bounds: list[float] | None, digits: int = 1) -> str:
    """[-0.049, -0.015] -> '−4.9 % to −1.5 %'."""
    if not bounds or not all(map(is_number, bounds)):
        return NOT_DEFINED
    return f"{change(bounds[0], digits)} to {change(bounds[1], digits)}"


def undefined_words(reasons: Mapping[str, str]) -> list[str]:
    """Metrics by reason: {'ne': r, 'auc': r} -> ['NE and AUC are not defined: r']."""
    names: dict[str, list[str]] = {}
    for metric, reason in reasons.items():
        names.setdefault(reason, []).append(_METRICS.get(metric, metric))
    return [
        f"{_listed(found)} {'is' if len(found) == 1 else 'are'} {NOT_DEFINED}: {why}"
        for why, found in names.items()
    ]


def short_count(value: float) -> str:
    """Axis labels: 1500 -> '1.5k', 2000000 -> '2M'."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


def short_leaf(path: str, levels: int = 1) -> str:
    """The last levels of a category path: 'Home > Kitchen > Coffee Makers' -> 'Coffee Makers'."""
    if path == "__unknown__":
        return "(no category)"
    return " > ".join(path.split(" > ")[-levels:])


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _minus(text: str) -> str:
    return text.replace("-", _MINUS)
