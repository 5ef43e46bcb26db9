"""P(conversion | touches) by attention over touches, and what each touch adds to it.

    e_i = relu(W' f_i + b)               f_i: channel and seller one-hot, relation, same, late, gap
    a_i = sigmoid(u' e_i + c)            attention without softmax: evidence adds up (DIN, Zhou et al. 2018)
    z   = sum_i a_i e_i
    P   = sigmoid(v' z + r' relu(V' z + d) + bias)

Trained with touches taken away at random, so that P of a part of a journey means P(conversion | only these
touches are known): the value function of removal effects and of Shapley values alike. Without it, what every
journey has (a last touch, of gap 0) would be told apart from the bias by nothing, and its credit arbitrary.

NumPy throughout: the gradients are written out, and the same journeys give the same model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy import sparse

from components.attribution_model.journeys import Journeys, coded, ragged
from schemas.settings import Seed, Settings

NUMBERS = ("relation", "same", "late", "log_gap", "gap_weeks")
CHUNK_TOUCHES = 200_000


class AttentionSettings(Settings):
    """Size and training of the attention model."""

    units: int = Field(24, ge=1)
    epochs: int = Field(6, ge=1)
    batch_journeys: int = Field(512, ge=1)
    learning_rate: float = Field(5e-3, gt=0)
    weight_decay: float = Field(1e-3, ge=0)
    rare_seller_touches: int = Field(200, ge=1)
    """A seller with fewer touches is not told apart from the other rare ones."""
    most_journeys: int = Field(200_000, ge=1)
    """A log with more is thinned at random, which bounds the time of a fit."""
    seed: Seed = 1


@dataclass(frozen=True)
class Attention:
    """A fitted model.

    Attributes:
        channels, sellers: names with a column of their own.
        weights: W [features, units], b, u, c, V [units, units], d, r, v, bias.
    """

    channels: tuple[str, ...]
    sellers: tuple[str, ...]
    weights: dict[str, np.ndarray]

    def value(self, journeys: Journeys, keep: np.ndarray | None = None) -> np.ndarray:
        """P(conversion | the touches in `keep`) of each journey: float64 [j].

        Args:
            keep: bool [q]; None: all touches.
        """
        parts = [
            self._head(np.add.reduceat(x if keep is None else x * keep[rows, None], part.start))
            for part, rows, x in self._embedded(journeys)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def removal_effects(self, journeys: Journeys) -> np.ndarray:
        """max(0, P(all touches) - P(all but this one)) of each touch: float64 [q]."""
        effects = []
        for part, _, x in self._embedded(journeys):
            z = np.add.reduceat(x, part.start)
            effects.append(self._head(z)[part.journey] - self._head(z[part.journey] - x))
        return np.maximum(np.concatenate(effects), 0) if effects else np.zeros(0)

    def shapley_values(self, journeys: Journeys, orders: int) -> np.ndarray:
        """Shapley values of P over the touches of each journey: float64 [q], may be negative.

        The mean marginal contribution over `orders` random orders, each taken forwards and backwards. They
        are the same for all journeys of one size, whatever else is scored with them. The values of a journey
        sum to P(all) - P(none).
        """
        rank = np.random.default_rng(0).random((int(journeys.size.max(initial=1)), orders)).T
        nothing = self._head(np.zeros((1, len(self.weights["b"]))))
        values = []
        for part, _, x in self._embedded(journeys):
            position = np.arange(len(x)) - part.start[part.journey]
            mirror = part.start[part.journey] + part.size[part.journey] - 1 - position
            total = np.zeros(len(x))
            for drawn in rank:
                order = np.lexsort((drawn[position], part.journey))
                for walk in (order, order[mirror]):
                    z = np.cumsum(x[walk], axis=0)
                    z -= (z - x[walk])[part.start][part.journey]
                    after = self._head(z)
                    before = np.roll(after, 1)
                    before[part.start] = nothing
                    total[walk] += after - before
            values.append(total / (2 * orders))
        return np.concatenate(values) if values else np.zeros(0)

    def _embedded(self, journeys: Journeys) -> Iterator[tuple[Journeys, np.ndarray, np.ndarray]]:
        """Chunks of whole journeys: (journeys, their touches' rows, a_i e_i of each touch [rows, units])."""
        chunk = (np.cumsum(journeys.size) - 1) // CHUNK_TOUCHES
        for number in np.unique(chunk):
            index = np.flatnonzero(chunk == number)
            part = journeys.take(index)
            e = _relu(features(part, self.channels, self.sellers) @ self.weights["W"] + self.weights["b"])
            a = _sigmoid(e @ self.weights["u"] + self.weights["c"])
            yield part, ragged(journeys.start[index], journeys.size[index]), a[:, None] * e

    def _head(self, z: np.ndarray) -> np.ndarray:
        w = self.weights
        hidden = _relu(z @ w["V"] + w["d"])
        return _sigmoid(z @ w["v"] + hidden @ w["r"] + w["bias"])


def features(journeys: Journeys, channels: tuple[str, ...], sellers: tuple[str, ...]) -> sparse.csr_matrix:
    """f_i of every touch: one-hot channel and seller (unknown ones share a column) and NUMBERS, [q, f]."""
    q = len(journeys.channel)
    numbers = [
        journeys.relation,
        journeys.same,
        journeys.late,
        np.log1p(journeys.gap_h) / 5,
        journeys.gap_h / 24 / 7,
    ]
    channel = coded(journeys, "channel", channels)
    seller = coded(journeys, "seller", sellers)
    columns = [
        np.where(channel < 0, len(channels), channel),
        len(channels) + 1 + np.where(seller < 0, len(sellers), seller),
        *(np.full(q, len(channels) + len(sellers) + 2 + k) for k in range(len(numbers))),
    ]
    values = [np.ones(q), np.ones(q), *numbers]
    width = len(channels) + len(sellers) + 2 + len(numbers)
    return sparse.csr_matrix(
        (
            np.stack(values, axis=1).astype(np.float32).ravel(),
            np.stack(columns, axis=1).astype(np.int32).ravel(),
            np.arange(q + 1) * len(columns),
        ),
        shape=(q, width),
    )


def fit_attention(journeys: Journeys, settings: AttentionSettings) -> Attention:
    """Fits by Adam on the weighted cross-entropy, half of the journeys of a batch with touches taken away.

    Raises:
        ValueError: all journeys converted, or none.
    """
    if not 0 < journeys.converted.sum() < len(journeys):
        raise ValueError("journeys of both kinds are needed: some that converted and some that did not")
    rng = np.random.default_rng(settings.seed)
    if len(journeys) > settings.most_journeys:
        journeys = journeys.take(np.sort(rng.choice(len(journeys), settings.most_journeys, replace=False)))
    common = np.bincount(journeys.seller, minlength=len(journeys.sellers)) >= settings.rare_seller_touches
    sellers = tuple(name for name, enough in zip(journeys.sellers, common, strict=True) if enough)
    model = Attention(journeys.channels, sellers, {})
    f = features(journeys, model.channels, model.sellers)
    rate = np.average(journeys.converted, weights=journeys.weight)
    weights = _initial(rng, f.shape[1], settings.units, rate)
    # What no journey has, such as an unknown channel, adds nothing later either.
    weights["W"][f.getnnz(axis=0) == 0] = 0
    adam = _Adam(weights, settings)
    n, batch = len(journeys), settings.batch_journeys
    steps = settings.epochs * -(-n // batch)
    y, w = journeys.converted.astype(np.float64), journeys.weight / journeys.weight.mean()
    for _ in range(settings.epochs):
        order = rng.permutation(n)
        for begin in range(0, n, batch):
            some = order[begin : begin + batch]
            size = journeys.size[some]
            rows = ragged(journeys.start[some], size)
            lost = np.where(rng.random(len(some)) < 0.5, rng.random(len(some)), 0.0)
            keep = rng.random(len(rows)) >= np.repeat(lost, size)
            adam.step(_gradients(weights, f[rows], size, keep, y[some], w[some]), steps)
    return Attention(model.channels, model.sellers, weights)


def _initial(rng: np.random.Generator, inputs: int, units: int, rate: float) -> dict[str, np.ndarray]:
    def normal(*shape: int, fan: int) -> np.ndarray:
        return rng.normal(0, np.sqrt(2 / fan), shape)

    return {
        "W": normal(inputs, units, fan=8),
        "b": np.zeros(units),
        "u": normal(units, fan=units) / 2,
        "c": np.zeros(()),
        "V": normal(units, units, fan=units) / 2,
        "d": np.zeros(units),
        "r": np.zeros(units),
        "v": np.zeros(units),
        "bias": np.array(np.log(rate / (1 - rate))),
    }


def loss(weights: dict[str, np.ndarray], f, size, keep, y, w) -> float:
    """Mean weighted cross-entropy of a batch, what `_gradients` differentiates."""
    e = _relu(f @ weights["W"] + weights["b"])
    a = _sigmoid(e @ weights["u"] + weights["c"]) * keep
    z = np.add.reduceat(a[:, None] * e, np.cumsum(size) - size)
    logit = z @ weights["v"] + _relu(z @ weights["V"] + weights["d"]) @ weights["r"] + weights["bias"]
    return float(np.mean(w * (np.logaddexp(0, logit) - y * logit)))


def _gradients(
    weights: dict[str, np.ndarray],
    f: sparse.csr_matrix,
    size: np.ndarray,
    keep: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
) -> dict[str, np.ndarray]:
    """Of `loss`, by name. f [t, features], size, y and w [batch], keep [t]."""
    journey = np.repeat(np.arange(len(size)), size)
    e = _relu(f @ weights["W"] + weights["b"])
    a = _sigmoid(e @ weights["u"] + weights["c"])
    x = (a * keep)[:, None] * e
    z = np.add.reduceat(x, np.cumsum(size) - size)
    hidden = _relu(z @ weights["V"] + weights["d"])
    p = _sigmoid(z @ weights["v"] + hidden @ weights["r"] + weights["bias"])
    d_logit = w * (p - y) / len(y)
    d_hidden = d_logit[:, None] * weights["r"] * (hidden > 0)
    d_z = d_hidden @ weights["V"].T + d_logit[:, None] * weights["v"]
    d_x = d_z[journey] * keep[:, None]
    d_score = np.einsum("ij,ij->i", d_x, e) * a * (1 - a)
    d_pre = (a[:, None] * d_x + d_score[:, None] * weights["u"]) * (e > 0)
    return {
        "W": f.T @ d_pre,
        "b": d_pre.sum(0),
        "u": d_score @ e,
        "c": d_score.sum(),
        "V": z.T @ d_hidden,
        "d": d_hidden.sum(0),
        "r": d_logit @ hidden,
        "v": d_logit @ z,
        "bias": d_logit.sum(),
    }


class _Adam:
    """Adam with decoupled weight decay of matrices, the rate falling to zero along a half cosine."""

    def __init__(self, weights: dict[str, np.ndarray], settings: AttentionSettings):
        self._weights, self._settings, self._step = weights, settings, 0
        self._mean = {name: np.zeros_like(value) for name, value in weights.items()}
        self._square = {name: np.zeros_like(value) for name, value in weights.items()}

    def step(self, gradients: dict[str, np.ndarray], steps: int) -> None:
        rate = self._settings.learning_rate * 0.5 * (1 + np.cos(np.pi * self._step / steps))
        self._step += 1
        for name, gradient in gradients.items():
            self._mean[name] += 0.1 * (gradient - self._mean[name])
            self._square[name] += 0.001 * (gradient * gradient - self._square[name])
            mean = self._mean[name] / (1 - 0.9**self._step)
            square = self._square[name] / (1 - 0.999**self._step)
            decay = self._settings.weight_decay if self._weights[name].ndim == 2 else 0.0
            self._weights[name] -= rate * (mean / (np.sqrt(square) + 1e-8) + decay * self._weights[name])


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -40, 40)))
