"""What every model is: named logits and losses in, served probabilities and a training step out."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from models import features as names
from models.feature_space import FeatureSpace
from models.metrics.keras import NormalizedEntropy
from models.settings import ModelSettings

TOTAL_LOSS = "loss"


class ConversionModel(tf_keras.Model):
    """A model over transformed click examples. A subclass defines three things:

    - `logits(features, training)`: dict of named logits [batch]; `training` is for layers that behave
      differently then;
    - `probabilities(logits)`: dict of probabilities [batch] for p_caba, p_cabb and p_conversion;
    - `losses_of(logits, labels)`: dict of scalar losses, of which "loss" is the one that is minimised.

    `labels` hold the labels, credits and weights of models/features.py, float32 [batch].

    Calling the model gives the three served outputs, [batch, 1] float32. Two optimisers train it: sparse
    Adagrad for embedding tables, Adam for the rest.
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace):
        super().__init__(name=settings.model)
        self.settings, self.space = settings, space
        self._label_of_output = settings.label_of_output()
        self.normalized_entropy = {
            output: NormalizedEntropy(name=f"ne_{output.removeprefix('p_')}")
            for output in names.LABEL_OF_OUTPUT
        }
        self.loss_means: dict[str, tf_keras.metrics.Mean] = {}

    def logits(self, features: dict[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        raise NotImplementedError

    def probabilities(self, logits: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        raise NotImplementedError

    def losses_of(self, logits: dict[str, tf.Tensor], labels: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        raise NotImplementedError

    def call(self, features, training=None):
        return self._served(self.logits(features, bool(training)))

    def _served(self, logits):
        p = self.probabilities(logits)
        return {output: tf.reshape(p[output], [-1, 1]) for output in names.LABEL_OF_OUTPUT}

    def prepare(
        self,
        batch: tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]],
        dense: tf_keras.optimizers.Optimizer,
        embedding: tf_keras.optimizers.Optimizer,
    ) -> None:
        """Creates every variable from the shapes of one (features, labels) batch, and takes the
        optimisers."""
        features, labels = batch
        self(features)
        losses = self.losses_of(self.logits(features), labels)
        self.loss_means = {name: tf_keras.metrics.Mean(name=name) for name in losses}
        self.dense_optimizer, self.embedding_optimizer = dense, embedding
        tables = [layer for layer in self.submodules if isinstance(layer, tf_keras.layers.Embedding)]
        chosen = {id(v) for layer in tables for v in layer.trainable_variables}
        self._embedding_variables = [v for v in self.trainable_variables if id(v) in chosen]
        self._dense_variables = [v for v in self.trainable_variables if id(v) not in chosen]
        dense.build(self._dense_variables)
        embedding.build(self._embedding_variables)

    def train_step(self, data):
        """One batch: progressive NE on predictions made before the update, then the update."""
        features, labels = data
        with tf.GradientTape() as tape:
            logits = self.logits(features, training=True)
            losses = self.losses_of(logits, labels)
        gradients = tape.gradient(losses[TOTAL_LOSS], [*self._dense_variables, *self._embedding_variables])
        n = len(self._dense_variables)
        for optimizer, part, variables in (
            (self.dense_optimizer, gradients[:n], self._dense_variables),
            (self.embedding_optimizer, gradients[n:], self._embedding_variables),
        ):
            # A variable that no loss reaches (lambda 0, say) has no gradient and stays as it is.
            pairs = [(g, v) for g, v in zip(part, variables, strict=True) if g is not None]
            if pairs:
                optimizer.apply_gradients(pairs)
        served = self._served(logits)
        for output, metric in self.normalized_entropy.items():
            metric.update_state(
                labels[self._label_of_output[output]], served[output], labels[names.ROW_WEIGHT]
            )
        for name, value in losses.items():
            self.loss_means[name].update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}

    @property
    def metrics(self):
        return [*self.loss_means.values(), *self.normalized_entropy.values()]
