"""The losses of CABB 3.4, as means over the batch.

The papers' sums (eq. 4, 5) are divided by the number of rows, not by the sum of weights: a batch of unrelated
purchases then pulls less than a batch of related ones, which is what alpha is for.
"""

from __future__ import annotations

import tensorflow as tf


def binary_cross_entropy(label: tf.Tensor, logit: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
    """Mean over rows of the product of `weights` times the cross-entropy in nats; all of one shape, [batch]
    say, returns a scalar.

    With weight alpha it is L_CABB (CABB eq. 5), with none L_CABA (CABB eq. 4). Computed from logits:
    max(z, 0) - z y + log(1 + exp(-|z|)).
    """
    loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=label, logits=logit)
    for weight in weights:
        loss *= weight
    return tf.reduce_mean(loss)


def relatedness_weight(alpha: tf.Tensor, share: float) -> tf.Tensor:
    """Weight of a click in L_CABB, 1 - share + share alpha, [batch]; with share 1 alpha, CABB eq. 5."""
    return 1.0 - share + share * alpha


def credit_cross_entropy(
    credit: tf.Tensor, logit: tf.Tensor, label_mode: str, *weights: tf.Tensor
) -> tf.Tensor:
    """Cross-entropy against a view's credit in [0, 1] (MAL eq. 1), mean over rows; all [batch].

    weighted_binary: w = 1, l = 0 without credit, w = credit, l = 1 with. soft: w = 1, l = credit.
    """
    if label_mode == "soft":
        return binary_cross_entropy(credit, logit, *weights)
    positive = credit > 0
    weight = tf.where(positive, credit, 1.0)
    return binary_cross_entropy(tf.cast(positive, credit.dtype), logit, weight, *weights)


def multi_task_loss(caba: tf.Tensor, cabb: tf.Tensor, lambda_cabb: float) -> tf.Tensor:
    """L = L_CABA + lambda L_CABB (CABB eq. 6)."""
    return caba + lambda_cabb * cabb


def uncertainty_loss(caba: tf.Tensor, cabb: tf.Tensor, s_caba: tf.Tensor, s_cabb: tf.Tensor) -> tf.Tensor:
    """exp(-s1) L_CABA + exp(-s2) L_CABB + (s1 + s2) / 2, where s = log sigma^2 of a task.

    Kendall et al. 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR, for two classification
    tasks. At its minimum over s each task's weight is 1 / (2 L): lambda becomes L_CABA / L_CABB.
    """
    return tf.exp(-s_caba) * caba + tf.exp(-s_cabb) * cabb + (s_caba + s_cabb) / 2
