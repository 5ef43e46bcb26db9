"""Runs AttributionModel on Beam."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.attribution_model.attribution_model_beam import build_mta
from components.similarity_transform.attribution_views import AttributionSettings


class Executor(base_beam_executor.BaseBeamExecutor):
    """Sessions, Similarity -> Attribution."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes mta.json and mta.npz.

        Raises:
            InputError: too few training journeys of either kind.
        """
        build_mta(
            sessions=artifact_utils.get_single_uri(input_dict["sessions"]),
            similarity=artifact_utils.get_single_uri(input_dict["similarity"]),
            output=artifact_utils.get_single_uri(output_dict["attribution"]),
            settings=AttributionSettings.model_validate_json(exec_properties["settings"]),
            session_gap_minutes=exec_properties["session_gap_minutes"],
            make_pipeline=self._make_beam_pipeline,
        )
