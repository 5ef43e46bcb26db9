"""From co-engagement sums to the relatedness of two leaves: cosine, shrunk, backed off up the taxonomy.

A level groups leaves: first each leaf alone, then leaves by parent, by grandparent, up to the top. Between
two groups P and Q, which may be one, stands the cosine that two average leaves of theirs would have:

    c(P, Q) = mean of v_a . v_b over a in P, b in Q, a != b  /  sqrt(mean |v_a|^2 over P  mean |v_b|^2 over Q)

which for single leaves is CABB eq. 2. Everything in it is a sum over users, so a user can be taken out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.category_similarity.co_engagement import CoEngagement, find
from components.category_similarity.settings import SimilaritySettings
from schemas.events import CATEGORY_JOINER


@dataclass(frozen=True)
class Evidence:
    """Sums behind pairs of groups, elementwise [q].

    Attributes:
        dot: of v_a . v_b over the pairs of distinct leaves; `both`: of who engaged with both.
        pairs: how many pairs of distinct leaves there are.
        square_a, square_b: of |v|^2 over the leaves of the group; `users_a`, `users_b`: of who engaged.
        size_a, size_b: leaves of the group.
    """

    dot: np.ndarray
    both: np.ndarray
    pairs: np.ndarray
    square_a: np.ndarray
    square_b: np.ndarray
    users_a: np.ndarray
    users_b: np.ndarray
    size_a: np.ndarray
    size_b: np.ndarray

    def cosine(self) -> np.ndarray:
        """c(P, Q), float64 [q] in [0, 1]; 0 without evidence."""
        product = (self.square_a / self.size_a) * (self.square_b / self.size_b)
        # Counts decide what is zero: sums out of which a user was taken keep a rounding error.
        some = (self.both > 0) & (product > 0)
        mean = self.dot / np.maximum(self.pairs, 1)
        return np.clip(np.where(some, mean / np.sqrt(np.where(some, product, 1.0)), 0.0), 0.0, 1.0)


@dataclass(frozen=True)
class Level:
    """Sums of groups of leaves.

    Attributes:
        group: of each leaf, [n].
        size, square, users: of each group, [g].
        key: pair of groups P * g + Q, P <= Q, sorted, [p]; `dot` and `both` of each.
    """

    group: np.ndarray
    size: np.ndarray
    square: np.ndarray
    users: np.ndarray
    key: np.ndarray
    dot: np.ndarray
    both: np.ndarray

    @staticmethod
    def of(sums: CoEngagement, group: np.ndarray) -> Level:
        """The level at which leaf c belongs to group[c]."""
        groups = int(group.max(initial=-1)) + 1
        low, high = np.minimum(group[sums.i], group[sums.j]), np.maximum(group[sums.i], group[sums.j])
        key = low.astype(np.int64) * groups + high
        where = np.arange(len(key))
        if groups < len(group):  # else every leaf is a group, and pairs are in order
            key, where = np.unique(key, return_inverse=True)

        def by_group(values: np.ndarray | None = None) -> np.ndarray:
            return np.bincount(group, values, minlength=groups)

        return Level(
            group=group,
            size=by_group(),
            square=by_group(sums.damped(sums.squares)),
            users=by_group(sums.users).astype(np.int64),
            key=key,
            dot=np.bincount(where, sums.damped(sums.dot), minlength=len(key)),
            both=np.bincount(where, sums.both, minlength=len(key)).astype(np.int64),
        )

    def between(self, a: np.ndarray, b: np.ndarray) -> Evidence:
        """What is known of the groups of leaves a and b, positions [q]; a and b differ."""
        p, q = self.group[a], self.group[b]
        wanted = np.minimum(p, q).astype(np.int64) * len(self.size) + np.maximum(p, q)
        at = find(self.key, wanted)
        hit = np.flatnonzero(at >= 0)
        dot, both = np.zeros(len(wanted)), np.zeros(len(wanted), np.int64)
        dot[hit], both[hit] = self.dot[at[hit]], self.both[at[hit]]
        size_a, size_b = self.size[p], self.size[q]
        return Evidence(
            dot=dot,
            both=both,
            pairs=np.where(p == q, size_a * (size_a - 1) // 2, size_a * size_b),
            square_a=self.square[p],
            square_b=self.square[q],
            users_a=self.users[p],
            users_b=self.users[q],
            size_a=size_a,
            size_b=size_b,
        )


def levels_of(sums: CoEngagement, settings: SimilaritySettings) -> list[Level]:
    """The leaves, and with back-off their ancestors, nearest first."""
    n = len(sums.names)
    levels = [Level.of(sums, np.arange(n))]
    if settings.back_off:
        paths = [str(name).split(CATEGORY_JOINER) for name in sums.names]
        for up in range(1, max((len(path) for path in paths), default=1)):
            ancestors = [CATEGORY_JOINER.join(path[: max(len(path) - up, 1)]) for path in paths]
            levels.append(Level.of(sums, np.unique(ancestors, return_inverse=True)[1]))
    return levels


def co_engagement_relatedness(levels: Sequence[Evidence], settings: SimilaritySettings) -> np.ndarray:
    """S of pairs of different leaves from the evidence of every level, nearest first: float64 [q] in [0, 1].

    The leaves' cosine is shrunk by both / (both + shrinkage). From the top down each level then counts
    n / (n + back_off), n being the users of the smaller group, and what is above it counts the rest; above
    the top stands 0.
    """
    leaf = levels[0]
    own = leaf.cosine()
    if settings.shrinkage:
        own = own * (leaf.both / (leaf.both + settings.shrinkage))
    if not settings.back_off:
        return own
    value = np.zeros(len(own))
    for level, cosine in zip(levels[::-1], [*(each.cosine() for each in levels[:0:-1]), own], strict=True):
        support = np.minimum(level.users_a, level.users_b)
        trust = support / (support + settings.back_off)
        value = trust * cosine + (1.0 - trust) * value
    return value
