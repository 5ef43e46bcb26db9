"""One head on one label, whose score is all three served outputs: the shape of the paper's two baselines."""

from __future__ import annotations

import tensorflow as tf

from models import features as names
from models.backbone import Backbone
from models.conversion_model import TOTAL_LOSS, ConversionModel
from models.feature_space import FeatureSpace
from models.layers.head import Head
from models.losses import binary_cross_entropy
from models.settings import ModelSettings


class SingleTask(ConversionModel):
    """The bottom and the head of models/cabb.py, trained on `settings.conversion_label()` alone.

    p_caba, p_cabb and p_conversion are equal: one score has no second opinion.
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace):
        super().__init__(settings, space)
        self._bottom = Backbone(settings, space, name="bottom")
        self._label = settings.conversion_label()
        self._head = Head(settings.head_units, space.base_rate(self._label), name="score")

    def logits(self, features, training=False):
        return {"score": self._head(self._bottom(features, training=training))}

    def probabilities(self, logits):
        score = tf.sigmoid(logits["score"])
        return {output: score for output in names.LABEL_OF_OUTPUT}

    def losses_of(self, logits, labels):
        loss = binary_cross_entropy(labels[self._label], logits["score"], labels[names.ROW_WEIGHT])
        return {TOTAL_LOSS: loss}
