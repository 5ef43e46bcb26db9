"""One variant, trained and asked in memory: the project's models and optimisers on prepared arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models import features as names
from models.feature_space import FeatureSpace
from models.settings import ModelSettings
from schemas.errors import InputError

if TYPE_CHECKING:
    from models.conversion_model import ConversionModel

_SCORED_ROWS = 8192
_STEPS_BETWEEN_WORDS = 200


@dataclass(frozen=True)
class Rows:
    """What a model trains on or scores: inputs, labels and weights of models/features.py, [rows, ...]."""

    space: FeatureSpace
    inputs: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]

    def base_rates(self, rows: np.ndarray) -> dict[str, float]:
        """Mean of every label over some rows, under their weights."""
        weight = self.labels[names.ROW_WEIGHT][rows].astype(np.float64)
        return {
            name: float((weight * values[rows]).sum() / weight.sum())
            for name, values in self.labels.items()
            if name not in names.WEIGHTS
        }


def train(
    settings: ModelSettings,
    data: Rows,
    rows: np.ndarray,
    progress: Callable[[int, int], None] = lambda done, steps: None,
) -> ConversionModel:
    """A model trained on the given rows, in an order that `settings.seed` decides.

    Args:
        rows: row numbers of `data`.
        progress: told (steps done, steps in all) now and then.

    Raises:
        InputError: a variable is not finite at the end.
    """
    import tensorflow as tf
    import tf_keras

    from models import registry
    from models.optimizers import be_deterministic, optimizers

    tf_keras.backend.clear_session()
    be_deterministic(settings.seed)
    shuffle = np.random.default_rng(settings.seed)
    order = tf.constant(np.concatenate([shuffle.permutation(rows) for _ in range(settings.epochs)]))
    size = settings.batch_size
    steps = -(-order.shape[0] // size)
    inputs, labels = _tensors(data.inputs), _tensors(data.labels)

    def batch(step):
        taken = order[step * size : (step + 1) * size]
        return tuple({name: tf.gather(x, taken) for name, x in each.items()} for each in (inputs, labels))

    space = FeatureSpace(**{**vars(data.space), "base_rate": data.base_rates(rows)})
    model = registry.create(settings, space)
    dense, embedding = optimizers(settings, steps)
    model.prepare(batch(0), dense=dense, embedding=embedding)

    @tf.function
    def run(first, end):
        for step in tf.range(first, end):
            model.train_step(batch(step))

    for first in range(0, steps, _STEPS_BETWEEN_WORDS):
        end = min(first + _STEPS_BETWEEN_WORDS, steps)
        run(tf.constant(first), tf.constant(end))
        progress(end, steps)
    if not all(np.isfinite(variable.numpy()).all() for variable in model.trainable_variables):
        raise InputError(
            f"{settings.model}: training diverged; lower dense_learning_rate (now "
            f"{settings.dense_learning_rate:g}) or embedding_learning_rate (now "
            f"{settings.embedding_learning_rate:g})"
        )
    return model


def score(model: ConversionModel, data: Rows, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Every served output on the given rows, float32 [rows]."""
    import tensorflow as tf

    call = tf.function(lambda inputs: model(inputs), reduce_retracing=True)
    answers = []
    for start in range(0, len(rows), _SCORED_ROWS):
        taken = rows[start : start + _SCORED_ROWS]
        answers.append(call({name: values[taken] for name, values in data.inputs.items()}))
    return {
        output: np.concatenate([answer[output].numpy().reshape(-1) for answer in answers])
        for output in answers[0]
    }


def _tensors(columns: Mapping[str, np.ndarray]):
    import tensorflow as tf

    return {name: tf.constant(np.asarray(values)) for name, values in columns.items()}
