"""Two heads over one bottom, click A -> buy A and click A -> buy B, and the conversion score (CABB 3.1,
3.4); beside them, what a click led to short of a purchase."""

from __future__ import annotations

import tensorflow as tf

from models import features as names
from models.backbone import Backbone
from models.balance import TaskBalance
from models.conversion_model import TOTAL_LOSS, ConversionModel
from models.feature_space import FeatureSpace
from models.layers.head import Head, linear_logits
from models.losses import binary_cross_entropy, relatedness_weight
from models.settings import ModelSettings

_ACTIONS = "actions"


class Cabb(ConversionModel):
    """L = L_CABA + lambda L_CABB (CABB eq. 4-6), and a third small head for "any conversion".

    p_conversion by `settings.conversion_score`:
      head  sigmoid of a head over the bottom and both heads' logits, trained on y_any with
            `conversion_weight`: the learned form of Figure 2's weighted sum. It is not in the paper;
            `conversion_trains_bottom=False` keeps its gradient out of the bottom and of the two heads.
      sum   w1 p_caba + w2 p_cabb, clipped to [0, 1] (Figure 2 literally)
      or    1 - (1 - p_caba)(1 - p_cabb)

    The bottom also learns features.ACTIONS, each by one linear logit, with `action_weight`. They are not in
    the paper (ESM2, Wen et al. 2020, learns from such actions too), and no served score comes from them.
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace):
        super().__init__(settings, space)
        self._bottom = Backbone(settings, space, name="bottom")
        self._heads = {
            output: Head(settings.head_units, space.base_rate(label), name=output)
            for output, label in ((names.P_CABA, names.Y_CABA), (names.P_CABB, names.Y_CABB))
        }
        self.balance = TaskBalance(settings.lambda_cabb, name="balance")
        self._conversion = None
        if settings.conversion_score == "head":
            rate = space.base_rate(names.Y_ANY)
            self._conversion = Head(settings.conversion_units, rate, name=names.P_CONVERSION)
        self._actions = [
            label for label in names.ACTIONS if settings.action_weight and space.base_rate(label)
        ]
        if self._actions:
            rates = [space.base_rate(label) for label in self._actions]
            self._action_logits = linear_logits(rates, name=_ACTIONS)

    def logits(self, features, training=False):
        bottom = self._bottom(features, training=training)
        heads = {output: head(bottom) for output, head in self._heads.items()}
        logits = dict(heads)
        if self._actions:
            # Before the conversion head, so that their first weights are the same without it.
            logits[_ACTIONS] = self._action_logits(bottom)
        if self._conversion is not None:
            inputs = tf.concat([bottom, *(tf.expand_dims(z, -1) for z in heads.values())], axis=-1)
            if not self.settings.conversion_trains_bottom:
                inputs = tf.stop_gradient(inputs)
            logits[names.P_CONVERSION] = self._conversion(inputs)
        return logits

    def probabilities(self, logits):
        p = {output: tf.sigmoid(logits[output]) for output in names.LABEL_OF_OUTPUT if output in logits}
        caba, cabb = p[names.P_CABA], p[names.P_CABB]
        if self.settings.conversion_score == "sum":
            w1, w2 = self.settings.conversion_sum_weights
            p[names.P_CONVERSION] = tf.clip_by_value(w1 * caba + w2 * cabb, 0.0, 1.0)
        elif self.settings.conversion_score == "or":
            p[names.P_CONVERSION] = 1 - (1 - caba) * (1 - cabb)
        return p

    def losses_of(self, logits, labels):
        row = labels[names.ROW_WEIGHT]
        caba = binary_cross_entropy(labels[names.Y_CABA], logits[names.P_CABA], row)
        weight = relatedness_weight(labels[names.ALPHA], self.settings.alpha_share)
        cabb = binary_cross_entropy(labels[names.Y_CABB], logits[names.P_CABB], row, weight)
        total = self.balance(caba, cabb)
        losses = {"loss_caba": caba, "loss_cabb": cabb}
        if self.balance.learned:
            losses["lambda_cabb"] = self.balance.value()
        if names.P_CONVERSION in logits:
            conversion = binary_cross_entropy(labels[names.Y_ANY], logits[names.P_CONVERSION], row)
            losses["loss_conversion"] = conversion
            total += self.settings.conversion_weight * conversion
        if self._actions:
            done = tf.stack([labels[label] for label in self._actions], axis=1)
            each = binary_cross_entropy(done, logits[_ACTIONS], row[:, tf.newaxis])
            losses["loss_actions"] = actions = len(self._actions) * each
            total += self.settings.action_weight * actions
        return {TOTAL_LOSS: total, **losses}


MODEL = Cabb
