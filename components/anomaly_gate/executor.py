"""Collects everything that is wrong with the click examples, writes it down, and stops the run."""

import os
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx import types
from tfx.components.example_validator.executor import DEFAULT_FILE_NAME
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.anomaly_gate.anomalies import (
    Anomaly,
    AnomalySettings,
    DataAnomalies,
    Distance,
    comparator_distances,
    own_distances,
    positive_counts,
    schema_anomalies,
    shift_anomalies,
    size_anomalies,
    write_report,
)
from schemas.lineage import baseline

TRAIN, EVAL = "train", "eval"


class Executor(base_executor.BaseExecutor):
    """Fails when the ExampleValidator found anything, a distribution moved, or there is too little data."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `report` and raises when there is something in it.

        Raises:
            DataAnomalies: something is wrong; the message is the table.
            InputError: the serving directory holds an unreadable version.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        settings = AnomalySettings.model_validate_json(exec_properties["settings"])
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict["schema"]))
        )
        artifact = artifact_utils.get_single_instance(input_dict["statistics"])
        splits = artifact_utils.decode_split_names(artifact.split_names)
        statistics = {
            split: stats_artifact_utils.load_statistics(artifact, split).proto() for split in splits
        }
        validated = artifact_utils.get_single_instance(input_dict["anomalies"])

        anomalies: list[Anomaly] = []
        measured: list[Distance] = []
        for split in splits:
            path = os.path.join(artifact_utils.get_split_uri([validated], split), DEFAULT_FILE_NAME)
            anomalies += schema_anomalies(split, _read(path, anomalies_pb2.Anomalies()), schema)
            anomalies += size_anomalies(split, statistics[split].datasets[0], settings)
        if settings.check_skew and {TRAIN, EVAL} <= statistics.keys():
            found = tfdv.validate_statistics(statistics[TRAIN], schema, serving_statistics=statistics[EVAL])
            measured += _distances(
                "train vs eval", "skew", schema, statistics[TRAIN], statistics[EVAL], found
            )
        before = baseline(exec_properties["serving_dir"], exec_properties["run_key"])
        if settings.check_drift and before is not None and before.statistics is not None:
            past = _read(before.statistics, statistics_pb2.DatasetFeatureStatisticsList())
            found = tfdv.validate_statistics(statistics[TRAIN], schema, previous_statistics=past)
            where = f"train vs version {before.number}"
            measured += _distances(where, "drift", schema, statistics[TRAIN], past, found)
        anomalies += shift_anomalies(measured, settings.allow)

        folders = [artifact_utils.get_single_uri(output_dict["report"])]
        if settings.copy_to:
            folders.append(settings.copy_to)
        for folder in folders:
            write_report(
                folder,
                anomalies,
                measured,
                rows={s: statistics[s].datasets[0].num_examples for s in splits},
                positives={s: positive_counts(statistics[s].datasets[0]) for s in splits},
                production_version=before.number if before else None,
            )
        if anomalies:
            raise DataAnomalies(anomalies)


def _distances(where, kind, schema, ours, theirs, found) -> list[Distance]:
    return [
        *comparator_distances(where, found),
        *own_distances(where, kind, schema, ours.datasets[0], theirs.datasets[0]),
    ]


def _read(path: str | os.PathLike, message):
    with fileio.open(os.fspath(path), "rb") as stream:
        message.ParseFromString(stream.read())
    return message
