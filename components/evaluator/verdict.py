"""The Evaluator's answer in words: what was asked of each output, what it reached, and why it was blocked.

Reads an Evaluation artifact (TFMA's files); it decides nothing: passed and failed are the validator's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from components.evaluator.eval_config import (
    CALIBRATION,
    CANDIDATE,
    CHANGE,
    CHANGE_LOWER,
    CHANGE_UPPER,
    COUNT,
    NE,
)

WHOLE = "overall"


@dataclass(frozen=True)
class MetricRow:
    """One number of the evaluation."""

    slice: str
    """`overall`, or the column that was sliced by."""
    value_of_slice: str
    model: str
    output: str
    metric: str
    value: float
    rows: int
    """Click examples in the slice."""


@dataclass(frozen=True)
class Check:
    """One thing that was asked of the candidate."""

    output: str
    metric: str
    rule: str
    value: float | None
    """None: the metric was not computed."""
    passed: bool
    words: str


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate passed, and every check behind it."""

    pushed: bool
    """Whether the Evaluator blesses it; the serving check may still object."""
    checks: tuple[Check, ...]

    def __str__(self) -> str:
        failed = [check.words for check in self.checks if not check.passed]
        if self.pushed:
            return f"passed: all {len(self.checks)} checks hold"
        return "\n".join([f"blocked: {len(failed)} of {len(self.checks)} checks fail", *failed])


def metric_table(evaluation_uri: str, min_rows: int = 1) -> list[MetricRow]:
    """Every metric of every model in slices of at least `min_rows` examples, the whole eval split first.

    The differences that TFMA adds by itself are left out: the paired metrics say the same with bounds.
    """
    rows = []
    for record in _records(evaluation_uri):
        values = {key: value for key, value in _values(record) if not key.is_diff}
        count = int(next((value for key, value in values.items() if key.name == COUNT), 0))
        if count >= min_rows:
            where = _slice(record.slice_key)
            rows += [
                MetricRow(*where, key.model_name, key.output_name, key.name, value, count)
                for key, value in values.items()
                if key.name != COUNT
            ]
    return sorted(
        rows, key=lambda r: (r.slice != WHOLE, r.slice, r.value_of_slice, r.output, r.metric, r.model)
    )


def overall_metrics(evaluation_uri: str, model: str = CANDIDATE) -> dict[str, float]:
    """`<output>/<metric>` -> value on the whole eval split, of one model."""
    return {
        f"{row.output}/{row.metric}": row.value
        for row in metric_table(evaluation_uri)
        if row.slice == WHOLE and row.model == model
    }


def verdict(evaluation_uri: str) -> Verdict:
    """What the validator decided, check by check, in the order of the EvalConfig.

    Raises:
        FileNotFoundError: there is no evaluation at `evaluation_uri`, or it was made without thresholds.
    """
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.metrics import metric_specs, metric_types
    from tensorflow_model_analysis.writers import eval_config_writer

    config, *_ = eval_config_writer.load_eval_run(evaluation_uri)
    if config is None:
        raise FileNotFoundError(f"{evaluation_uri} holds no evaluation")
    thresholds = metric_specs.metric_thresholds_from_metrics_specs(config.metrics_specs, eval_config=config)
    if not thresholds:
        raise FileNotFoundError(f"the evaluation in {evaluation_uri} was made without thresholds")
    result = tfma.load_validation_result(evaluation_uri)
    failed = {
        metric_types.MetricKey.from_proto(failure.metric_key)
        for per_slice in result.metric_validations_per_slice
        for failure in per_slice.failures
    }
    whole = next((r for r in _records(evaluation_uri) if not r.slice_key.single_slice_keys), None)
    values = dict(_values(whole)) if whole is not None else {}
    baseline = {spec.name for spec in config.model_specs if spec.is_baseline}
    all_values = {
        (key.model_name, key.output_name, key.name): value for key, value in values.items() if not key.is_diff
    }
    checks = []
    for key, limits in thresholds.items():
        if key.model_name in baseline:
            continue
        for _, threshold in limits:
            passed = key not in failed and whole is not None
            checks.append(_check(key, threshold, values.get(key), passed, all_values, bool(baseline)))
    return Verdict(result.validation_ok, tuple(checks))


def _records(evaluation_uri: str) -> Iterator:
    import tensorflow_model_analysis as tfma

    yield from tfma.load_metrics(evaluation_uri)


