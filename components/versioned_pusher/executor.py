"""Publishes the candidate when everybody who was asked has blessed it."""

import math
import os
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from absl import logging
from google.protobuf import json_format
from tfx import types
from tfx.components.pusher import executor as tfx_pusher
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.baseline_model.choice import IN_PRODUCTION
from components.evaluator.verdict import overall_metrics
from components.versioned_pusher.publish import publish
from schemas.lineage import FEATURE_STATE_DIR, LINEAGE_FILE, SCHEMA_FILE, STATISTICS_FILE, Lineage


class Executor(tfx_pusher.Executor):
    """TFX's pusher with versions that are complete, strictly growing and know where they came from."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Publishes `model` into the push destination and marks `pushed_model`.

        Raises:
            InputError: the destination is not a mounted directory, or holds an unreadable version.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        json_format.Parse(exec_properties["push_destination"], destination)
        folders = {"": self.GetModelPath(_as_checked(input_dict))}
        if input_dict.get("feature_state"):
            folders[str(FEATURE_STATE_DIR)] = artifact_utils.get_single_uri(input_dict["feature_state"])
        extra = {STATISTICS_FILE: _training_statistics(input_dict), SCHEMA_FILE: _schema(input_dict)}
        version = publish(
            destination.filesystem.base_directory,
            _lineage(input_dict, exec_properties, extra[SCHEMA_FILE]),
            copy_model=lambda staging: [
                io_utils.copy_dir(source, os.path.join(staging, target)) for target, source in folders.items()
            ],
            extra={path: content for path, content in extra.items() if content is not None},
        )
        fileio.makedirs(pushed.uri)
        io_utils.write_string_file(os.path.join(pushed.uri, LINEAGE_FILE.name), version.lineage.to_json())
        self._MarkPushed(pushed, pushed_destination=str(version.path), pushed_version=str(version.number))
        logging.info("Version %d is in %s.", version.number, version.path)


def _as_checked(input_dict: dict[str, list[types.Artifact]]) -> dict[str, list[types.Artifact]]:
    """The inputs without `model` when the serving check kept a copy: that one holds warm-up requests."""
    checked = input_dict.get("infra_blessing")
    if not checked or not checked[0].get_int_custom_property("has_model"):
        return input_dict
    return {key: value for key, value in input_dict.items() if key != "model"}


def _lineage(
    input_dict: dict[str, list[types.Artifact]], exec_properties: dict[str, Any], schema: bytes | None
) -> Lineage:
    lineage = Lineage.model_validate_json(exec_properties["lineage"])
    found: dict[str, Any] = {}
    if lineage.created is None:
        found["created"] = datetime.now(UTC).isoformat(timespec="seconds")
    if input_dict.get("baseline"):
        judged_against = artifact_utils.get_single_instance(input_dict["baseline"])
        found["production_at_start"] = judged_against.get_int_custom_property(IN_PRODUCTION)
    if input_dict.get("evaluation"):
        metrics = overall_metrics(artifact_utils.get_single_uri(input_dict["evaluation"]))
        found["metrics"] = {name: v if math.isfinite(v) else None for name, v in sorted(metrics.items())}
    if schema is not None:
        found["schema_hash"] = sha256(schema).hexdigest()
    return lineage.model_copy(update=found)


def _schema(input_dict: dict[str, list[types.Artifact]]) -> bytes | None:
    if not input_dict.get("schema"):
        return None
    file = io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict["schema"]))
    with fileio.open(file, "rb") as stream:
        return stream.read()


def _training_statistics(input_dict: dict[str, list[types.Artifact]]) -> bytes | None:
    if not input_dict.get("statistics"):
        return None
    artifact = artifact_utils.get_single_instance(input_dict["statistics"])
    statistics = stats_artifact_utils.load_statistics(artifact, "train").proto()
    return statistics.SerializeToString(deterministic=True)
