"""The FeatureStateGen component."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.artifacts import FeatureState, Sessions
from components.feature_state.executor import Executor


class FeatureStateGenSpec(component_spec.ComponentSpec):
    """Sessions in, feature state out."""

    PARAMETERS = {
        "source": ExecutionParameter(type=str),
        "labels": ExecutionParameter(type=str),
        "settings": ExecutionParameter(type=str),
        "code_hash": ExecutionParameter(type=str),
    }
    INPUTS = {"sessions": ChannelParameter(type=Sessions)}
    OUTPUTS = {"state": ChannelParameter(type=FeatureState)}


class FeatureStateGen(base_beam_component.BaseBeamComponent):
    """What serving has to know to score a click with the features of training, as of the last event.

    Args:
        sessions: channel of Sessions.
        source: JSON of LogSource: how logs are read, and the catalog.
        labels: JSON of LabelSettings: the label window, by which conversion rates lag.
        settings: JSON of FeatureStateSettings.
        code_hash: of the sources, part of the cache key.

    Outputs:
        state: `FeatureState`.
    """

    SPEC_CLASS = FeatureStateGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self, sessions: channel.BaseChannel, source: str, labels: str, settings: str, code_hash: str
    ):
        super().__init__(
            FeatureStateGenSpec(
                sessions=sessions,
                source=source,
                labels=labels,
                settings=settings,
                code_hash=code_hash,
                state=channel.Channel(type=FeatureState),
            )
        )
