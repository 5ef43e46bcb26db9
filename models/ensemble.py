"""Several models of one kind as one."""

from __future__ import annotations

import tensorflow as tf

from models import features as names
from models.conversion_model import TOTAL_LOSS, ConversionModel


class Ensemble(ConversionModel):
    """Members that differ in their first weights alone, learn from the same batches, and serve the mean of
    their probabilities (deep ensembles, Lakshminarayanan et al. 2017).

    By Jensen's inequality its cross-entropy is at most the mean of theirs. Logits have one more axis than
    a member's, the last, of members; a learned lambda is one for all of them.
    """

    def __init__(self, members: list[ConversionModel]):
        super().__init__(members[0].settings, members[0].space)
        balance = getattr(members[0], "balance", None)
        if balance is not None:
            self.balance = balance
            for member in members[1:]:
                member.balance = balance
        self._members = members

    def logits(self, features, training=False):
        of_members = [member.logits(features, training=training) for member in self._members]
        return {name: tf.stack([logits[name] for logits in of_members], axis=-1) for name in of_members[0]}

    def probabilities(self, logits):
        of_members = [member.probabilities(own) for member, own in self._apart(logits)]
        return {
            output: tf.reduce_mean(tf.stack([p[output] for p in of_members]), axis=0)
            for output in names.LABEL_OF_OUTPUT
        }

    def losses_of(self, logits, labels):
        """Means over the members, and as "loss" their sum: every member learns as it would alone."""
        of_members = [member.losses_of(own, labels) for member, own in self._apart(logits)]
        losses = {
            name: tf.reduce_mean(tf.stack([losses[name] for losses in of_members])) for name in of_members[0]
        }
        return losses | {TOTAL_LOSS: losses[TOTAL_LOSS] * len(self._members)}

    def inspect(self, features, labels):
        """The inside of the first member."""
        return self._members[0].inspect(features, labels)

    def _apart(self, logits: dict[str, tf.Tensor]) -> list[tuple[ConversionModel, dict[str, tf.Tensor]]]:
        return [
            (member, {name: values[..., i] for name, values in logits.items()})
            for i, member in enumerate(self._members)
        ]
