"""The VersionedPusher component."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import pusher_pb2
from tfx.types import component_spec, standard_artifacts

from components.artifacts import FeatureState
from components.versioned_pusher.executor import Executor


class VersionedPusherSpec(component_spec.ComponentSpec):
    """TFX's pusher, with what a version's lineage is made from."""

    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
        ),
        "infra_blessing": component_spec.ChannelParameter(
            type=standard_artifacts.InfraBlessing, optional=True
        ),
        "baseline": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation, optional=True),
        "statistics": component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema, optional=True),
        "feature_state": component_spec.ChannelParameter(type=FeatureState, optional=True),
    }
    OUTPUTS = {"pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}
    PARAMETERS = {
        "push_destination": component_spec.ExecutionParameter(type=pusher_pb2.PushDestination),
        "serving_state": component_spec.ExecutionParameter(type=str),
        "lineage": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }


class VersionedPusher(base_component.BaseComponent):
    """Publishes a blessed model as the next integer version of the serving directory.

    Outputs:
        pushed_model: custom properties `pushed` (0 or 1), `pushed_destination`, `pushed_version`; holds the
        version's
            lineage.json. The model itself is in the destination only.
    """

    SPEC_CLASS = VersionedPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        push_destination: pusher_pb2.PushDestination,
        lineage: str,
        serving_state: str,
        code_hash: str,
        model_blessing: types.BaseChannel | None = None,
        infra_blessing: types.BaseChannel | None = None,
        baseline: types.BaseChannel | None = None,
        evaluation: types.BaseChannel | None = None,
        statistics: types.BaseChannel | None = None,
        schema: types.BaseChannel | None = None,
        feature_state: types.BaseChannel | None = None,
    ) -> None:
        """Declares the component.

        Args:
            model: the candidate.
            push_destination: `filesystem.base_directory` is the serving directory, mounted where this runs.
            lineage: JSON of `schemas.lineage.Lineage`, what the runner knows of the run.
            serving_state: `schemas.lineage.push_state(...)`, so that a cached push never stands for a
            missing version. code_hash: of the sources, part of the cache key.
            model_blessing: the Evaluator's; without it nobody judged the model.
            infra_blessing: the serving check's.
            baseline: what the candidate was judged against: a push is refused if production changed since.
            evaluation: gives the lineage its metrics.
            statistics: of the examples; the train split's are kept for the next run's drift check.
            schema: kept with the version, its hash in the lineage.
            feature_state: kept with the version, for serving to start from.
        """
        super().__init__(
            VersionedPusherSpec(
                model=model,
                model_blessing=model_blessing,
                infra_blessing=infra_blessing,
                baseline=baseline,
                evaluation=evaluation,
                statistics=statistics,
                schema=schema,
                feature_state=feature_state,
                push_destination=push_destination,
                serving_state=serving_state,
                lineage=lineage,
                code_hash=code_hash,
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            )
        )
