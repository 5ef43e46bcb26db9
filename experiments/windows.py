"""What the attribution window does: the same clicks labelled within a session and within hours (CABB 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from components.similarity_transform.labels import Hours
from experiments.prepare import Recipe, prepare
from experiments.prepared import Prepared
from experiments.training import Rows, score, train
from models import features as names
from models.metrics import sums
from models.settings import ModelSettings

Window = Literal["session"] | Hours
KEYS = (names.USER_ID, names.SESSION_ID, names.ITEM)


def compare_windows(
    recipe: Recipe,
    windows: Sequence[Window],
    settings: ModelSettings,
    seeds: Sequence[int],
    home: Path,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """One entry per window: mature clicks and base rates of both splits, and the model's NE.

    NE and base rates of `common` are of the evaluation clicks that are mature under every window, so that
    only the labels differ; NE of different labels still cannot be ranked.

    Args:
        recipe: of the data; its first scheme gives alpha, its window is ignored.
        seeds: one training each; NE is their mean.
        home: where prepared arrays are kept.
        say: told what is being done.
    """
    prepared = {}
    for window in windows:
        labels = recipe.labels.model_copy(update={"window": window})
        prepared[name_of(window)] = prepare(recipe.model_copy(update={"labels": labels}), home, say)
    keys = {name: data.keys()[data.train_rows :].with_row_index("row") for name, data in prepared.items()}
    shared = None
    for each in keys.values():
        shared = each.select(KEYS) if shared is None else shared.join(each, on=KEYS, how="semi")
    entries = []
    for name, data in prepared.items():
        common = data.train_rows + shared.join(keys[name], on=KEYS, how="inner")["row"].sort().to_numpy()
        answers = []
        for seed in seeds:
            say(f"window {name}, seed {seed}")
            answers.append(_answers(data, settings.model_copy(update={"seed": seed}), common))
        entries.append(
            {
                "window": name,
                "train": _rates(data, data.training()),
                "eval": _rates(data, data.evaluation),
                "common": {**_rates(data, common), "ne": _ne(data, common, answers)},
            }
        )
    return entries


def name_of(window: Window) -> str:
    """'session', '24 h'."""
    return window if isinstance(window, str) else f"{window.hours:g} h"


def _answers(data: Prepared, settings: ModelSettings, wanted: np.ndarray) -> dict[str, np.ndarray]:
    alpha = next(iter(data.alpha.values()))
    rows = Rows(data.space, data.inputs, {**data.labels, names.ALPHA: alpha})
    return score(train(settings, rows, data.training()), rows, wanted)


def _rates(data: Prepared, rows: np.ndarray) -> dict[str, Any]:
    return {
        "clicks": len(rows),
        **{label: float(data.labels[label][rows].mean()) for label in names.LABEL_OF_OUTPUT.values()},
    }


def _ne(data: Prepared, rows: np.ndarray, answers: Sequence[dict[str, np.ndarray]]) -> dict[str, float]:
    """Mean over seeds, by served output."""
    return {
        output: float(
            np.mean(
                [
                    sums.normalized_entropy(sums.binary_sums(data.labels[label][rows], each[output]))
                    for each in answers
                ]
            )
        )
        for output, label in names.LABEL_OF_OUTPUT.items()
    }
