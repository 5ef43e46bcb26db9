"""Cartesian-based auxiliary training (CAT, MAL 3.5): a class per combination of what views say of a click."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_VIEWS = ("last_click", "first_click", "linear", "mta")
_UNREACHABLE = -1e9


@dataclasses.dataclass(frozen=True)
class Combinations:
    """Classes of CAT: bit i is set if view i gives the click any credit, sum_i A_i 2^i (Algorithm 1).

    `linear` credits every touch of a path, so `time_decay` and `position_based` would only repeat its bit,
    and a class with another view's bit but not linear's cannot occur: the softmax leaves it out.

    Attributes:
      views: of the bits, in order.
      possible: which classes a click can have, bool [2^views].
    """

    views: tuple[str, ...]
    possible: np.ndarray

    @classmethod
    def of(cls, views: Sequence[str]) -> Combinations | None:
        """The combinations of some views; None if fewer than two of them add a bit."""
        bits = tuple(view for view in _VIEWS if view in views)
        if len(bits) < 2:
            return None
        classes = np.arange(2 ** len(bits))
        linear = 1 << bits.index("linear") if "linear" in bits else 0
        return cls(bits, (classes == 0) | (classes & linear == linear))

    def label(self, credits: Sequence[tf.Tensor]) -> tf.Tensor:
        """Class of every row, int64 [batch], from the credits of `views`, [batch] each."""
        bits = [tf.cast(credit > 0, tf.int64) * 2**i for i, credit in enumerate(credits)]
        return tf.add_n(bits)

    def cross_entropy(self, label: tf.Tensor, logits: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        """Mean over rows of weight times -log softmax(logits)[label], the softmax over possible classes.

        `label` and `weight` are [batch], `logits` [batch, classes]. A row of an impossible class counts 0.
        """
        masked = tf.where(self.possible, logits, _UNREACHABLE)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=masked)
        return tf.reduce_mean(tf.where(tf.gather(self.possible, label), weight * loss, 0.0))

    def shares(self, credits: Sequence[tf.Tensor]) -> dict:
        """Share of rows by possible class, largest first, and what is left out."""
        label = self.label(credits).numpy()
        share = np.bincount(label, minlength=len(self.possible)) / max(len(label), 1)
        classes = [
            {
                "views": [view for i, view in enumerate(self.views) if number >> i & 1],
                "share": float(share[number]),
            }
            for number in sorted(np.flatnonzero(self.possible), key=lambda number: -share[number])
        ]
        return {
            "classes": classes,
            "unreachable": int((~self.possible).sum()),
            "rows_of_unreachable": int((~self.possible)[label].sum()),
        }
