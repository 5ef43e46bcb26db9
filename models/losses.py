"""The losses of CABB 3.4, as means over the batch.

The papers' sums (eq. 4, 5) are divided by the number of rows, not by the sum of weights: a batch of unrelated
purchases then pulls less than a batch of related ones, which is what alpha is for.
"""

from __future__ import annotations

import tensorflow as tf


def binary_cross_entropy(label: tf.Tensor, logit: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
    """Mean over rows of the product of `weights` times the cross-entropy in nats; all [batch], returns a
    scalar.

    With weight alpha it is L_CABB (CABB eq. 5), with none L_CABA (CABB eq. 4). Computed from logits:
    max(z, 0) - z y + log(1 + exp(-|z|)).
    """
    loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=label, logits=logit)
    for weight in weights:
        loss *= weight
    return tf.reduce_mean(loss)


def multi_task_loss(caba: tf.Tensor, cabb: tf.Tensor, lambda_cabb: float) -> tf.Tensor:
    """L = L_CABA + lambda L_CABB (CABB eq. 6)."""
    return caba + lambda_cabb * cabb
