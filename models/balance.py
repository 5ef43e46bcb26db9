"""lambda of L = L_CABA + lambda L_CABB (CABB eq. 6): given, learned from uncertainty, or chosen by
conversions.

lambda cannot be learned by minimising eq. 6 itself: dL/dlambda = L_CABB > 0, so it would fall to 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import tensorflow as tf
import tf_keras

from models.losses import multi_task_loss, uncertainty_loss

UNCERTAINTY, BILEVEL = "uncertainty", "bilevel"
FIRST_LAMBDA = 0.75
"""Where a learned lambda starts; the paper's choice."""
_RANGE = (0.05, 5.0)
_RATE = 0.1


@tf_keras.utils.register_keras_serializable("cabb")
class TaskBalance(tf_keras.layers.Layer):
    """(L_CABA, L_CABB) -> L, scalars.

    A number: eq. 6. "uncertainty": `models.losses.uncertainty_loss` of two learned log variances, whose
    effective lambda is exp(s_caba - s_cabb). "bilevel": eq. 6 with a lambda that only `outer_step` moves.
    """

    def __init__(self, lambda_cabb: float | str, **kwargs):
        super().__init__(**kwargs)
        self.lambda_cabb = lambda_cabb
        self.learned = isinstance(lambda_cabb, str)
        if lambda_cabb == UNCERTAINTY:
            # The second is the CABB loss's.
            start = tf.constant_initializer([0.0, -math.log(FIRST_LAMBDA)])
            self._log_variances = self.add_weight("log_variances", (2,), initializer=start)
        elif lambda_cabb == BILEVEL:
            start = tf.constant_initializer(math.log(FIRST_LAMBDA))
            self._log_lambda = self.add_weight("log_lambda", (), initializer=start, trainable=False)
            self._optimizer = tf_keras.optimizers.legacy.Adam(_RATE)

    def call(self, caba, cabb):
        if self.lambda_cabb == UNCERTAINTY:
            return uncertainty_loss(caba, cabb, self._log_variances[0], self._log_variances[1])
        return multi_task_loss(caba, cabb, self.value())

    def value(self) -> tf.Tensor | float:
        """The lambda in force."""
        if self.lambda_cabb == UNCERTAINTY:
            return tf.exp(self._log_variances[0] - self._log_variances[1])
        return tf.exp(self._log_lambda) if self.lambda_cabb == BILEVEL else self.lambda_cabb

    def outer_step(
        self, held_out: Iterable[tf.Tensor | None], cabb: Iterable[tf.Tensor | None], rate: tf.Tensor | float
    ) -> None:
        """One move of a bilevel lambda down the held-out loss (the paper's 3.4, "supervised by conversions").

        A training step w' = w - rate (grad L_CABA + lambda grad L_CABB) makes w' linear in lambda, so

            d L_held(w') / d lambda = -rate <grad L_held(w'), grad L_CABB(w)>

        needs no second derivatives. Adam on log lambda takes the step; its size does not depend on the scale
        of the losses.

        Args:
          held_out: gradients of the held-out conversion loss at w', by variable; None: not reached.
          cabb: gradients of L_CABB at w, likewise.
        """
        products = [
            tf.reduce_sum(g * c)
            for g, c in zip(held_out, cabb, strict=True)
            if g is not None and c is not None
        ]
        slope = -rate * tf.add_n(products)
        self._optimizer.apply_gradients([(slope * self.value(), self._log_lambda)])
        self._log_lambda.assign(tf.clip_by_value(self._log_lambda, math.log(_RANGE[0]), math.log(_RANGE[1])))

    def get_config(self):
        return {**super().get_config(), "lambda_cabb": self.lambda_cabb}
