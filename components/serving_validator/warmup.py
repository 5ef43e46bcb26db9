"""Warm-up requests of an export, made from examples: what the first requests in production will look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from schemas.errors import InputError
from serving import wire
from serving.requests import Features, Requests
from serving.servable import DEFAULT_SIGNATURE, WARMUP_FILE

EXAMPLES = "examples"
_TF_TYPES = {wire.DT_STRING: tf.string, wire.DT_FLOAT: tf.float32, wire.DT_INT64: tf.int64}


def read_examples(split_dir: str | Path, count: int) -> list[bytes]:
    """The first `count` serialised tf.Examples of a split of gzip TFRecords, in the order of the file names.

    Raises:
        InputError: the split has none.
    """
    files = sorted(tf.io.gfile.glob(f"{split_dir}/*.gz"))
    records = tf.data.TFRecordDataset(files, "GZIP").take(count) if files else []
    examples = [record.numpy() for record in records]
    if not examples:
        raise InputError(f"{split_dir}: no examples to check serving with; the split must not be empty")
    return examples


def raw_columns(examples: Sequence[bytes], features: Features) -> dict[str, np.ndarray]:
    """Raw features by name: [rows], sequences [rows, longest] padded with "".

    Raises:
        InputError: an example lacks a feature that the model reads.
    """
    spec = {
        name: tf.io.VarLenFeature(_TF_TYPES[feature.dtype])
        if feature.sequence
        else tf.io.FixedLenFeature([], _TF_TYPES[feature.dtype])
        for name, feature in features.items()
    }
    try:
        parsed = tf.io.parse_example(tf.constant(list(examples)), spec)
    except tf.errors.InvalidArgumentError as error:
        raise InputError(f"eval examples: {error.message.splitlines()[0]}") from None
    return {
        name: (tf.sparse.to_dense(value, "") if isinstance(value, tf.SparseTensor) else value).numpy()
        for name, value in parsed.items()
    }


def as_ranking(
    columns: Mapping[str, np.ndarray], features: Features
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A ranking made of rows: the first row's user, and the candidates of all rows."""
    user = {
        name: [each for each in values[0].tolist() if each] or [""] if features[name].sequence else values[0]
        for name, values in columns.items()
        if not features[name].of_candidate
    }
    return user, {name: values for name, values in columns.items() if features[name].of_candidate}


def example_request(examples: Sequence[bytes], model: str) -> predict_pb2.PredictRequest:
    """A request of the default signature."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, DEFAULT_SIGNATURE
    request.inputs[EXAMPLES].CopyFrom(tf.make_tensor_proto(list(examples), tf.string))
    return request


def write_warmup(
    export: Path, examples: Sequence[bytes], features: Features, sizes: Sequence[int], model: str
) -> None:
    """Puts warm-up requests into an export: each size, as raw tensors, as a ranking and as examples.

    Args:
        export: a SavedModel's folder.
        examples: serialised; a size larger than their number is cut to it.
        features: what the model reads.
        sizes: rows per request.
        model: name in the requests; servers do not look at it.
    """
    columns, requests = raw_columns(examples, features), Requests(features, model)
    file = export / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    temporary = file.with_name(f".{file.name}.tmp")
    with tf.io.TFRecordWriter(str(temporary)) as writer:
        for size in sorted({min(size, len(examples)) for size in sizes}):
            some = {n: values[:size] for n, values in columns.items()}
            ours = [requests.score(some), requests.rank(*as_ranking(some, features))]
            for request in (
                *(predict_pb2.PredictRequest.FromString(each.SerializeToString()) for each in ours),
                example_request(examples[:size], model),
            ):
                log = prediction_log_pb2.PredictionLog()
                log.predict_log.request.CopyFrom(request)
                writer.write(log.SerializeToString(deterministic=True))
    temporary.replace(file)
