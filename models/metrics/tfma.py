"""The metrics as TensorFlow Model Analysis metrics, for models with several outputs and for pairs of models.

Give each output a MetricsSpec(output_names=[...]), and each metric a MetricConfig(class_name=...,
module="models.metrics.tfma"):

    NormalizedEntropy, BaseRate, CalibrationRatio            from one set of four sums
    WeightedAUC                                              over fine bins of logit(p)
    GAUC, GAUCCoverage                                       per user
    NECandidateMinusBaseline, NEChangeLower, NEChangeUpper   paired, 95 % bounds by user

The last two groups read `user_id` from the examples' features and need no query_key. The paired metrics
appear under the candidate's name only, as plain values: gate them with value thresholds. Without a baseline
in the EvalConfig they do not exist, and a threshold on them fails.

Every state is additive (models.metrics.sums); rows are buffered and reduced in NumPy, a few thousand at a
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import model_util

from models import features
from models.metrics import sums

BUFFERED_ROWS = 4096
MAX_GAUC_ROWS = 2_000_000

# --- What an EvalConfig names -------------------------------------------------------------------------------


class NormalizedEntropy(metric_types.Metric):
    """Cross-entropy over the entropy of the base rate (He et al. 2014); NaN with one class.

    `code_hash` is not read: it makes the sources a part of the EvalConfig, so of the Evaluator's cache key.
    """

    def __init__(self, name: str = "normalized_entropy", code_hash: str = ""):
        super().__init__(_per_key(_BinarySums, sums.normalized_entropy), name=name)


class BaseRate(metric_types.Metric):
    """Weighted mean label: NE of different labels are not comparable without it."""

    def __init__(self, name: str = "base_rate"):
        super().__init__(_per_key(_BinarySums, sums.base_rate), name=name)


class CalibrationRatio(metric_types.Metric):
    """Sum of predictions over sum of labels; above 1 over-predicts. (TFMA keeps the name Calibration for its
    own.)"""

    def __init__(self, name: str = "calibration"):
        super().__init__(_per_key(_BinarySums, sums.calibration), name=name)


class WeightedAUC(metric_types.Metric):
    """AUC over fine bins of logit(p), ties count one half; a fractional label weighs a positive."""

    def __init__(self, name: str = "weighted_auc"):
        super().__init__(_per_key(_AUCSums, sums.auc_of_histogram), name=name)


class GAUC(metric_types.Metric):
    """AUC within users, averaged by their clicks, over users with both classes; labels as in WeightedAUC."""

    def __init__(self, name: str = "gauc"):
        super().__init__(_per_key(_UserRows, lambda rows: rows.gauc().gauc), name=name)


class GAUCCoverage(metric_types.Metric):
    """Share of clicks that belong to users counted in GAUC."""

    def __init__(self, name: str = "gauc_coverage"):
        super().__init__(_per_key(_UserRows, lambda rows: rows.gauc().coverage), name=name)


class NECandidateMinusBaseline(metric_types.Metric):
    """NE(candidate) - NE(baseline) on the same rows; below 0 the candidate is better."""

    def __init__(self, name: str = "ne_candidate_minus_baseline"):
        super().__init__(_per_key(_PairedSums, sums.ne_change), name=name)


class NEChangeLower(metric_types.Metric):
    """2.5 % point of NE(candidate) - NE(baseline) under a paired bootstrap by user."""

    def __init__(self, name: str = "ne_change_lower"):
        super().__init__(_per_key(_PairedSums, lambda s: sums.ne_change_interval(s).lower), name=name)


class NEChangeUpper(metric_types.Metric):
    """97.5 % point of NE(candidate) - NE(baseline) under a paired bootstrap by user."""

    def __init__(self, name: str = "ne_change_upper"):
        super().__init__(_per_key(_PairedSums, lambda s: sums.ne_change_interval(s).upper), name=name)


for _metric in (
    NormalizedEntropy,
    BaseRate,
    CalibrationRatio,
    WeightedAUC,
    GAUC,
    GAUCCoverage,
    NECandidateMinusBaseline,
    NEChangeLower,
    NEChangeUpper,
):
    metric_types.register_metric(_metric)

# --- From a metric's name to its computations ---------------------------------------------------------------


def _per_key(combiner: type[_Combiner], compute: Callable[[Any], float]):
    """The function that TFMA asks for computations: one private state per (model, output), shared by every
    metric that reads it, and the public value that `compute` derives from the state."""

    def computations(
        name: str,
        eval_config: config_pb2.EvalConfig | None = None,
        model_name: str = "",
        output_name: str = "",
        example_weighted: bool = False,
    ) -> metric_types.MetricComputations:
        baseline = model_util.get_baseline_model_spec(eval_config) if eval_config else None
        baseline_name = baseline.name if baseline else None
        if combiner.paired and (baseline_name is None or model_name == baseline_name):
            return []
        where = {"model_name": model_name, "output_name": output_name, "example_weighted": example_weighted}
        state = metric_types.MetricKey(name=combiner.state_name, **where)
        value = metric_types.MetricKey(name=name, **where)

        def result(metrics: Mapping[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
            return {value: compute(metrics[state])}

        return [
            metric_types.MetricComputation(
                keys=[state],
                preprocessors=[metric_types.FeaturePreprocessor([features.USER_ID])]
                if combiner.by_user
                else None,
                combiner=combiner(state, baseline_name),
            ),
            metric_types.DerivedMetricComputation(keys=[value], result=result),
        ]

    return metric_util.merge_per_key_computations(computations)


# --- States -------------------------------------------------------------------------------------------------


class _Accumulator:
    """Rows not yet reduced, and the state of the others (None: no rows yet)."""

    __slots__ = ("rows", "state")

    def __init__(self, rows: list | None = None, state: Any = None):
        self.rows = [] if rows is None else rows
        self.state = state

    def __reduce__(self):
        return (_Accumulator, (self.rows, self.state))


class _Combiner(beam.CombineFn):
    """Buffers rows (label, prediction, weight, ...) and reduces them in batches to a state that `+`
    merges."""

    state_name: str
    paired = False
    by_user = False

    def __init__(self, key: metric_types.MetricKey, baseline_name: str | None):
        self._key, self._baseline_name = key, baseline_name

    def reduce(self, rows: list[tuple]) -> Any:
        """State of some rows, possibly none."""
        raise NotImplementedError

    def row(self, element: metric_types.StandardMetricInputs) -> tuple:
        model, output = self._key.model_name, self._key.output_name
        weight = (
            _number(element[constants.EXAMPLE_WEIGHTS_KEY], model, output)
            if self._key.example_weighted
            else 1.0
        )
        return (
            _number(element[constants.LABELS_KEY], model, output),
            _number(element[constants.PREDICTIONS_KEY], model, output),
            1.0 if weight is None else weight,
        )

    def create_accumulator(self) -> _Accumulator:
        return _Accumulator()

    def add_input(
        self, accumulator: _Accumulator, element: metric_types.StandardMetricInputs
    ) -> _Accumulator:
        accumulator.rows.append(self.row(element))
        if len(accumulator.rows) >= BUFFERED_ROWS:
            self._flush(accumulator)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Accumulator]) -> _Accumulator:
        merged = _Accumulator()
        for accumulator in accumulators:
            merged.rows.extend(accumulator.rows)
            if accumulator.state is not None:
                merged.state = accumulator.state if merged.state is None else merged.state + accumulator.state
            if len(merged.rows) >= BUFFERED_ROWS:
                self._flush(merged)
        return merged

    def extract_output(self, accumulator: _Accumulator) -> dict[metric_types.MetricKey, Any]:
        # The accumulator may be merged on, so it is left as it was.
        done = self.reduce(accumulator.rows)
        return {self._key: done if accumulator.state is None else accumulator.state + done}

    def _flush(self, accumulator: _Accumulator) -> None:
        done = self.reduce(accumulator.rows)
        accumulator.state = done if accumulator.state is None else accumulator.state + done
        accumulator.rows = []


class _BinarySums(_Combiner):
    state_name = "_cabb_binary_sums"

    def reduce(self, rows):
        return sums.binary_sums(*_columns(rows, 3))


class _AUCSums(_Combiner):
    state_name = "_cabb_auc_sums"

    def reduce(self, rows):
        credit, prediction, weight = _columns(rows, 3)
        label, weight = sums.weighted_binary(credit, weight)
        return sums.auc_histogram(label, prediction, weight)


class _PairedSums(_Combiner):
    state_name = "_cabb_paired_sums"
    paired = True
    by_user = True

    def row(self, element):
        label, candidate, weight = super().row(element)
        baseline = _number(element[constants.PREDICTIONS_KEY], self._baseline_name, self._key.output_name)
        return label, candidate, weight, baseline, _user(element)

    def reduce(self, rows):
        label, candidate, weight, baseline = _columns(rows, 4)
        return sums.paired_sums(sums.user_group(_user_column(rows)), label, candidate, baseline, weight)


class _UserRows(_Combiner):
    state_name = "_cabb_user_rows"
    by_user = True

    def row(self, element):
        return (*super().row(element), _user(element))

    def reduce(self, rows):
        credit, prediction, weight = _columns(rows, 3)
        label, weight = sums.weighted_binary(credit, weight)
        return UserRows(sums.user_hash(_user_column(rows)), label, prediction, weight)


class UserRows:
    """Rows by hashed user, 20 bytes each; when there are too many, the rows of a fixed sample of users.

    Kept are the users whose hash is below a power-of-two threshold, the largest at which at most `most` rows
    remain; so the sample does not depend on the order of merging.
    """

    __slots__ = ("halvings", "label", "most", "prediction", "user", "weight")

    def __init__(self, user, label, prediction, weight, halvings: int = 0, most: int = MAX_GAUC_ROWS):
        self.user = np.asarray(user, np.uint64)
        self.label, self.prediction, self.weight = (
            np.asarray(c, np.float32) for c in (label, prediction, weight)
        )
        self.halvings, self.most = halvings, most
        self._sample()

    def __reduce__(self):
        return UserRows, (self.user, self.label, self.prediction, self.weight, self.halvings, self.most)

    def __add__(self, other: UserRows) -> UserRows:
        columns = (
            np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("user", "label", "prediction", "weight")
        )
        return UserRows(
            *columns, halvings=max(self.halvings, other.halvings), most=min(self.most, other.most)
        )

    def _sample(self):
        self._keep()
        while len(self.user) > self.most and self.halvings < 63:
            self.halvings += 1
            self._keep()

    def _keep(self):
        if self.halvings:
            kept = self.user < np.uint64(1 << (64 - self.halvings))
            if not kept.all():
                self.user, self.label = self.user[kept], self.label[kept]
                self.prediction, self.weight = self.prediction[kept], self.weight[kept]

    def gauc(self) -> sums.GroupedAUC:
        return sums.gauc(self.user, self.label, self.prediction, self.weight)


# --- Reading TFMA's rows ------------------------------------------------------------------------------------


def _number(value: Any, model_name: str | None, output_name: str) -> float | None:
    """The number in a possibly nested dict {model: {output: array of one}}; labels and weights may skip a
    level."""
    for key in (model_name, output_name):
        if key and isinstance(value, Mapping) and key in value:
            value = value[key]
    if value is None:
        return None
    if isinstance(value, Mapping):
        raise ValueError(f"no value for model {model_name!r}, output {output_name!r}: have {sorted(value)}")
    # `item` of an array of one is several times faster than float() of it.
    return value.item() if isinstance(value, np.ndarray) else float(value)


def _user(element: metric_types.StandardMetricInputs) -> bytes:
    value = element[constants.FEATURES_KEY][features.USER_ID]
    value = value.item() if isinstance(value, np.ndarray) else value
    return value if isinstance(value, bytes) else str(value).encode()


def _columns(rows: list[tuple], n: int) -> list[np.ndarray]:
    """The first n fields of the rows, [rows] float64 each."""
    return list(np.array([row[:n] for row in rows], np.float64).reshape(len(rows), n).T)


def _user_column(rows: list[tuple]) -> np.ndarray:
    return np.array([row[-1] for row in rows], dtype=np.bytes_)
