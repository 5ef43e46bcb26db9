"""Runs SimilarityTransform on Beam."""

import math
from datetime import timedelta
from typing import Any

from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.session_example_gen.catalog import read_catalog
from components.session_example_gen.splits import SplitWindows
from components.similarity_transform.attribution_views import AttributionSettings
from components.similarity_transform.click_examples_beam import build_click_examples, observed_until
from components.similarity_transform.labels import LabelSettings
from components.similarity_transform.leaf_prices import mean_leaf_prices
from schemas.events import LogSource


class Executor(base_beam_executor.BaseBeamExecutor):
    """Sessions, Similarity, Attribution if there is one -> Examples."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes gzip TFRecords of tf.Examples by split, and label_counts.json beside the splits.

        Raises:
            InputError: the catalog cannot be read, or a split has no example.
        """
        mta = input_dict.get("mta")
        sessions = artifact_utils.get_single_uri(input_dict["sessions"])
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        source = LogSource.model_validate_json(exec_properties["source"])
        windows = SplitWindows.model_validate_json(exec_properties["windows"])
        attribution = AttributionSettings.model_validate_json(exec_properties["attribution"])
        settings = LabelSettings.model_validate_json(exec_properties["settings"])
        held, young = windows.holdout_start, max(settings.label_days, attribution.label_days)
        observed = observed_until(
            sessions,
            source.time_zone,
            source.session_gap_minutes,
            windows.eval_start,
            windows.eval_end,
            # The held-out days are the last ones that are old enough for a label.
            held and held - timedelta(days=math.ceil(young)),
        )
        build_click_examples(
            sessions=sessions,
            similarity=artifact_utils.get_single_uri(input_dict["similarity"]),
            output=examples.uri,
            settings=settings,
            observed=observed,
            make_pipeline=self._make_beam_pipeline,
            leaf_prices=mean_leaf_prices(read_catalog(source)),
            attribution=attribution,
            mta=artifact_utils.get_single_uri(mta) if mta else None,
        )
        examples.split_names = artifact_utils.encode_split_names(list(observed.splits))
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")
