"""What the models of attribution views have in common: a task per view, and the served outputs."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

from models import features as names
from models.backbone import Backbone
from models.conversion_model import TOTAL_LOSS, ConversionModel
from models.feature_space import FeatureSpace
from models.layers.head import Head
from models.losses import credit_cross_entropy
from models.settings import ModelSettings

Gates = dict[str, tuple[tuple[str, ...], tf.Tensor]]
"""Mixture of experts by name: names of the experts, and their weights [batch, experts]."""

PART_OF_OUTPUT = {names.P_CABA: names.credit_caba, names.P_CABB: names.credit_cabb}


class CreditParts(tf_keras.layers.Layer):
    """The primary task's input [batch, n] -> logits of p_caba and p_cabb, [batch] each: which part of the
    credit comes from purchases of the clicked item, and which from others.

    The gradient stops at the input, so the rest of the network trains as if these heads were absent.
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace, **kwargs):
        super().__init__(**kwargs)
        self._heads = {
            output: Head(
                settings.conversion_units,
                space.base_rate(column(settings.primary_view)),
                name=output,
            )
            for output, column in PART_OF_OUTPUT.items()
        }

    def call(self, inputs):
        inputs = tf.stop_gradient(inputs)
        return {output: head(inputs) for output, head in self._heads.items()}


class ViewModel(ConversionModel):
    """L = L_primary + w sum_{other views} L_view, each the cross-entropy against a view's credit (MAL eq. 1).

    A subclass gives logits for p_conversion (the primary view), p_caba, p_cabb (the parts of its credit) and,
    under their own names, the views that it learns beside.
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace):
        super().__init__(settings, space)
        self.primary = settings.primary_view
        self._bottom = Backbone(settings, space, name="bottom")

    def label_view(self, view: str) -> str:
        """The view whose credit a view's task is trained on."""
        return view if self.settings.auxiliary_labels == "own" else self.primary

    def credit_loss(self, labels, column: str, logit: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
        """Cross-entropy against a credit column, a scalar."""
        weights = (labels[names.ROW_WEIGHT], *weights)
        return credit_cross_entropy(labels[column], logit, self.settings.label_mode, *weights)

    def probabilities(self, logits):
        return {output: tf.sigmoid(logits[output]) for output in names.LABEL_OF_OUTPUT}

    def losses_of(self, logits, labels):
        primary = self.credit_loss(labels, names.credit(self.primary), logits[names.P_CONVERSION])
        beside = {
            f"loss_{view}": self.credit_loss(labels, names.credit(self.label_view(view)), logits[view])
            for view in names.VIEWS
            if view in logits
        }
        parts = [
            self.credit_loss(labels, column(self.primary), logits[output])
            for output, column in PART_OF_OUTPUT.items()
        ]
        total = tf.add_n([primary, *parts]) + self.settings.auxiliary_weight * sum(beside.values())
        return {TOTAL_LOSS: total, "loss_primary": primary, **beside}


class PeerModel(ViewModel):
    """A head per view on what `represent` gives it: the multi-task peers that MAL is compared with (4.1.2).

    With `views` the primary view alone they are single-task models.
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace):
        super().__init__(settings, space)
        self.tasks = tuple(dict.fromkeys((self.primary, *settings.views)))
        self._heads = {
            view: Head(settings.head_units, self.space.base_rate(names.credit(view)), name=view)
            for view in self.tasks
        }
        self._parts = CreditParts(settings, space, name="parts")

    def represent(self, shared: tf.Tensor, training: bool) -> tuple[dict[str, tf.Tensor], Gates]:
        """Bottom's output [batch, n] -> input of every view's head, [batch, m], and the gates on the way."""
        raise NotImplementedError

    def logits(self, features, training=False):
        of_view, _ = self.represent(self._bottom(features, training=training), training)
        logits = {view: self._heads[view](x) for view, x in of_view.items()}
        primary = logits.pop(self.primary)
        return {names.P_CONVERSION: primary, **logits, **self._parts(of_view[self.primary])}

    def inspect(self, features, labels):
        """How gates spread over experts: mean weight of each, and entropy over that of equal weights."""
        del labels
        _, gates = self.represent(self._bottom(features), training=False)
        return {"gates": {name: _spread(*gate) for name, gate in gates.items()}} if gates else {}


def _spread(experts: tuple[str, ...], weights: tf.Tensor) -> dict:
    w = np.asarray(weights, np.float64)
    entropy = float(-(w * np.log(np.maximum(w, 1e-12))).sum(axis=1).mean())
    return {
        "experts": dict(zip(experts, w.mean(axis=0).tolist(), strict=True)),
        "entropy": entropy / float(np.log(len(experts))) if len(experts) > 1 else None,
    }
