"""Data-driven multi-touch attribution: one model per fold of users, fitted on the users of all other folds.

The credit of a touch is what the fold's model says it adds, not below zero and normalised within the path by
the caller; a path to which nothing adds anything credits its last touch.

    attention   removal effect of the touch under P(conversion | touches)
    shapley     its Shapley value under the same P, the learned value of every part of a journey
    shao_li     second-order probabilistic contribution of its channel (Shao & Li 2011)
    markov      removal effect of its channel under the chain of channels

What a model says is predictive: it is causal only as far as touches were given at random.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from components.attribution_model.attention import Attention, AttentionSettings, fit_attention
from components.attribution_model.channel_models import ChannelCounts, count_channels, markov, shao_li
from components.attribution_model.journeys import Journeys
from models.metrics.sums import auc, base_rate, binary_sums, normalized_entropy
from schemas.errors import InputError
from schemas.settings import Settings

META_FILE, ARRAYS_FILE = "mta.json", "mta.npz"
BY_CHANNEL = ("shao_li", "markov")


class MtaSettings(Settings):
    """How the `mta` view is learned.

    Attributes:
        channel: what a touch's channel is: a context column, or advertiser or leaf.
        folds: of users; the model that credits a user never saw that user.
        shapley_orders: random orders behind each Shapley value, each taken both ways.
    """

    method: Literal["attention", "shapley", "shao_li", "markov"] = "attention"
    channel: str = "channel"
    folds: int = Field(3, ge=2, le=64)
    shapley_orders: int = Field(8, ge=1)
    attention: AttentionSettings = AttentionSettings()


@dataclass(frozen=True)
class Mta:
    """A fitted model of every fold.

    Attributes:
        settings: how it was fitted.
        models: of each fold.
        meta: journeys, conversions and held-out metrics (`fit_mta`).
    """

    settings: MtaSettings
    models: tuple[Attention | ChannelCounts, ...]
    meta: dict[str, Any]

    def effects(self, journeys: Journeys) -> np.ndarray:
        """What each touch adds, under the model of its user's fold: float64 [q], at least 0."""
        effects = np.zeros(len(journeys.channel))
        for fold, model in enumerate(self.models):
            mine = journeys.user_group % len(self.models) == fold
            if mine.any():
                effects[mine[journeys.journey]] = self._effects(model, journeys.take(mine))
        return np.maximum(effects, 0)

    def _effects(self, model: Attention | ChannelCounts, journeys: Journeys) -> np.ndarray:
        if self.settings.method == "attention":
            return model.removal_effects(journeys)
        if self.settings.method == "shapley":
            return model.shapley_values(journeys, self.settings.shapley_orders)
        return (shao_li if self.settings.method == "shao_li" else markov)(model, journeys)

    def save(self, directory: str | Path) -> None:
        """Writes mta.npz, then mta.json; each appears whole or not at all."""
        home = Path(directory)
        home.mkdir(parents=True, exist_ok=True)
        arrays, names = {}, []
        for fold, model in enumerate(self.models):
            stored = model.weights if isinstance(model, Attention) else vars(model)
            names.append(
                {
                    "channels": model.channels,
                    "sellers": model.sellers if isinstance(model, Attention) else (),
                }
            )
            arrays.update({f"{fold}/{name}": each for name, each in stored.items() if name != "channels"})
        temporary = home / f".{ARRAYS_FILE}"
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, home / ARRAYS_FILE)
        text = json.dumps(
            {"settings": self.settings.model_dump(mode="json"), "folds": names, "meta": self.meta}, indent=2
        )
        (home / f".{META_FILE}").write_text(text + "\n", encoding="utf-8")
        os.replace(home / f".{META_FILE}", home / META_FILE)

    @staticmethod
    def load(directory: str | Path) -> Mta:
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: the directory holds no fitted model.
        """
        home = Path(directory)
        stored = json.loads((home / META_FILE).read_text(encoding="utf-8"))
        settings = MtaSettings.model_validate(stored["settings"])
        models = []
        with np.load(home / ARRAYS_FILE) as arrays:
            for fold, names in enumerate(stored["folds"]):
                own = {
                    key.removeprefix(f"{fold}/"): arrays[key]
                    for key in arrays.files
                    if key.startswith(f"{fold}/")
                }
                channels = tuple(names["channels"])
                if settings.method in BY_CHANNEL:
                    models.append(ChannelCounts(channels, **own))
                else:
                    models.append(Attention(channels, tuple(names["sellers"]), own))
        return Mta(settings, tuple(models), stored["meta"])


def fit_mta(journeys: Journeys, settings: MtaSettings) -> Mta:
    """One model per fold, and how well P(conversion | touches) orders journeys of users it never saw.

    Returns:
        The model; its `meta` has `journeys`, `touches` and, for methods with a P, `base_rate`, `auc` and `ne`
        over all journeys by their weights, each predicted by its own fold's model.

    Raises:
        InputError: a fold is left without journeys of both kinds.
    """
    fold = journeys.user_group % settings.folds
    meta: dict[str, Any] = {"journeys": len(journeys), "touches": len(journeys.channel)}
    for k in range(settings.folds):
        others = fold != k
        if not 0 < journeys.converted[others].sum() < others.sum():
            raise InputError(
                f"attribution: {len(journeys)} journeys in training, {int(journeys.converted.sum())} of them "
                "converted, are too few to learn the mta view from; leave it out or give more days"
            )
    if settings.method in BY_CHANNEL:
        counts = [count_channels(journeys.take(fold == k)) for k in range(settings.folds)]
        models = [reduce(add, counts[:k] + counts[k + 1 :]) for k in range(settings.folds)]
        return Mta(settings, tuple(models), meta)
    predicted = np.zeros(len(journeys))
    models = []
    for k in range(settings.folds):
        models.append(fit_attention(journeys.take(fold != k), settings.attention))
        mine = fold == k
        if mine.any():
            predicted[mine] = models[k].value(journeys.take(mine))
    label = journeys.converted.astype(np.float64)
    sums = binary_sums(label, predicted, journeys.weight)
    meta["base_rate"] = float(base_rate(sums))
    meta["auc"] = float(auc(label, predicted, journeys.weight))
    meta["ne"] = float(normalized_entropy(sums))
    return Mta(settings, tuple(models), meta)
