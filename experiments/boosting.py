"""Gradient-boosted trees on the inputs of the models: a reference that knows none of the project's ideas.

One booster per label, on the numbers of a row, its hour and day, and its ids (as categories). Sequences are
left out, since trees take none, and so is the item's id, without which trees did better on the days that
chose the parameters (docs/model-choices.md). The number of trees has the least loss on held-out rows.
"""

from __future__ import annotations

import numpy as np

from experiments.training import Rows
from models import features as names
from models.feature_space import NUMERIC

PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 8,
    "min_data_in_leaf": 100,
    "lambda_l2": 10.0,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
MOST_TREES = 1000
PATIENCE = 50
"""Trees without a better loss on held-out rows before growing stops."""


class Boosters:
    """A booster per served output; the label of each is that of models.features.LABEL_OF_OUTPUT."""

    def __init__(self, data: Rows, seed: int):
        self._seed = seed
        self._labels = data.labels
        ids = sorted(data.space.cardinality.keys() - {names.ITEM, *names.CALENDAR})
        numbers = [data.inputs[NUMERIC], *(data.inputs[name] for name in sorted(names.CALENDAR))]
        self._table = np.column_stack([*numbers, *(data.inputs[name] for name in ids)])
        width = self._table.shape[1]
        self._categories = list(range(width - len(ids), width))
        self._boosters, self._trees = {}, {}

    def train(self, rows: np.ndarray, held_out: np.ndarray) -> None:
        """Grows trees on `rows` and notes how many were best on `held_out`."""
        import lightgbm

        for output in names.LABEL_OF_OUTPUT:
            booster = lightgbm.train(
                self._parameters(),
                self._dataset(output, rows),
                MOST_TREES,
                valid_sets=[self._dataset(output, held_out)],
                callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
            )
            self._boosters[output], self._trees[output] = booster, max(booster.best_iteration, 1)

    def retrain(self, rows: np.ndarray) -> None:
        """Grows as many trees again on other rows."""
        import lightgbm

        for output, trees in self._trees.items():
            self._boosters[output] = lightgbm.train(self._parameters(), self._dataset(output, rows), trees)

    def score(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Every output on the given rows, float32 [rows]."""
        return {
            output: booster.predict(self._table[rows], num_iteration=self._trees[output]).astype(np.float32)
            for output, booster in self._boosters.items()
        }

    def _parameters(self):
        return {**PARAMETERS, "seed": self._seed}

    def _dataset(self, output: str, rows: np.ndarray):
        import lightgbm

        return lightgbm.Dataset(
            self._table[rows],
            np.asarray(self._labels[names.LABEL_OF_OUTPUT[output]])[rows],
            weight=np.asarray(self._labels[names.ROW_WEIGHT])[rows],
            categorical_feature=self._categories,
            params={"verbosity": -1},
        )
