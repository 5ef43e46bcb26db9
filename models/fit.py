"""Training of a model on rows in memory or in files, step by step and window by window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras

from models import features as names
from models import registry
from models.balance import BILEVEL
from models.conversion_model import TOTAL_LOSS, ConversionModel
from models.feature_space import FeatureSpace
from models.inputs import Rows, TrainingRows
from models.metrics.keras import NormalizedEntropy
from models.optimizers import be_deterministic, optimizers
from models.settings import ModelSettings
from schemas.errors import InputError

_OUTER_EVERY = 5
"""Training steps to one step of a bilevel lambda."""
_FOREVER = 1_000_000
_DECAY_STEPS = 1000
"""Shorter trainings decay by less, in proportion: a step of Adam moves a weight by its rate at most, and
decay must not undo it."""
_SCORED_ROWS = 8192

OnWindow = Callable[[int, dict[str, float]], None]
"""Told the steps done, and mean losses and progressive NE of the window that ended with them."""


class Training:
    """A model and its way through the rows; `run` goes it.

    The same settings and rows give the same model: seeds are fixed, batches come in a fixed order, ops are
    deterministic. Two optimisers move the weights: sparse Adagrad embedding tables, Adam the rest.

    Attributes:
      model: the model, built.
      steps: updates of the whole training.
    """

    def __init__(
        self,
        settings: ModelSettings,
        space: FeatureSpace,
        rows: TrainingRows,
        held_out: TrainingRows | None = None,
        max_steps: int | None = None,
    ):
        """Builds model and optimisers.

        Args:
          rows: what the model learns from.
          held_out: later rows that choose a bilevel lambda.
          max_steps: upper bound of steps; None: `settings.epochs` passes.
        """
        be_deterministic(settings.seed)
        self._settings, self._rows, self._held_out = settings, rows, held_out
        steps, embedding_steps = (
            -(-rows.rows * passes // settings.batch_size)
            for passes in (settings.epochs, settings.embedding_epochs)
        )
        self.steps = min(steps, max_steps) if max_steps else steps
        self._embedding_steps = min(embedding_steps, self.steps)
        self.model: ConversionModel = registry.create(settings, space.over(rows.statistics))
        features, labels = next(iter(self._batches(0)))
        self.model(features)
        self._loss_names = tuple(self.model.losses_of(self.model.logits(features, training=False), labels))
        self._dense, self._embedding = optimizers(settings, self.steps, self._embedding_steps)
        tables = [layer for layer in self.model.submodules if isinstance(layer, tf_keras.layers.Embedding)]
        chosen = {id(v) for layer in tables for v in layer.trainable_variables}
        self._embedding_variables = [v for v in self.model.trainable_variables if id(v) in chosen]
        self._dense_variables = [v for v in self.model.trainable_variables if id(v) not in chosen]
        balance = getattr(self.model, "balance", None)
        self._outer = balance if balance is not None and balance.lambda_cabb == BILEVEL else None
        if self._outer and held_out is None:
            raise InputError("lambda_cabb: bilevel needs held-out days; set split.holdout_days")
        self._label_of_output = settings.label_of_output()
        self._mean_losses = tf_keras.metrics.MeanTensor()
        self._normalized_entropy = NormalizedEntropy(outputs=len(self._label_of_output))

    def state(self) -> tf.train.Checkpoint:
        """All that a training needs to go on from where it is, at the end of a window."""
        return tf.train.Checkpoint(model=self.model, dense=self._dense, embedding=self._embedding)

    def run(self, on_window: OnWindow = lambda step, values: None, first: int = 0) -> ConversionModel:
        """Steps `first` to the last, a window of `log_every_steps` at a time; returns the model.

        Raises:
          InputError: the loss of a window, or a variable at the end, is not finite.
        """
        batches = iter(self._batches(first))

        @tf.function
        def advance(steps, embeddings):
            for _ in tf.range(steps):
                self._step(next(batches), embeddings)

        window = self._settings.log_every_steps
        held = self._held_out_batches(first // window * -(-window // _OUTER_EVERY)) if self._outer else None
        for start in range(first, self.steps, window):
            end = min(start + window, self.steps)
            embeddings = start < self._embedding_steps
            if held is None:
                advance(tf.constant(end - start), embeddings)
            else:
                for inner in range(start, end, _OUTER_EVERY):
                    advance(tf.constant(min(_OUTER_EVERY, end - inner) - 1), embeddings)
                    self._step_of_both(next(batches), next(held), embeddings)
            values = self._window()
            if not np.isfinite(values[TOTAL_LOSS]):
                raise diverged(self._settings, f"the loss was {values[TOTAL_LOSS]} at step {end}")
            on_window(end, values)
        refuse_non_finite(self.model)
        return self.model

    def _batches(self, skip: int) -> tf.data.Dataset:
        settings = self._settings
        return self._rows.batches(settings.batch_size, settings.epochs, settings.seed, skip)

    def _step(self, batch: Rows, embeddings: bool) -> None:
        """An update of the weights; of embedding tables too, or of all others only."""
        features, labels = batch
        tables = self._embedding_variables if embeddings else []
        with tf.GradientTape() as tape:
            logits = self.model.logits(features, training=True)
            losses = self.model.losses_of(logits, labels)
        gradients = tape.gradient(losses[TOTAL_LOSS], [*self._dense_variables, *tables])
        n = len(self._dense_variables)
        for optimizer, part, variables in (
            (self._dense, gradients[:n], self._dense_variables),
            (self._embedding, gradients[n:], tables),
        ):
            # A variable that no loss reaches (lambda 0, say) has no gradient and stays as it is.
            pairs = [(g, v) for g, v in zip(part, variables, strict=True) if g is not None]
            if pairs:
                if optimizer is self._dense:
                    self._decay([variable for _, variable in pairs])
                optimizer.apply_gradients(pairs)
        # Predictions made before the update: in one pass their NE is of rows not seen before.
        p = self.model.probabilities(logits)
        self._normalized_entropy.update_state(
            tf.stack([labels[label] for label in self._label_of_output.values()], axis=1),
            tf.stack([p[output] for output in self._label_of_output], axis=1),
            labels[names.ROW_WEIGHT],
        )
        self._mean_losses.update_state(tf.stack([losses[name] for name in self._loss_names]))

    def _decay(self, variables: list[tf.Variable]) -> None:
        """Takes this step's share from the weights of dense layers, biases apart; on average over the steps
        the schedule is at half its peak."""
        settings = self._settings
        if settings.weight_decay:
            rate = self._dense.learning_rate(self._dense.iterations) / settings.dense_learning_rate
            share = settings.weight_decay * rate / (max(self.steps, _DECAY_STEPS) / 2)
            for variable in variables:
                if len(variable.shape) > 1:
                    variable.assign_sub(share * variable)

    @tf.function
    def _step_of_both(self, batch: Rows, held_out: Rows, embeddings: bool) -> None:
        """A training step, and a step of lambda down the conversion loss of held-out rows after it."""
        with tf.GradientTape() as tape:
            cabb = self.model.losses_of(self.model.logits(batch[0], training=True), batch[1])["loss_cabb"]
        # Tables are left out: their gradients are sparse, and what matters for the balance is shared above.
        inner = tape.gradient(cabb, self._dense_variables)
        self._step(batch, embeddings)
        features, labels = held_out
        label = labels[self._label_of_output[names.P_CONVERSION]]
        with tf.GradientTape() as tape:
            p = self.model.probabilities(self.model.logits(features, training=False))[names.P_CONVERSION]
            loss = tf_keras.losses.binary_crossentropy(label[:, tf.newaxis], p[:, tf.newaxis])
            loss = tf.reduce_mean(loss * labels[names.ROW_WEIGHT])
        outer = tape.gradient(loss, self._dense_variables)
        self._outer.outer_step(outer, inner, self._settings.dense_learning_rate)

    def _held_out_batches(self, skip: int):
        settings = self._settings
        forever = self._held_out.batches(settings.batch_size, _FOREVER, settings.seed, skip)
        return iter(forever)

    def _window(self) -> dict[str, float]:
        ne = [f"ne_{output.removeprefix('p_')}" for output in self._label_of_output]
        values = [*self._mean_losses.result().numpy(), *self._normalized_entropy.result().numpy()]
        self._mean_losses.reset_state()
        self._normalized_entropy.reset_state()
        return dict(zip([*self._loss_names, *ne], map(float, values), strict=True))


def with_learned_lambda(settings: ModelSettings, model: ConversionModel) -> ModelSettings:
    """Settings to train once more with: the lambda that a bilevel training reached, as a number."""
    balance = getattr(model, "balance", None)
    if settings.lambda_cabb != BILEVEL or balance is None:
        return settings
    return settings.model_copy(update={"lambda_cabb": float(balance.value())})


def predict(
    model: ConversionModel, rows: TrainingRows
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(served outputs, labels and weights) of all rows, [rows] each, in the order of the blocks."""
    answer = tf.function(lambda features: model(features), reduce_retracing=True)
    found = [(answer(features), labels) for features, labels in rows.blocks.rebatch(_SCORED_ROWS)]
    return tuple(
        {name: np.concatenate([part[name].numpy().reshape(-1) for part in parts]) for name in parts[0]}
        for parts in zip(*found, strict=True)
    )


def refuse_non_finite(model: ConversionModel) -> None:
    """Raises InputError if a variable holds NaN or infinity."""
    for variable in model.variables:
        if variable.dtype.is_floating and not np.isfinite(variable.numpy()).all():
            raise diverged(model.settings, f"variable {variable.name} is not finite")


def diverged(settings: ModelSettings, what: str) -> InputError:
    """What to tell about a training that went wrong."""
    return InputError(
        f"{settings.model}: training diverged: {what}; lower dense_learning_rate (now "
        f"{settings.dense_learning_rate:g}) or embedding_learning_rate (now "
        f"{settings.embedding_learning_rate:g})"
    )
