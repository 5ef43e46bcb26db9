"""CategorySimilarity: sessions to category relatedness."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.artifacts import Sessions, Similarity
from components.category_similarity.executor import Executor


class CategorySimilaritySpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of CategorySimilarity."""

    PARAMETERS = {
        "settings": ExecutionParameter(type=str),
        "code_hash": ExecutionParameter(type=str),
    }
    INPUTS = {"sessions": ChannelParameter(type=Sessions)}
    OUTPUTS = {"similarity": ChannelParameter(type=Similarity)}


class CategorySimilarity(base_beam_component.BaseBeamComponent):
    """Learns how related two leaf categories are from the training split's co-engagement (CABB 3.3).

    Args:
        sessions: channel of Sessions.
        settings: JSON of SimilaritySettings.
        code_hash: hash of the sources that decide the result; part of the cache key.
    """

    SPEC_CLASS = CategorySimilaritySpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, sessions: channel.BaseChannel, settings: str, code_hash: str = ""):
        super().__init__(
            CategorySimilaritySpec(
                sessions=sessions,
                settings=settings,
                code_hash=code_hash,
                similarity=channel.Channel(type=Similarity),
            )
        )
