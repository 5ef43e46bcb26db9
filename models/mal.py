"""Multi-attribution learning (Chen et al. 2025, CIKM): knowledge of all views, fused into one prediction."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
import tf_keras

from models import features as names
from models.conversion_model import TOTAL_LOSS
from models.feature_space import FeatureSpace
from models.layers.cat import Combinations
from models.layers.fusion import KnowledgeFusion
from models.layers.head import Head
from models.layers.mlp import MLP
from models.settings import ModelSettings
from models.view_model import CreditParts, ViewModel

CAT = "cat"


class AKA(tf_keras.layers.Layer):
    """Attribution knowledge aggregator: v [batch, n] -> K [batch, m] and a logit per task (MAL 3.3, 3.5).

        k_a = MLP_a(v),  logit_a = w k_a + b,  K = [k_a of every task a, k_cat]

    k_cat is the knowledge of one more tower, whose logits [batch, classes] are over combinations of views.

    Args:
      units: layers of a tower.
      base_rates: mean label by task.
      combinations: classes of CAT; None: without it.
    """

    def __init__(
        self,
        units: tuple[int, ...],
        base_rates: Mapping[str, float],
        combinations: Combinations | None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._towers = {task: MLP(units, name=f"tower_{task}") for task in base_rates}
        self._logits = {task: Head((), rate, name=f"logit_{task}") for task, rate in base_rates.items()}
        if combinations:
            self._towers[CAT] = MLP(units, name="tower_cat")
            self._logits[CAT] = tf_keras.layers.Dense(len(combinations.possible), name="logits_cat")

    def call(self, shared):
        knowledge = {task: tower(shared) for task, tower in self._towers.items()}
        logits = {task: self._logits[task](k) for task, k in knowledge.items()}
        return tf.concat(list(knowledge.values()), axis=1), logits


class KnowledgeModel(ViewModel):
    """A view model with AKA over its bottom.

    Args:
      tasks: label column by task of AKA.
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace, tasks: Mapping[str, str]):
        super().__init__(settings, space)
        self._combinations = Combinations.of(settings.views) if settings.cat_weight else None
        rates = {task: self.space.base_rate(column) for task, column in tasks.items()}
        self._aka = AKA(settings.head_units, rates, self._combinations, name="aka")

    def fusion(self, name: str) -> KnowledgeFusion:
        """What adds the knowledge to an output's own representation."""
        return KnowledgeFusion(self.settings.fusion_units, self.settings.stop_knowledge_gradient, name=name)

    def with_cat(self, losses, logits, labels):
        """The losses, that of CAT added if there is one."""
        if self._combinations is None:
            return losses
        label = self._combinations.label(self._credits(labels))
        cat = self._combinations.cross_entropy(label, logits[CAT], labels[names.ROW_WEIGHT])
        return {**losses, TOTAL_LOSS: losses[TOTAL_LOSS] + self.settings.cat_weight * cat, "loss_cat": cat}

    def _credits(self, labels):
        return [labels[names.credit(self.label_view(view))] for view in self._combinations.views]

    def inspect(self, features, labels):
        """Share of rows by combination of views."""
        del features
        return {CAT: self._combinations.shares(self._credits(labels))} if self._combinations else {}


class MAL(KnowledgeModel):
    """AKA over all views, and the primary target predictor (PTP) that reads its knowledge, over one bottom v.

        v_p = MLP(v),  v_fusion = v_p + MLP(K),  p_conversion = sigmoid(w v_fusion + b)        (3.4, eq. 2)
        L = L_primary + auxiliary_weight sum_a L_a + cat_weight L_cat

    The primary view has a tower of its own in AKA too. Without K the PTP is `shared_bottom` with one view:
    the paper's Base.
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace):
        super().__init__(settings, space, {view: names.credit(view) for view in settings.views})
        self._own = MLP(settings.head_units, name="tower_primary")
        self._fusion = self.fusion("fusion")
        rate = self.space.base_rate(names.credit(self.primary))
        self._head = Head((), rate, name=names.P_CONVERSION)
        self._parts = CreditParts(settings, space, name="parts")

    def logits(self, features, training=False):
        shared = self._bottom(features, training=training)
        knowledge, logits = self._aka(shared)
        fused = self._fusion((self._own(shared), knowledge))
        return {**logits, names.P_CONVERSION: self._head(fused), **self._parts(fused)}

    def losses_of(self, logits, labels):
        return self.with_cat(super().losses_of(logits, labels), logits, labels)


MODEL = MAL
