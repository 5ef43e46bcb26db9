"""Runs the pipeline in this process: SQLite metadata, Beam in memory, one line of progress per node."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.orchestration.portable.tfx_runner import IrBasedRunner
from tfx.proto.orchestration import pipeline_pb2


@dataclass(frozen=True)
class NodeEnd:
    """How one node ended: its name, seconds it took, and whether TFX's cache answered."""

    name: str
    seconds: float
    cached: bool


class LocalRunner(IrBasedRunner):
    """TFX's local runner loop with a run id of ours and a report on every node.

    Args:
        run_id: name of the run in the metadata store.
        starts: called with a node's name before it runs.
        ends: called when it has ended.
    """

    def __init__(self, run_id: str, starts: Callable[[str], None], ends: Callable[[NodeEnd], None]) -> None:
        self._run_id = run_id
        self._starts = starts
        self._ends = ends

    def run_with_ir(
        self, pipeline: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None
    ) -> dict[str, dict[str, str]]:
        """Runs every node in topological order; returns {node: {output key: URI}}.

        Raises:
            Exception: what the failing node's executor raised.
        """
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self._run_id}
        )
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        database = deployment.metadata_connection_config
        connection = getattr(database, database.WhichOneof("connection_config"))
        outputs: dict[str, dict[str, str]] = {}
        for each in pipeline.nodes:
            node = each.pipeline_node
            name = node.node_info.id
            self._starts(name)
            began = time.monotonic()
            execution = launcher.Launcher(
                pipeline_node=node,
                mlmd_connection=metadata.Metadata(connection),
                pipeline_info=pipeline.pipeline_info,
                pipeline_runtime_spec=pipeline.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, name),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
            ).launch()
            with metadata.Metadata(connection) as run_history:
                # A cached execution's own output_dict names folders that were never made.
                artifacts = execution_lib.get_output_artifacts(run_history, execution.execution_id)
                (ended,) = run_history.store.get_executions_by_id([execution.execution_id])
            outputs[name] = {key: found[0].uri for key, found in artifacts.items() if found}
            self._ends(
                NodeEnd(
                    name,
                    time.monotonic() - began,
                    ended.last_known_state == metadata_store_pb2.Execution.CACHED,
                )
            )
        return outputs
