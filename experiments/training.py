"""One variant, trained and asked in memory: the project's models and optimisers on prepared arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.feature_space import FeatureSpace
from models.settings import ModelSettings

if TYPE_CHECKING:
    from models.conversion_model import ConversionModel

_SCORED_ROWS = 8192


@dataclass(frozen=True)
class Rows:
    """What a model trains on or scores: inputs, labels and weights of models/features.py, [rows, ...]."""

    space: FeatureSpace
    inputs: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]


def train(
    settings: ModelSettings,
    data: Rows,
    rows: np.ndarray,
    held_out: np.ndarray | None = None,
    progress: Callable[[int, int], None] = lambda done, steps: None,
) -> ConversionModel:
    """A model trained on the given rows, in an order that `settings.seed` decides.

    Args:
        rows: row numbers of `data`.
        held_out: later ones that choose a bilevel lambda; not trained on.
        progress: told (steps done, steps in all) now and then.

    Raises:
        InputError: the loss, or a variable at the end, is not finite.
    """
    import tf_keras

    from models.fit import Training
    from models.inputs import TrainingRows

    tf_keras.backend.clear_session()

    def part(rows: np.ndarray) -> TrainingRows:
        columns = [
            {name: values[rows] for name, values in each.items()} for each in (data.inputs, data.labels)
        ]
        return TrainingRows.of_arrays(*columns, settings.conversion_label())

    training = Training(settings, data.space, part(rows), part(held_out) if held_out is not None else None)
    return training.run(lambda step, values: progress(step, training.steps))


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
