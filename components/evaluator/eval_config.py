"""What the Evaluator measures and what a candidate must reach, as a TFMA EvalConfig for three outputs.

Every output is judged against its own label on unweighted per-click rows (ModelSettings.label_of_output).
Gates hold on the whole eval split only; slices are there to look at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from models import features
from schemas.errors import InputError
from schemas.settings import Settings

if TYPE_CHECKING:
    import tensorflow_model_analysis as tfma

CANDIDATE, BASELINE = "candidate", "baseline"
SIGNATURE = "serving_default"
METRICS_MODULE = "models.metrics.tfma"

NE = "normalized_entropy"
CALIBRATION = "calibration"
BASE_RATE = "base_rate"
AUC = "weighted_auc"
CHANGE = "ne_candidate_minus_baseline"
CHANGE_LOWER = "ne_change_lower"
CHANGE_UPPER = "ne_change_upper"
GAUC = "gauc"
GAUC_COVERAGE = "gauc_coverage"
COUNT = "example_count"

_CLASS_OF = {
    NE: "NormalizedEntropy",
    CALIBRATION: "CalibrationRatio",
    BASE_RATE: "BaseRate",
    AUC: "WeightedAUC",
    CHANGE: "NECandidateMinusBaseline",
    CHANGE_LOWER: "NEChangeLower",
    CHANGE_UPPER: "NEChangeUpper",
    GAUC: "GAUC",
    GAUC_COVERAGE: "GAUCCoverage",
}
OUTPUTS = tuple(features.LABEL_OF_OUTPUT)
SMALLEST_GAIN = 1e-9
"""What "below zero" means to a threshold that includes its bound: a twin of production is not better."""


class GateSettings(Settings):
    """What a candidate must reach to be pushed.

    NE is normalized entropy (He et al. 2014): 1 is as good as predicting the base rate, lower is better.
    """

    max_ne: dict[str, float] = dict.fromkeys(OUTPUTS, 1.0)
    """Largest NE by output; an output that is not named is not gated."""
    calibration: tuple[float, float] | None = (0.8, 1.25)
    """Bounds of sum of predictions over sum of labels, for p_conversion; null: not gated."""
    ties: Literal["push", "block"] = "push"
    """What to do with a candidate whose change of NE against production is inside the noise. push: it is
    blocked only when significantly worse. block: it must be significantly better."""
    tolerance: float = Field(0.0, ge=0.0)
    """With ties: push, the NE that a candidate may lose beyond the noise."""
    change_outputs: tuple[str, ...] = OUTPUTS
    """Outputs whose change against production is gated; the bounds are 95 %, by a paired bootstrap over
    users."""
    slices: tuple[str, ...] = (features.LEAF, features.USER_ACTIVITY)
    """Columns to slice by, beside the whole eval split."""
    gauc: bool = False
    """Grouped AUC by user in TFMA too; the run report has it either way."""

    @field_validator("calibration")
    @classmethod
    def _in_order(cls, bounds):
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"the lower bound must be below the upper one; got {list(bounds)}")
        return bounds

    @field_validator("slices")
    @classmethod
    def _known_columns(cls, slices):
        for column in slices:
            if column not in features.STRINGS and not features.is_context(column):
                known = ", ".join(features.STRINGS)
                raise ValueError(f"no column {column!r} to slice by; choose {known} or a context_ column")
        return slices

    @field_validator("max_ne", "change_outputs")
    @classmethod
    def _known_outputs(cls, value):
        unknown = sorted(set(value) - set(OUTPUTS))
        if unknown:
            raise ValueError(f"unknown output {unknown[0]!r}; known: {', '.join(OUTPUTS)}")
        return value


def eval_config(
    gate: GateSettings,
    label_of_output: Mapping[str, str],
    has_baseline: bool = True,
    code_hash: str = "",
) -> tfma.EvalConfig:
    """The EvalConfig of a gate.

    Args:
        gate: what to reach.
        label_of_output: what each served output is judged against.
        has_baseline: whether the Evaluator gets a baseline model; without one there are no change thresholds.
        code_hash: of the metrics' sources, so that a change in them is not answered from the cache.

    Raises:
        InputError: the gate asks for nothing, so no model could ever be blessed.
    """
    from tensorflow_model_analysis.proto import config_pb2

    if not (gate.max_ne or gate.calibration or (has_baseline and gate.change_outputs)):
        raise InputError(
            "gate: nothing is asked of a model, so none can pass: set max_ne, calibration or change_outputs"
        )
    names = (CANDIDATE, BASELINE) if has_baseline else (CANDIDATE,)
    config = config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                name=name,
                signature_name=SIGNATURE,
                label_keys=label_of_output,
                is_baseline=name == BASELINE,
            )
            for name in names
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[column]) for column in gate.slices),
        ],
    )
    config.options.include_default_metrics.value = False
    config.options.compute_confidence_intervals.value = False
    # No min_slice_size: TFMA strips small slices of their metrics, and its validator then misses them there
    # and blocks.

    config.metrics_specs.append(_spec(names[:1], features.P_CONVERSION, [_metric(COUNT)]))
    for output in OUTPUTS:
        ours = [
            _metric(NE, _bounds(upper=gate.max_ne.get(output)), code_hash=code_hash),
            _metric(CALIBRATION, _bounds(*_calibration_bounds(gate, output))),
            _metric(BASE_RATE),
        ]
        # Ranking metrics of the candidate alone: every state costs a pass over the rows of every slice.
        ranking = [_metric(AUC), *([_metric(GAUC), _metric(GAUC_COVERAGE)] if gate.gauc else [])]
        config.metrics_specs.append(_spec(names, output, ours))
        config.metrics_specs.append(_spec((CANDIDATE,), output, ranking))
        if has_baseline:
            config.metrics_specs.append(_spec((CANDIDATE,), output, _change_metrics(gate, output)))
    return config


def _calibration_bounds(gate: GateSettings, output: str) -> tuple[float | None, float | None]:
    return gate.calibration if gate.calibration and output == features.P_CONVERSION else (None, None)


def _change_metrics(gate: GateSettings, output: str) -> list:
    gated = output in gate.change_outputs
    not_worse = gate.tolerance if gated and gate.ties == "push" else None
    better = -SMALLEST_GAIN if gated and gate.ties == "block" else None
    return [
        _metric(CHANGE),
        _metric(CHANGE_LOWER, _bounds(upper=not_worse)),
        _metric(CHANGE_UPPER, _bounds(upper=better)),
    ]


def _bounds(lower: float | None = None, upper: float | None = None):
    """A threshold on the whole eval split, or None."""
    from tensorflow_model_analysis.proto import config_pb2

    if lower is None and upper is None:
        return None
    threshold = config_pb2.PerSliceMetricThreshold(slicing_specs=[config_pb2.SlicingSpec()])
    bounds = threshold.threshold.value_threshold
    if lower is not None:
        bounds.lower_bound.value = lower
    if upper is not None:
        bounds.upper_bound.value = upper
    return threshold


def _metric(name: str, threshold=None, **config: str):
    from tensorflow_model_analysis.proto import config_pb2

    ours = name in _CLASS_OF
    return config_pb2.MetricConfig(
        class_name=_CLASS_OF[name] if ours else "ExampleCount",
        module=METRICS_MODULE if ours else "",
        config=json.dumps({"name": name, **config}, sort_keys=True),
        per_slice_thresholds=[threshold] if threshold is not None else [],
    )


def _spec(model_names: tuple[str, ...], output: str, metrics: list):
    from tensorflow_model_analysis.proto import config_pb2

    return config_pb2.MetricsSpec(
        model_names=model_names,
        output_names=[output],
        metrics=metrics,
        example_weights=config_pb2.ExampleWeightOptions(unweighted=True),
    )
