"""Attribution by channel alone: counts of channels and of pairs of them, summed over journeys.

Both models are additive tables, so the model of all users but a fold is a sum over the other folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from components.attribution_model.journeys import Journeys, coded

CELLS = 10_000_000
"""Journeys by channels held at once."""


@dataclass(frozen=True)
class ChannelCounts:
    """Weights of journeys by channel; sums of two objects over the same channels add up.

    Attributes:
        channels: names, [c].
        with_pair: of journeys that hold channels i and j, [c, c]; converted_pair: of those that converted.
        moves: of moves from state to state, [c + 1, c + 2]; rows are the channels and the start, columns the
            channels, no conversion, and conversion. A repeated channel is no move.
    """

    channels: tuple[str, ...]
    with_pair: np.ndarray
    converted_pair: np.ndarray
    moves: np.ndarray

    def __add__(self, other: ChannelCounts) -> ChannelCounts:
        if self.channels != other.channels:
            raise ValueError("counts of different channels do not add up")
        return ChannelCounts(
            self.channels,
            self.with_pair + other.with_pair,
            self.converted_pair + other.converted_pair,
            self.moves + other.moves,
        )


def count_channels(journeys: Journeys) -> ChannelCounts:
    """The counts of some journeys, each by its weight."""
    c = len(journeys.channels)
    present = _presence(journeys, journeys.channel, c)
    weight = sparse.diags(journeys.weight)
    converted = sparse.diags(journeys.weight * journeys.converted)
    before = np.concatenate(([0], journeys.channel[:-1]))
    before[journeys.start] = c
    into = journeys.channel
    moved = before != into
    last = journeys.start + journeys.size - 1
    rows = np.concatenate([before[moved], into[last]])
    columns = np.concatenate([into[moved], np.where(journeys.converted, c + 1, c)])
    by = np.concatenate([journeys.weight[journeys.journey[moved]], journeys.weight])
    moves = np.bincount(rows * (c + 2) + columns, by, (c + 1) * (c + 2)).reshape(c + 1, c + 2)
    return ChannelCounts(
        channels=journeys.channels,
        with_pair=(present.T @ weight @ present).toarray(),
        converted_pair=(present.T @ converted @ present).toarray(),
        moves=moves,
    )


def shao_li(counts: ChannelCounts, journeys: Journeys) -> np.ndarray:
    """Second-order probabilistic contributions (Shao & Li 2011, eq. 5) of every touch's channel: float64 [q].

        C(x_i) = P(y|x_i) + 1/(2N) sum_j [P(y|x_i, x_j) - P(y|x_i) - P(y|x_j)]

    over the N other channels of the journey; not clipped. The touches of a channel share its contribution.
    """
    c = len(counts.channels)
    p = counts.converted_pair / np.where(counts.with_pair > 0, counts.with_pair, 1.0)
    single = np.diag(p)
    excess = p - single[:, None] - single[None, :]
    np.fill_diagonal(excess, 0)
    # A channel that was never counted stands alone, with no contribution.
    excess = np.pad(excess, ((0, 1), (0, 1)))
    single = np.append(single, 0.0)
    channel = coded(journeys, "channel", counts.channels)
    channel = np.where(channel < 0, c, channel)
    present = _presence(journeys, channel, c + 1)
    others = np.asarray(present.sum(axis=1)).ravel()[journeys.journey] - 1
    summed = np.empty(len(channel))
    step = max(1, CELLS // (c + 1))
    for begin in range(0, len(journeys), step):
        low, high = np.searchsorted(journeys.journey, (begin, begin + step))
        dense = present[begin : begin + step] @ excess
        summed[low:high] = dense[journeys.journey[low:high] - begin, channel[low:high]]
    contribution = single[channel] + summed / (2 * np.maximum(others, 1))
    code = journeys.journey * (c + 1) + channel
    repeats = np.unique(code, return_inverse=True, return_counts=True)
    return contribution / repeats[2][repeats[1]]


def removal_effects(counts: ChannelCounts) -> np.ndarray:
    """Share of conversions lost without each channel, under the absorbing chain of moves: float64 [c].

    With N = (I - Q)^-1, h = N R_conv and start s, a journey visits channel j with probability N[s,j] / N[j,j]
    and converts from there with h[j]; removed, those are lost: N[s,j] / N[j,j] * h[j] / h[s].
    """
    c = len(counts.channels)
    leaving = counts.moves.sum(axis=1, keepdims=True)
    chain = counts.moves / np.where(leaving > 0, leaving, 1.0)
    q = np.zeros((c + 1, c + 1))
    q[:, :c] = chain[:, :c]
    fundamental = np.linalg.inv(np.eye(c + 1) - q)
    h = fundamental @ chain[:, c + 1]
    if not h[c] > 0:
        return np.zeros(c)
    return fundamental[c, :c] / np.diag(fundamental)[:c] * h[:c] / h[c]


def markov(counts: ChannelCounts, journeys: Journeys) -> np.ndarray:
    """Removal effect of every touch's channel: float64 [q]; 0 for a channel that was never counted."""
    effects = np.append(removal_effects(counts), 0.0)
    return effects[coded(journeys, "channel", counts.channels)]


def _presence(journeys: Journeys, channel: np.ndarray, c: int) -> sparse.csr_matrix:
    """Which channels a journey holds: 0/1 [j, c]."""
    ones = np.ones(len(channel))
    held = sparse.csr_matrix((ones, (journeys.journey, channel)), shape=(len(journeys), c))
    held.data[:] = 1.0
    return held
