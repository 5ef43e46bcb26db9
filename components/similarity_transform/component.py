"""SimilarityTransform: sessions and category relatedness to labelled, weighted click examples."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.artifacts import Attribution, Sessions, Similarity
from components.similarity_transform.executor import Executor


class SimilarityTransformSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of SimilarityTransform."""

    PARAMETERS = {
        "source": ExecutionParameter(type=str),
        "windows": ExecutionParameter(type=str),
        "settings": ExecutionParameter(type=str),
        "attribution": ExecutionParameter(type=str),
        "code_hash": ExecutionParameter(type=str),
    }
    INPUTS = {
        "sessions": ChannelParameter(type=Sessions),
        "similarity": ChannelParameter(type=Similarity),
        "mta": ChannelParameter(type=Attribution, optional=True),
    }
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class SimilarityTransform(base_beam_component.BaseBeamComponent):
    """Labels every click with CABA and CABB, weighs it by relatedness and adds its point-in-time features.

    Args:
        sessions: channel of Sessions.
        similarity: channel of Similarity.
        source: JSON of LogSource: time zone, session gap and catalog.
        windows: JSON of SplitWindows: where the splits end, so that young clicks are left out.
        settings: JSON of LabelSettings.
        attribution: JSON of AttributionSettings.
        mta: channel of Attribution, if the views hold mta.
        code_hash: hash of the sources that decide the result; part of the cache key.
    """

    SPEC_CLASS = SimilarityTransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        sessions: channel.BaseChannel,
        similarity: channel.BaseChannel,
        source: str,
        windows: str,
        settings: str,
        attribution: str,
        code_hash: str = "",
        mta: channel.BaseChannel | None = None,
    ):
        super().__init__(
            SimilarityTransformSpec(
                sessions=sessions,
                similarity=similarity,
                mta=mta,
                source=source,
                windows=windows,
                settings=settings,
                attribution=attribution,
                code_hash=code_hash,
                examples=channel.Channel(type=standard_artifacts.Examples),
            )
        )
