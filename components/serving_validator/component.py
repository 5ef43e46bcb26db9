"""The ServingValidator component."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.serving_validator.executor import Executor


class ServingValidatorSpec(component_spec.ComponentSpec):
    """A candidate and examples in, an infra blessing out."""

    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}
    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }


class ServingValidator(base_component.BaseComponent):
    """Serves the candidate in a fresh process, replays eval examples over gRPC, and blesses what agrees.

    TFX's InfraValidator needs docker or Kubernetes; this one needs neither.

    Outputs:
        blessing: custom property `blessed` (0 or 1); `serving.json` with figures and reasons; and the
            candidate with warm-up requests inside, which is what a pusher publishes.
    """

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, model: types.BaseChannel, examples: types.BaseChannel, settings: str, code_hash: str
    ) -> None:
        """Declares the component.

        Args:
            model: the candidate.
            examples: raw click examples with a split `eval`.
            settings: JSON of `ServingCheckSettings`.
            code_hash: of the sources, part of the cache key.
        """
        super().__init__(
            ServingValidatorSpec(
                model=model,
                examples=examples,
                settings=settings,
                code_hash=code_hash,
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
