"""What is compared: a variant is a model's settings and the alpha that weighs its click-A-buy-B rows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from experiments.prepared import Prepared
from experiments.training import Rows
from models import features as names
from models.settings import ModelSettings
from schemas.settings import Settings


class Variant(Settings):
    """One row of a table.

    Attributes:
        name: unique within an experiment; `title` says it in words.
        learner: "network" is a model of models/, "lightgbm" one booster per label (experiments.boosting).
        changes: of the experiment's model settings.
        scheme: the similarity whose alpha weighs L_CABB.
        alpha: "permuted" deals the alphas of the training rows with y_cabb = 1 out among them at random:
            same weights, no relatedness.
        equal_lambda: divides lambda by the scheme's mean alpha, so that lambda times mean alpha is that of
            the static scheme.
    """

    name: str
    title: str
    learner: Literal["network", "lightgbm"] = "network"
    changes: dict[str, Any] = {}
    scheme: str = "taxonomy_cf"
    alpha: Literal["own", "permuted"] = "own"
    equal_lambda: bool = False

    def settings(self, model: ModelSettings, prepared: Prepared, seed: int) -> ModelSettings:
        """The model settings of one training."""
        changed = ModelSettings.model_validate({**model.model_dump(), **self.changes, "seed": seed})
        if not self.equal_lambda:
            return changed
        scaled = changed.lambda_cabb / prepared.mean_alpha[self.scheme]
        return changed.model_copy(update={"lambda_cabb": scaled})

    def rows(self, prepared: Prepared, seed: int) -> Rows:
        """The prepared rows with this variant's alpha."""
        alpha = np.asarray(prepared.alpha[self.scheme])
        if self.alpha == "permuted":
            alpha = permuted(alpha, prepared, seed)
        return Rows(prepared.space, prepared.inputs, {**prepared.labels, names.ALPHA: alpha})


def permuted(alpha: np.ndarray, prepared: Prepared, seed: int) -> np.ndarray:
    """alpha with the values of the training positives in a random order among themselves, [rows]."""
    positive = np.flatnonzero(prepared.labels[names.Y_CABB][: prepared.train_rows] > 0)
    dealt = alpha.copy()
    dealt[positive] = alpha[np.random.default_rng(seed).permutation(positive)]
    return dealt
