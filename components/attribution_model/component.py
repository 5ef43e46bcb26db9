"""AttributionModel: training sessions to the model behind the `mta` view."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.artifacts import Attribution, Sessions, Similarity
from components.attribution_model.executor import Executor


class AttributionModelSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of AttributionModel."""

    PARAMETERS = {
        "settings": ExecutionParameter(type=str),
        "session_gap_minutes": ExecutionParameter(type=float),
        "code_hash": ExecutionParameter(type=str),
    }
    INPUTS = {
        "sessions": ChannelParameter(type=Sessions),
        "similarity": ChannelParameter(type=Similarity),
    }
    OUTPUTS = {"attribution": ChannelParameter(type=Attribution)}


class AttributionModel(base_beam_component.BaseBeamComponent):
    """Learns what each touch adds to P(conversion | touches), cross-fitted by user fold (MAL 2.2, 3.1).

    Args:
        sessions: channel of Sessions.
        similarity: channel of Similarity.
        settings: JSON of AttributionSettings.
        session_gap_minutes: inactivity that ends a session.
        code_hash: hash of the sources that decide the result; part of the cache key.
    """

    SPEC_CLASS = AttributionModelSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        sessions: channel.BaseChannel,
        similarity: channel.BaseChannel,
        settings: str,
        session_gap_minutes: float,
        code_hash: str = "",
    ):
        super().__init__(
            AttributionModelSpec(
                sessions=sessions,
                similarity=similarity,
                settings=settings,
                session_gap_minutes=session_gap_minutes,
                code_hash=code_hash,
                attribution=channel.Channel(type=Attribution),
            )
        )
