"""Raw click examples -> model inputs, as one graph that training and serving share (TFX Transform).

    strings    vocabulary of the training rows -> ids 1.. (frequent first), then `oov_buckets` ids
    sequences  at most SEQUENCE_LENGTH newest entries, ids of the item and leaf vocabularies, 0 at the end
    calendar   value + 1
    numeric    log1p of counts and durations, logit of rates, log of amounts; z-score over the rows where it
               is known; clip to +-CLIP; unknown -> 0 (the mean) with a flag beside it

Every number that leaves is finite, whatever comes in: constants, NaN, infinities, empty histories. Labels and
weights pass through as float32; keys (user, session, time) stay in the raw examples, which is what evaluation
reads, but for a fold of the user.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.feature_space import MAY_BE_UNKNOWN, NUMERIC, PADDING_ID
from models.settings import PreprocessingSettings
from schemas.errors import InputError

CLIP = 5.0
"""Standard deviations."""

_UNKNOWN_STRING = "__unknown__"
_SMALLEST_AMOUNT = 0.01
_SMALLEST_RATE = 1e-6


def preprocessing_fn(
    inputs: Mapping[str, Any], custom_config: Mapping[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """TFX Transform's entry point; `custom_config["settings"]` is the JSON of a PreprocessingSettings.

    Args:
      inputs: columns of models/features.py and any `context_*`; dense [batch], [batch, 1] or sparse.

    Returns:
      int64 ids [batch] per categorical, int64 [batch, SEQUENCE_LENGTH] per sequence, `numeric` float32
      [batch, n_numeric], float32 [batch] per label, credit and weight that is present; int64 [batch]
      `user_fold` if the user is.

    Raises:
      InputError: a feature of models/features.py is missing.
    """
    settings = PreprocessingSettings.model_validate_json((custom_config or {}).get("settings") or "{}")
    wanted = (*features.CATEGORICAL, *features.CALENDAR, *features.SEQUENCES, *features.NUMERIC)
    missing = [name for name in wanted if name not in inputs]
    if missing:
        raise InputError(
            f"click examples lack the features {', '.join(missing)}: remake them, or name them in the schema"
        )
    outputs: dict[str, tf.Tensor] = {}
    vocabularies = {}
    for name in (*features.CATEGORICAL, *sorted(filter(features.is_context, inputs))):
        value = _scalar(inputs[name], _UNKNOWN_STRING)
        vocabularies[name] = _vocabulary(value, name, settings)
        outputs[name] = _ids(value, vocabularies[name], settings)
    for name, shared in features.SEQUENCES.items():
        outputs[name] = _sequence(inputs[name], vocabularies[shared], settings)
    for name, size in features.CALENDAR.items():
        outputs[name] = tf.clip_by_value(tf.cast(_scalar(inputs[name], 0), tf.int64), 0, size - 1) + 1
    outputs[NUMERIC] = _numeric(inputs)
    if features.USER_ID in inputs:
        user = _scalar(inputs[features.USER_ID], "")
        outputs[features.USER_FOLD] = tf.strings.to_hash_bucket_fast(user, features.USER_FOLDS)
    for name in (*features.LABELS, *features.WEIGHTS, *features.credit_columns(features.VIEWS)):
        if name in inputs:
            outputs[name] = tf.cast(_scalar(inputs[name], 0.0), tf.float32)
    return outputs


def _scalar(value, default) -> tf.Tensor:
    """One value per row, [batch]; `default` where a sparse column has none."""
    if isinstance(value, tf.SparseTensor):
        first = value.indices[:, 1] < 1
        value = tf.sparse.retain(value, first)
        value = tf.SparseTensor(value.indices, value.values, [value.dense_shape[0], 1])
        value = tf.sparse.to_dense(value, default_value=tf.cast(default, value.dtype))
    return tf.reshape(value, [-1])


def _vocabulary(value: tf.Tensor, name: str, settings: PreprocessingSettings):
    return tft.vocabulary(
        value,
        top_k=settings.vocabulary_max_size,
        frequency_threshold=settings.vocabulary_min_count,
        vocab_filename=name,
    )


def _ids(value, vocabulary, settings: PreprocessingSettings):
    """Ids from 1; 0 stays free for padding. Keeps the shape and the sparseness of `value`."""
    shifted = lambda x, table: _lookup(x, table, settings.oov_buckets)  # noqa: E731
    return tft.apply_vocabulary(value, vocabulary, default_value=PADDING_ID, lookup_fn=shifted)


def _lookup(value: tf.Tensor, vocabulary_file: tf.Tensor, oov_buckets: int):
    # A table that is filled inside the function which looks values up is filled again by every call: each
    # request would read the file. The path is symbolic only while the file is not written yet.
    written = not tf.is_symbolic_tensor(vocabulary_file)
    with tf.init_scope() if written else contextlib.nullcontext():
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                vocabulary_file,
                key_dtype=tf.string,
                key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
                value_dtype=tf.int64,
                value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            num_oov_buckets=oov_buckets,
        )
        size = table.size()
    # The size that Transform records becomes the highest id + 1 after the shift.
    return table.lookup(value) + 1, size + 1


def _sequence(value, vocabulary, settings: PreprocessingSettings) -> tf.Tensor:
    """Ids of the newest entries, [batch, SEQUENCE_LENGTH], padded with 0 at the end."""
    if not isinstance(value, tf.SparseTensor):
        value = tf.sparse.from_dense(value)
    value = tf.sparse.retain(value, value.indices[:, 1] < features.SEQUENCE_LENGTH)
    shape = [value.dense_shape[0], features.SEQUENCE_LENGTH]
    ids = _lookup_sparse(tf.SparseTensor(value.indices, value.values, shape), vocabulary, settings)
    dense = tf.sparse.to_dense(ids, default_value=PADDING_ID)
    return tf.reshape(dense, [-1, features.SEQUENCE_LENGTH])


def _lookup_sparse(value: tf.SparseTensor, vocabulary, settings: PreprocessingSettings) -> tf.SparseTensor:
    ids = _ids(value.values, vocabulary, settings)
    return tf.SparseTensor(value.indices, ids, value.dense_shape)


def _numeric(inputs: Mapping[str, Any]) -> tf.Tensor:
    """Scaled numeric vector, [batch, n_numeric], columns as in feature_space.numeric_names()."""
    # In float64, because a float32 logarithm differs in its last digit with a row's place in the batch.
    raw = tf.stack(
        [tf.cast(_scalar(inputs[name], features.NEVER), tf.float64) for name in features.NUMERIC], axis=1
    )
    known = tf.math.is_finite(raw) & (raw >= 0)
    raw = tf.where(known, raw, tf.zeros_like(raw))
    log1p = tf.math.log1p(raw)
    rate = tf.clip_by_value(raw, _SMALLEST_RATE, 1 - _SMALLEST_RATE)
    logit = tf.math.log(rate) - tf.math.log1p(-rate)
    log = tf.math.log(tf.maximum(raw, _SMALLEST_AMOUNT))
    value = tf.where(_columns(features.RATES), logit, tf.where(_columns(features.AMOUNTS), log, log1p))
    scaled = _z_score(value, known)
    flagged = [features.NUMERIC.index(name) for name in MAY_BE_UNKNOWN]
    flags = tf.gather(tf.cast(known, tf.float32), flagged, axis=1)
    output = tf.concat([scaled, flags], axis=1)
    return tf.reshape(output, [-1, len(features.NUMERIC) + len(MAY_BE_UNKNOWN)])


def _columns(group: tuple[str, ...]) -> tf.Tensor:
    """Which numeric columns belong to a group, [1, len(NUMERIC)] bool."""
    return tf.constant([[name in group for name in features.NUMERIC]])


def _z_score(value: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """(value - mean) / sd over known rows, clipped; 0 where unknown or constant. One pass over the data,
    float64 sums, so that the order in which workers add does not reach the float32 result."""
    width = len(features.NUMERIC)
    mask = tf.cast(known, tf.float64)
    exact = value * mask
    sums = tft.sum(tf.concat([mask, exact, exact * exact], axis=1), reduce_instance_dims=False)
    count = tf.maximum(sums[:width], 1.0)
    mean = sums[width : 2 * width] / count
    variance = tf.maximum(sums[2 * width :] / count - mean * mean, 0.0)
    # Rounding leaves a constant column a variance of order 1e-16: treat it as none.
    varies = variance > 1e-10 * tf.maximum(mean * mean, 1e-4)
    scale = tf.where(varies, tf.math.rsqrt(tf.where(varies, variance, tf.ones_like(variance))), 0.0)
    scaled = tf.cast((value - mean) * scale, tf.float32)
    return tf.where(known, tf.clip_by_value(scaled, -CLIP, CLIP), tf.zeros_like(scaled))
