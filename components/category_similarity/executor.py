"""Runs CategorySimilarity on Beam."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity_beam import build_similarity


class Executor(base_beam_executor.BaseBeamExecutor):
    """Sessions -> Similarity."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes leaves.parquet, pairs.parquet and meta.json.

        Raises:
            InputError: no training event has a category and a weight.
        """
        build_similarity(
            sessions=artifact_utils.get_single_uri(input_dict["sessions"]),
            output=artifact_utils.get_single_uri(output_dict["similarity"]),
            settings=SimilaritySettings.model_validate_json(exec_properties["settings"]),
            make_pipeline=self._make_beam_pipeline,
        )
