"""What every model is: named logits and losses in, served probabilities out."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from models import features as names
from models.feature_space import FeatureSpace
from models.settings import ModelSettings

TOTAL_LOSS = "loss"


class ConversionModel(tf_keras.Model):
    """A model over transformed click examples; models.fit trains it. A subclass defines three things:

    - `logits(features, training)`: dict of named logits [batch]; `training` is for layers that behave
      differently then;
    - `probabilities(logits)`: dict of probabilities [batch] for p_caba, p_cabb and p_conversion;
    - `losses_of(logits, labels)`: dict of scalars, of which "loss" is the one that is minimised.

    `labels` hold the labels, credits and weights of models/features.py, float32 [batch].

    Calling the model gives the three served outputs, [batch, 1] float32.
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace):
        super().__init__(name=settings.model)
        self.settings, self.space = settings, space

    def logits(self, features: dict[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        raise NotImplementedError

    def probabilities(self, logits: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        raise NotImplementedError

    def losses_of(self, logits: dict[str, tf.Tensor], labels: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        raise NotImplementedError

    def inspect(self, features: dict[str, tf.Tensor], labels: dict[str, tf.Tensor]) -> dict:
        """What a reader of the report may want to see inside, on some rows: JSON types, often none."""
        del features, labels
        return {}

    def call(self, features, training=None):
        p = self.probabilities(self.logits(features, bool(training)))
        return {output: tf.reshape(p[output], [-1, 1]) for output in names.LABEL_OF_OUTPUT}
