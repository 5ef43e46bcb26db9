"""Runs FeatureStateGen on Beam."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.feature_state.settings import FeatureStateSettings
from components.feature_state.snapshot_beam import build_snapshot
from components.session_example_gen.catalog import read_catalog
from components.similarity_transform.labels import LabelSettings
from schemas.events import LogSource


class Executor(base_beam_executor.BaseBeamExecutor):
    """Sessions -> FeatureState."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Fills `state`.

        Raises:
            InputError: the catalog cannot be read, or there are no sessions.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        source = LogSource.model_validate_json(exec_properties["source"])
        build_snapshot(
            sessions=artifact_utils.get_single_uri(input_dict["sessions"]),
            catalog=read_catalog(source),
            output=artifact_utils.get_single_uri(output_dict["state"]),
            source=source,
            labels=LabelSettings.model_validate_json(exec_properties["labels"]),
            settings=FeatureStateSettings.model_validate_json(exec_properties["settings"]),
            make_pipeline=self._make_beam_pipeline,
        )
