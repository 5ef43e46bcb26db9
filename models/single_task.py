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
    """The bottom and the head of models/cabb.py, trained on `label`, a name of models/features.py.

    p_caba, p_cabb and p_conversion are equal: one score has no second opinion.
    """

    label: str

    def __init__(self, settings: ModelSettings, space: FeatureSpace):
        super().__init__(settings, space)
        self._bottom = Backbone(settings, space, name="bottom")
        self._head = Head(settings.head_units, space.base_rate(self.label), name="score")

    def logits(self, features, training=False):
        return {"score": self._head(self._bottom(features, training=training))}

    def probabilities(self, logits):
        score = tf.sigmoid(logits["score"])
        return {output: score for output in names.LABEL_OF_OUTPUT}

    def losses_of(self, logits, labels):
        label = tf.clip_by_value(labels[self.label], 0.0, 1.0)
        return {TOTAL_LOSS: binary_cross_entropy(label, logits["score"], labels[names.ROW_WEIGHT])}
