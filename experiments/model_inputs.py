"""Raw click examples -> model inputs, by the Transform graph of models.preprocessing, in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.similarity_transform.click_examples import record_batches
from models import features as names
from models.feature_space import FeatureSpace
from models.settings import PreprocessingSettings

Columns = dict[str, np.ndarray | pa.Array]


def model_inputs(
    train: Sequence[Columns], rows: Sequence[Columns], settings: PreprocessingSettings
) -> tuple[dict[str, np.ndarray], FeatureSpace]:
    """Learns the graph from training rows and applies it to all rows.

    Args:
        train: parts of the raw training rows (`components.similarity_transform.click_examples`).
        rows: parts of the rows that are wanted, in order.

    Returns:
        Inputs by name, [rows, ...] int32 ids (the user's fold among them) and float32 numbers, and their
        sizes.
    """
    import tensorflow_transform as tft
    from tfx_bsl.tfxio.tensor_adapter import TensorAdapter

    with tempfile.TemporaryDirectory(prefix="cabb-transform-") as scratch:
        adapter = TensorAdapter(_analyse(train, settings, Path(scratch)))
        transform = tft.TFTransformOutput(f"{scratch}/graph")
        layer = transform.transform_features_layer()
        batches = [layer(adapter.ToBatchTensors(batch)) for part in rows for batch in _batches(part)]
        inputs = {
            name: _narrow(np.concatenate([batch[name].numpy() for batch in batches])) for name in batches[0]
        }
        return inputs, FeatureSpace.of_transform(transform)


def _analyse(train: Sequence[Columns], settings: PreprocessingSettings, scratch: Path):
    """Writes the graph to scratch/graph; returns how record batches become tensors."""
    import apache_beam as beam
    import tensorflow_transform.beam as tft_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from models.preprocessing import preprocessing_fn

    files = []
    for number, part in enumerate(train):
        files.append(str(scratch / f"{number}.arrow"))
        _write(part, files[-1])
    config = _tensors(next(batch for part in train for batch in _batches(part)).schema)
    custom = {"settings": settings.model_dump_json()}
    with (
        beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline,
        tft_beam.Context(temp_dir=str(scratch / "beam")),
    ):
        batches = pipeline | beam.Create(files) | beam.Reshuffle() | beam.FlatMap(_read)
        graph = (batches, config) | tft_beam.AnalyzeDataset(lambda raw: preprocessing_fn(raw, custom))
        _ = graph | tft_beam.WriteTransformFn(str(scratch / "graph"))
    return config


def _batches(columns: Columns) -> Iterator[pa.RecordBatch]:
    """Record batches of what the graph reads: features and user, without labels, weights and other keys."""
    wanted = {
        name: values
        for name, values in columns.items()
        if name in (*names.CATEGORICAL, *names.CALENDAR, *names.SEQUENCES, *names.NUMERIC, names.USER_ID)
        or names.is_context(name)
    }
    return record_batches(wanted)


def _write(columns: Columns, path: str) -> None:
    batches = list(_batches(columns))
    if batches:
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)


def _read(path: str) -> list[pa.RecordBatch]:
    if not Path(path).exists():
        return []
    with pa.OSFile(path, "rb") as source:
        return list(pa.ipc.open_stream(source))


def _tensors(schema: pa.Schema):
    """One value per row, but sequences of any length."""
    from tensorflow_metadata.proto.v0.schema_pb2 import FixedShape, TensorRepresentation
    from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

    kinds = {}
    for name in schema.names:
        if name in names.SEQUENCES:
            varying = TensorRepresentation.VarLenSparseTensor(column_name=name)
            kinds[name] = TensorRepresentation(varlen_sparse_tensor=varying)
        else:
            one = FixedShape(dim=[FixedShape.Dim(size=1)])
            dense = TensorRepresentation.DenseTensor(column_name=name, shape=one)
            kinds[name] = TensorRepresentation(dense_tensor=dense)
    return TensorAdapterConfig(schema, kinds)


def _narrow(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int32) if values.dtype == np.int64 else values
