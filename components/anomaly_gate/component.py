"""The AnomalyGate component."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.anomaly_gate.executor import Executor
from components.artifacts import AnomalyReport


class AnomalyGateSpec(component_spec.ComponentSpec):
    """Statistics and the validator's findings in, a report or a stopped run out."""

    INPUTS = {
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }
    OUTPUTS = {"report": component_spec.ChannelParameter(type=AnomalyReport)}
    PARAMETERS = {
        "serving_dir": component_spec.ExecutionParameter(type=str),
        "run_key": component_spec.ExecutionParameter(type=str),
        "serving_state": component_spec.ExecutionParameter(type=str),
        "settings": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }


class AnomalyGate(base_component.BaseComponent):
    """Stops the run when its click examples cannot be trusted.

    TFX's ExampleValidator reports and goes on, and sees one split at a time. The gate stops on what it
    reported, on skew (train against eval), on drift (train against the train split of the version in
    production) and on too little data. Order Transform after it: `transform.add_upstream_node(gate)`.

    Outputs:
        report: `anomalies.json`.
    """

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        anomalies: types.BaseChannel,
        serving_dir: str,
        run_key: str,
        serving_state: str,
        settings: str,
        code_hash: str,
    ) -> None:
        """Declares the component.

        Args:
            statistics: of the splits train and eval.
            schema: with skew and drift comparators.
            anomalies: the ExampleValidator's.
            serving_dir: where versions are published; it may not exist yet.
            run_key: of this run: production that this very run made is not compared with itself.
            serving_state: `schemas.lineage.baseline_state(...)`, part of the cache key.
            settings: JSON of `AnomalySettings`.
            code_hash: of the sources, part of the cache key.
        """
        super().__init__(
            AnomalyGateSpec(
                statistics=statistics,
                schema=schema,
                anomalies=anomalies,
                serving_dir=serving_dir,
                run_key=run_key,
                serving_state=serving_state,
                settings=settings,
                code_hash=code_hash,
                report=types.Channel(type=AnomalyReport),
            )
        )
