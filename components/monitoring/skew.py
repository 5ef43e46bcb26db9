"""Serving features against the statistics of what the version learned from, by the gate's own distances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.anomaly_gate.anomalies import Distance, comparator_distances, own_distances
from schemas.errors import InputError
from schemas.lineage import SCHEMA_FILE, STATISTICS_FILE


def skew(examples: Sequence[bytes], version: Path) -> list[Distance]:
    """How far each feature that the schema limits is from training, the farthest beyond its limit first.

    Args:
        examples: serialised tf.Examples of scored rows.
        version: folder of a pushed version.

    Raises:
        InputError: the version does not say what it learned from.
    """
    import tensorflow_data_validation as tfdv
    from google.protobuf import text_format
    from tensorflow_data_validation.statistics import stats_impl
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    try:
        schema = text_format.Parse((version / SCHEMA_FILE).read_text(encoding="utf-8"), schema_pb2.Schema())
        training = statistics_pb2.DatasetFeatureStatisticsList.FromString(
            (version / STATISTICS_FILE).read_bytes()
        )
    except (OSError, text_format.ParseError) as error:
        raise InputError(f"{version}: says not what it learned from ({error})") from None
    batch = ExamplesToRecordBatchDecoder().DecodeBatch(list(examples))
    serving = stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions())
    found = tfdv.validate_statistics(training, schema, serving_statistics=serving)
    where = f"version {version.name}"
    known = {each.path.step[0] for each in serving.datasets[0].features}
    distances = [each for each in comparator_distances(where, found) if each.feature in known]
    distances += own_distances(where, "skew", schema, training.datasets[0], serving.datasets[0])
    return sorted(distances, key=lambda each: (each.value <= each.threshold, each.threshold - each.value))
