"""How weights move: seeds, the two optimisers of a training and their learning rates over its steps."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from models.settings import ModelSettings

_FIRST_ACCUMULATOR = 1e-7
"""Adagrad divides by the root of the squared gradients summed so far. Those of an embedding are means over a
batch in which few rows have its id: 1e-4 and less. Keras starts the sum at 0.1, beside which they would never
count, and tables would hardly learn."""


def be_deterministic(seed: int) -> None:
    """Seeds every generator and asks for ops whose result does not depend on the order of threads."""
    tf_keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def optimizers(
    settings: ModelSettings, steps: int, embedding_steps: int
) -> tuple[tf_keras.optimizers.legacy.Optimizer, tf_keras.optimizers.legacy.Optimizer]:
    """(dense, embedding): Adam for `steps` steps, and Adagrad with sparse updates for `embedding_steps`.

    The legacy classes update a variable by one fused kernel; the newer ones by a dozen small ones.
    """
    return (
        tf_keras.optimizers.legacy.Adam(Schedule(settings.dense_learning_rate, steps, settings.warmup_share)),
        tf_keras.optimizers.legacy.Adagrad(
            Schedule(settings.embedding_learning_rate, embedding_steps, settings.warmup_share),
            initial_accumulator_value=_FIRST_ACCUMULATOR,
        ),
    )


class Schedule(tf_keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up over `warmup_share` of the steps, then a linear fall to 0; 0 from there on."""

    def __init__(self, peak: float, steps: int, warmup_share: float):
        self._peak, self._steps, self._warmup = peak, steps, warmup_share

    def __call__(self, step):
        done = (tf.cast(step, tf.float32) + 1) / float(self._steps)
        rising = done / max(self._warmup, 1e-9)
        falling = 1 - (done - self._warmup) / (1 - self._warmup)
        return self._peak * tf.clip_by_value(tf.minimum(rising, falling), 0.0, 1.0)

    def get_config(self):
        return {"peak": self._peak, "steps": self._steps, "warmup_share": self._warmup}
