"""Random click examples for tests: columns, tf.Example files, and a Transform graph over them."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa

from models import features as names

CONTEXT = ("context_channel", "context_device")


def columns(rows: int, *, seed: int = 0, users: int | None = None, items: int = 60) -> dict:
    """Raw columns of models/features.py, whose labels depend on some of the features."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, users or max(rows // 4, 1), rows)
    item = rng.integers(0, items, rows)
    data = {
        names.ITEM: [f"item-{i}" for i in item],
        names.LEAF: [f"Home > Leaf {i % 7}" for i in item],
        "category_top": [f"Top {i % 3}" for i in item],
        "brand": [f"brand-{i % 5}" for i in item],
        "advertiser": ["__unknown__"] * rows,
        **{name: [f"value-{v}" for v in rng.integers(0, 3, rows)] for name in CONTEXT},
    }
    lengths = rng.integers(0, names.SEQUENCE_LENGTH + 5, rows) * (rng.random(rows) < 0.5)
    history = [[f"item-{i}" for i in rng.integers(0, items, n)] for n in lengths]
    data[names.RECENT_ITEMS] = history
    data[names.RECENT_LEAVES] = [[f"Home > Leaf {int(i[5:]) % 7}" for i in row] for row in history]
    for name, size in names.CALENDAR.items():
        data[name] = rng.integers(0, size, rows)
    for name in names.COUNTS:
        data[name] = rng.poisson(2.0, rows).astype(np.float32)
    for name in names.DURATIONS:
        seconds = rng.lognormal(6, 2, rows)
        data[name] = np.where(rng.random(rows) < 0.3, names.NEVER, seconds).astype(np.float32)
    for name in names.RATES:
        data[name] = rng.beta(2, 30, rows).astype(np.float32)
    for name in names.AMOUNTS:
        price = rng.lognormal(2, 1, rows)
        data[name] = np.where(rng.random(rows) < 0.05, names.NEVER, price).astype(np.float32)
    z = 0.8 * (data["session_carts"] - 2) + np.isin(item % 7, (1, 2)) - 2.5
    caba = rng.random(rows) < 1 / (1 + np.exp(-z))
    cabb = rng.random(rows) < 1 / (1 + np.exp(-(z - 0.5 + 0.3 * (data["user_carts"] - 2))))
    data[names.Y_CABA], data[names.Y_CABB] = caba.astype(np.float32), cabb.astype(np.float32)
    data[names.Y_ANY] = (caba | cabb).astype(np.float32)
    data[names.LAST_CLICK_CREDIT] = (caba & (rng.random(rows) < 0.7)).astype(np.float32)
    for label, bought, chance in zip(
        names.ACTIONS, (caba, cabb, caba, cabb), (0.2, 0.2, 0.05, 0.05), strict=True
    ):
        data[label] = (bought | (rng.random(rows) < chance)).astype(np.float32)
    data[names.ALPHA] = np.where(cabb, rng.random(rows), 0.4).astype(np.float32)
    data[names.ROW_WEIGHT] = np.ones(rows, np.float32)
    data[names.USER_ID] = [f"user-{u}" for u in user]
    data[names.SESSION_ID] = [f"session-{u}-{n % 2}" for n, u in enumerate(user)]
    data[names.USER_ACTIVITY] = [names.USER_ACTIVITY_LEVELS[u % 4] for u in user]
    data[names.EVENT_TIME] = 1_470_000_000_000_000 + np.arange(rows) * 1_000_000
    return data


def record_batch(data: dict) -> pa.RecordBatch:
    """Columns as the list arrays that tf.Example encoding and Transform read."""
    arrays = {}
    for name, column in data.items():
        if name in names.SEQUENCES:
            arrays[name] = pa.array(
                [[v.encode() for v in row] for row in column], pa.large_list(pa.large_binary())
            )
        elif isinstance(column, list):
            arrays[name] = pa.array([[v.encode()] for v in column], pa.large_list(pa.large_binary()))
        else:
            kind = pa.int64() if np.issubdtype(column.dtype, np.integer) else pa.float32()
            flat = pa.array(column.astype(kind.to_pandas_dtype()))
            arrays[name] = pa.LargeListArray.from_arrays(
                pa.array(np.arange(len(column) + 1), pa.int64()), flat
            )
    return pa.RecordBatch.from_arrays(list(arrays.values()), list(arrays))


def serialized(data: dict) -> list[bytes]:
    """Rows as serialised tf.Examples."""
    from tfx_bsl.coders import example_coder

    return example_coder.RecordBatchToExamplesEncoder().encode(record_batch(data))


def write(data: dict, path: str) -> str:
    """Rows as one gzip TFRecord file."""
    import tensorflow as tf

    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for row in serialized(data):
            writer.write(row)
    return path


def schema(data: dict):
    """A schema in which scalars are [1] and sequences vary."""
    import tensorflow as tf
    from tensorflow_transform.tf_metadata import schema_utils

    spec = {}
    for name, column in data.items():
        if name in names.SEQUENCES:
            spec[name] = tf.io.VarLenFeature(tf.string)
        elif isinstance(column, list):
            spec[name] = tf.io.FixedLenFeature([1], tf.string)
        else:
            integer = np.issubdtype(column.dtype, np.integer)
            spec[name] = tf.io.FixedLenFeature([1], tf.int64 if integer else tf.float32)
    return schema_utils.schema_from_feature_spec(spec)


def transform(data: dict, directory: str, custom_config: dict | None = None):
    """Analyses and transforms `data`; returns (TFTransformOutput, files of transformed examples)."""
    import apache_beam as beam
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io
    from tfx_bsl.tfxio import tf_example_record

    from models.preprocessing import preprocessing_fn

    raw = write(data, os.path.join(directory, "raw-00000.gz"))
    described = schema(data)
    source = tf_example_record.TFExampleRecord([raw], schema=described)
    graph, examples = os.path.join(directory, "graph"), os.path.join(directory, "transformed-00000.gz")
    options = beam.options.pipeline_options.PipelineOptions(["--runner=FnApiRunner"])
    with (
        beam.Pipeline(options=options) as pipeline,
        tft_beam.Context(temp_dir=os.path.join(directory, "temp")),
    ):
        inputs = (pipeline | source.BeamSource(), source.TensorAdapterConfig())
        (transformed, _), transform_fn = inputs | tft_beam.AnalyzeAndTransformDataset(
            lambda columns: preprocessing_fn(columns, custom_config), output_record_batches=True
        )
        _ = transform_fn | tft_beam.WriteTransformFn(graph)
        _ = transformed | beam.combiners.ToList() | beam.Map(_write_batches, examples)
    described = dataset_metadata.DatasetMetadata(described)
    metadata_io.write_metadata(described, os.path.join(graph, tft.TFTransformOutput.RAW_METADATA_DIR))
    return tft.TFTransformOutput(graph), [examples]


def _write_batches(batches, path: str) -> None:
    import tensorflow as tf
    from tfx_bsl.coders import example_coder

    encoder = example_coder.RecordBatchToExamplesEncoder()
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for batch, _ in batches:
            for row in encoder.encode(batch):
                writer.write(row)
