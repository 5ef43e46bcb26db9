"""The SessionExampleGen component."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec

from components.artifacts import Sessions
from components.session_example_gen.executor import Executor


class SessionExampleGenSpec(component_spec.ComponentSpec):
    """Settings in, sessions out: the logs are outside the pipeline, so their fingerprint is a parameter."""

    INPUTS = {}
    OUTPUTS = {"sessions": component_spec.ChannelParameter(type=Sessions)}
    PARAMETERS = {
        "source": component_spec.ExecutionParameter(type=str),
        "windows": component_spec.ExecutionParameter(type=str),
        "partitions": component_spec.ExecutionParameter(type=int),
        "fingerprint": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }


class SessionExampleGen(base_beam_component.BaseBeamComponent):
    """Raw logs and catalog -> sessions, split by time, every row accounted for.

    Outputs:
        sessions: `Sessions`; its custom property `splits` is the JSON list of split names.
    """

    SPEC_CLASS = SessionExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, source: str, windows: str, fingerprint: str, code_hash: str, partitions: int) -> None:
        """Declares the component.

        Args:
            source: JSON of `LogSource`.
            windows: JSON of `SplitWindows`.
            fingerprint: of the log files and the catalog, part of the cache key.
            code_hash: of the sources, part of the cache key.
            partitions: user partitions, which are the files per split; about 16 per 10 million events.
        """
        super().__init__(
            SessionExampleGenSpec(
                source=source,
                windows=windows,
                partitions=partitions,
                fingerprint=fingerprint,
                code_hash=code_hash,
                sessions=types.Channel(type=Sessions),
            )
        )
