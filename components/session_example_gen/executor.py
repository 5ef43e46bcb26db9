"""Builds sessions with the pipeline's Beam runner."""

import json
from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.session_example_gen.sessions_beam import REJECTED_DIR, build_sessions
from components.session_example_gen.splits import SPLITS, SplitWindows
from schemas.events import LogSource


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes the `Sessions` artifact."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Fills `sessions`, with the custom property `splits`.

        Raises:
            InputError: the logs or the catalog cannot be used. The runner then removes the artifact, so the
                rejected rows are kept in the component's own directory.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        sessions = artifact_utils.get_single_instance(output_dict["sessions"])
        component_dir = Path(sessions.uri).parents[1]
        counts = build_sessions(
            LogSource.model_validate_json(exec_properties["source"]),
            SplitWindows.model_validate_json(exec_properties["windows"]),
            sessions.uri,
            exec_properties["partitions"],
            self._make_beam_pipeline,
            refused_dir=str(component_dir / REJECTED_DIR),
        )
        sessions.set_string_custom_property("splits", json.dumps(SPLITS))
        logging.info("Sessions: %s", json.dumps({**counts.to_json(), "files": len(counts.files)}))
