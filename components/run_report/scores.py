"""Scores evaluation clicks with SavedModels, in this process, by the signature that serving uses."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.run_report.judgement import SLICES, ScoredClicks
from models import features
from schemas.errors import InputError

BATCH_ROWS = 4096


def score_clicks(
    files: Sequence[str], label_of_output: Mapping[str, str], candidate: str, baseline: str | None = None
) -> ScoredClicks:
    """Reads click examples once and asks both models for every row.

    Args:
        files: gzip TFRecord shards of serialized tf.Examples; read in sorted order.
        label_of_output: column of the label by served output.
        candidate, baseline: SavedModel directories with a signature `serving_default` that takes `examples`.

    Raises:
        InputError: a model lacks the signature or an output, or the examples lack a label.
    """
    models = {"candidate": _Scorer(candidate)}
    if models["candidate"].is_calibrated:
        models["uncalibrated"] = _Scorer(candidate, "uncalibrated")
    if baseline is not None:
        models["baseline"] = _Scorer(baseline)
    rows = tf.data.TFRecordDataset(sorted(files), compression_type="GZIP").batch(BATCH_ROWS).prefetch(1)
    labels = {name: tf.io.FixedLenFeature([], tf.float32) for name in label_of_output.values()}
    spec = {**_SPEC, **labels}
    columns: dict[str, list[np.ndarray]] = {name: [] for name in spec}
    predictions = {name: {output: [] for output in features.LABEL_OF_OUTPUT} for name in models}
    for serialized in rows:
        try:
            parsed = tf.io.parse_example(serialized, spec)
        except tf.errors.InvalidArgumentError as error:
            reason = " ".join(error.message.rpartition("}} ")[2].split())[:200]
            raise InputError(f"evaluation clicks cannot be read: {reason}; make the examples again") from None
        for name, values in columns.items():
            values.append(parsed[name].numpy())
        for name, scorer in models.items():
            for output, values in scorer(serialized).items():
                predictions[name][output].append(values)
    column = {name: _joined(values, spec[name].dtype.as_numpy_dtype) for name, values in columns.items()}
    scored = {
        name: {output: _joined(values, np.float32) for output, values in outputs.items()}
        for name, outputs in predictions.items()
    }
    return ScoredClicks(
        user=column[features.USER_ID].astype("S") if len(column[features.USER_ID]) else np.zeros(0, "S1"),
        event_time_us=column[features.EVENT_TIME],
        label_of_output=label_of_output,
        labels={name: column[name] for name in labels},
        alpha=column[features.ALPHA],
        slices={name: _strings(column[name]) for name in SLICES},
        candidate=scored["candidate"],
        baseline=scored.get("baseline"),
        uncalibrated=scored.get("uncalibrated"),
    )


_SPEC = {
    features.USER_ID: tf.io.FixedLenFeature([], tf.string),
    features.EVENT_TIME: tf.io.FixedLenFeature([], tf.int64),
    features.ALPHA: tf.io.FixedLenFeature([], tf.float32),
    **{name: tf.io.FixedLenFeature([], tf.string) for name in SLICES},
}


class _Scorer:
    """One SavedModel: serialized examples [n] -> {served output: [n] float32}."""

    def __init__(self, folder: str, signature: str = "serving_default") -> None:
        self._folder = folder
        # Kept: a signature dies with its model.
        self._model = tf.saved_model.load(folder)
        if signature not in self._model.signatures:
            raise InputError(f"{folder}: the SavedModel has no signature {signature}; export it again")
        self._serve = self._model.signatures[signature]

    @property
    def is_calibrated(self) -> bool:
        """Whether the model can also say what it predicted before calibration."""
        return "uncalibrated" in self._model.signatures

    def __call__(self, serialized: tf.Tensor) -> dict[str, np.ndarray]:
        answers = self._serve(examples=serialized)
        missing = sorted(set(features.LABEL_OF_OUTPUT) - set(answers))
        if missing:
            raise InputError(
                f"{Path(self._folder)}: the model does not answer {', '.join(missing)}; export it again"
            )
        return {output: answers[output].numpy().reshape(-1) for output in features.LABEL_OF_OUTPUT}


def _joined(parts: list[np.ndarray], dtype) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def _strings(values: np.ndarray) -> np.ndarray:
    """Bytes to text; distinct values are decoded once."""
    found, codes = np.unique(values.astype("S") if len(values) else np.zeros(0, "S1"), return_inverse=True)
    return np.array([each.decode("utf-8", "replace") for each in found], dtype=object)[codes]
