"""MAL joined with CABB (ours): every view is learned apart for click A -> buy A and click A -> buy B."""

from __future__ import annotations

import tensorflow as tf

from models import features as names
from models.conversion_model import TOTAL_LOSS
from models.feature_space import FeatureSpace
from models.layers.head import Head
from models.layers.mlp import MLP
from models.losses import multi_task_loss, relatedness_weight
from models.mal import KnowledgeModel
from models.settings import ModelSettings
from models.view_model import PART_OF_OUTPUT


class MALCABB(KnowledgeModel):
    """AKA with two towers per view, and a predictor of CABB's two heads and "any conversion" that reads it.

    v_o = MLP_o(v) + MLP_o(K),  logit_o = w_o v_o + b_o           for o in p_caba, p_cabb   (MAL eq. 2)
    logit_conversion = MLP([v_caba, v_cabb, logit_caba, logit_cabb])                 (as in models/cabb.py)
    L_view = L_view_caba + lambda L_view_cabb, the latter weighted by alpha of the view         (CABB eq. 6)
    L = L_primary + conversion_weight L_conversion + auxiliary_weight sum_a L_a + cat_weight L_cat
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace):
        tasks = {column(view): column(view) for view in settings.views for column in PART_OF_OUTPUT.values()}
        super().__init__(settings, space, tasks)
        self._own = {output: MLP(settings.head_units, name=f"tower_{output}") for output in PART_OF_OUTPUT}
        self._fusions = {output: self.fusion(f"fusion_{output}") for output in PART_OF_OUTPUT}
        self._heads = {
            output: Head((), self.space.base_rate(column(self.primary)), name=output)
            for output, column in PART_OF_OUTPUT.items()
        }
        rate = self.space.base_rate(names.credit(self.primary))
        self._conversion = Head(settings.conversion_units, rate, name=names.P_CONVERSION)

    def logits(self, features, training=False):
        shared = self._bottom(features, training=training)
        knowledge, logits = self._aka(shared)
        fused = {output: self._fusions[output]((own(shared), knowledge)) for output, own in self._own.items()}
        heads = {output: head(fused[output]) for output, head in self._heads.items()}
        seen = tf.concat([*fused.values(), *(tf.expand_dims(z, -1) for z in heads.values())], axis=1)
        if not self.settings.conversion_trains_bottom:
            seen = tf.stop_gradient(seen)
        return {**logits, **heads, names.P_CONVERSION: self._conversion(seen)}

    def losses_of(self, logits, labels):
        primary = self._view_loss(labels, self.primary, logits[names.P_CABA], logits[names.P_CABB])
        conversion = self.credit_loss(labels, names.credit(self.primary), logits[names.P_CONVERSION])
        beside = {
            f"loss_{view}": self._view_loss(
                labels,
                self.label_view(view),
                logits[names.credit_caba(view)],
                logits[names.credit_cabb(view)],
            )
            for view in self.settings.views
        }
        total = primary + self.settings.conversion_weight * conversion
        total += self.settings.auxiliary_weight * sum(beside.values())
        losses = {TOTAL_LOSS: total, "loss_primary": primary, "loss_conversion": conversion, **beside}
        return self.with_cat(losses, logits, labels)

    def _view_loss(self, labels, view, caba, cabb):
        weight = relatedness_weight(labels[names.credit_alpha(view)], self.settings.alpha_share)
        return multi_task_loss(
            self.credit_loss(labels, names.credit_caba(view), caba),
            self.credit_loss(labels, names.credit_cabb(view), cabb, weight),
            self.settings.lambda_cabb,
        )


MODEL = MALCABB