def _slice(slice_key) -> tuple[str, str]:
    if not slice_key.single_slice_keys:
        return WHOLE, ""
    columns, values = [], []
    for part in slice_key.single_slice_keys:
        columns.append(part.column)
        kind = part.WhichOneof("kind")
        value = getattr(part, kind)
        values.append(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
    return ", ".join(columns), ", ".join(values)


def _values(record) -> Iterator[tuple]:
    from tensorflow_model_analysis.metrics import metric_types

    for pair in record.metric_keys_and_values:
        if pair.value.WhichOneof("type") == "double_value":
            yield metric_types.MetricKey.from_proto(pair.key), pair.value.double_value.value


def _check(key, threshold, value, passed, values, has_baseline) -> Check:
    low = threshold.lower_bound.value if threshold.HasField("lower_bound") else None
    high = threshold.upper_bound.value if threshold.HasField("upper_bound") else None
    rule = _rule(key.name, low, high)
    of = f"{key.output_name}: "
    if value is None:
        why = (
            "there is no baseline to compare with"
            if not has_baseline and _is_change(key.name)
            else ("the evaluation has no such metric")
        )
        words = f"{of}{_title(key.name)} is missing: {why}"
    elif math.isnan(value):
        words = f"{of}{_title(key.name)} is not a number: {_why_nan(key, values)}"
    else:
        words = of + _words(key, value, low, high, passed, values)
    return Check(key.output_name, key.name, rule, value, passed, words)


def _is_change(metric: str) -> bool:
    return metric in (CHANGE, CHANGE_LOWER, CHANGE_UPPER)


def _title(metric: str) -> str:
    return {
        NE: "NE",
        CALIBRATION: "calibration",
        CHANGE: "change of NE against the baseline",
        CHANGE_LOWER: "lower 95 % bound of the change of NE",
        CHANGE_UPPER: "upper 95 % bound of the change of NE",
    }.get(metric, metric)


def _rule(metric: str, low: float | None, high: float | None) -> str:
    title = _title(metric)
    if metric == CHANGE_UPPER and high is not None and high < 0:
        return f"{title} < 0"
    if low is not None and high is not None:
        return f"{low:g} <= {title} <= {high:g}"
    return f"{title} >= {low:g}" if low is not None else f"{title} <= {high:g}"


def _why_nan(key, values) -> str:
    """One class, a broken candidate, or a broken baseline."""
    rate = values.get((key.model_name, key.output_name, "base_rate"))
    if rate is not None and not 0 < rate < 1:
        return f"all labels of the eval split are the same (base rate {rate:g})"
    ne = values.get((key.model_name, key.output_name, NE))
    if _is_change(key.name) and ne is not None and math.isfinite(ne):
        return "the baseline does not predict numbers, or too few users to compare on"
    return "the model does not predict numbers"


def _words(key, value, low, high, passed, values) -> str:
    if key.name == NE:
        return _ne_words(value, high, passed)
    if key.name == CALIBRATION:
        return _calibration_words(value, low, high, passed)
    if _is_change(key.name):
        return _change_words(key, value, high, passed, values)
    return (
        f"{_title(key.name)} {value:.4g} is {'inside' if passed else 'outside'} {_rule(key.name, low, high)}"
    )


def _ne_words(value: float, high: float, passed: bool) -> str:
    if passed:
        share = f": {1 - value:.1%} less than predicting the base rate" if value <= 1 else ""
        return f"NE {value:.3f} is at most {high:g}{share}"
    worse = ": worse than predicting the base rate" if value > 1 else ""
    return f"NE {value:.3f} is above {high:g}{worse}"


def _calibration_words(value: float, low: float | None, high: float | None, passed: bool) -> str:
    far = f"predicts {value:.2f} times as many conversions as there are"
    if passed:
        return f"calibration {value:.3f}: {far}, inside [{low:g}, {high:g}]"
    if low is not None and value < low:
        return f"calibration {value:.3f} is below {low:g}: {far}, it under-predicts"
    return f"calibration {value:.3f} is above {high:g}: {far}, it over-predicts"


def _change_words(key, value: float, high: float, passed: bool, values) -> str:
    of = (key.model_name, key.output_name)
    change, lower, upper = (values.get((*of, m), math.nan) for m in (CHANGE, CHANGE_LOWER, CHANGE_UPPER))
    moved = f"NE changed by {change:+.4f} against the baseline (95 % bounds {lower:+.4f} to {upper:+.4f})"
    if lower > 0:
        kind = "significantly worse"
    elif upper < 0:
        kind = "significantly better"
    else:
        kind = "a tie, inside the noise"
    if key.name == CHANGE_UPPER:
        return f"{moved}: {kind}" + (
            "" if passed else "; the gate asks for significantly better (ties: block)"
        )
    if passed:
        return f"{moved}: {kind}"
    limit = f" by more than the tolerance {high:g}" if high > 0 else ""
    return f"{moved}: significantly worse{limit}"
