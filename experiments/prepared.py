"""What training variants share: transformed click examples as arrays on disk, with every alpha beside
them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from models import features as names
from models.feature_space import FeatureSpace

META_FILE = "meta.json"
KEYS_FILE = "keys.parquet"


@dataclass(frozen=True)
class Prepared:
    """Rows of the training days, then rows of the evaluation days; read-only, mapped from disk.

    Attributes:
        home: the folder that holds all of it.
        train_rows: how many of the rows come from training days.
        inputs: model input -> [rows, ...]: int32 ids, float32 numbers (what models.preprocessing gives), and
            the user's fold.
        labels: labels, credits and row weight of models/features.py, float32 [rows].
        alpha: similarity scheme -> weight of the row in L_CABB, float32 [rows].
        mean_alpha: similarity scheme -> mean alpha of the training rows with y_cabb = 1.
        event_time: of the anchor, microseconds since the epoch, UTC, int64 [rows].
        user_group: bootstrap group of the user (models.metrics.sums.user_group), int64 [rows].
        space: sizes of the inputs, without base rates.
        facts: days (`windows`, `time_zone`), counts and `settings`, as written to meta.json.
    """

    home: Path
    train_rows: int
    inputs: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    alpha: dict[str, np.ndarray]
    mean_alpha: dict[str, float]
    event_time: np.ndarray
    user_group: np.ndarray
    space: FeatureSpace
    facts: dict

    def __len__(self) -> int:
        return len(self.event_time)

    @property
    def evaluation(self) -> np.ndarray:
        """Row numbers of the evaluation days."""
        return np.arange(self.train_rows, len(self))

    def training(self, before: int | None = None, since: int | None = None) -> np.ndarray:
        """Row numbers of training days whose anchor is in [since, before), microseconds since the epoch."""
        time = self.event_time[: self.train_rows]
        inside = np.ones(len(time), bool)
        if before is not None:
            inside &= time < before
        if since is not None:
            inside &= time >= since
        return np.flatnonzero(inside)

    def keys(self) -> pl.DataFrame:
        """user_id, session_id and item of every row, in order."""
        return pl.read_parquet(self.home / KEYS_FILE).drop(names.CATEGORY_TOP)

    def categories(self) -> np.ndarray:
        """Top category of every row's item, strings [rows]."""
        return pl.read_parquet(self.home / KEYS_FILE, columns=[names.CATEGORY_TOP]).to_series().to_numpy()

    @staticmethod
    def load(home: Path) -> Prepared:
        """Reads what `save` wrote."""
        facts = json.loads((home / META_FILE).read_text(encoding="utf-8"))

        def arrays(folder: str) -> dict[str, np.ndarray]:
            return {path.stem: np.load(path, mmap_mode="r") for path in sorted((home / folder).glob("*.npy"))}

        keys = arrays("keys")
        return Prepared(
            home=home,
            train_rows=facts["train_rows"],
            inputs=arrays("inputs"),
            labels=arrays("labels"),
            alpha=arrays("alpha"),
            mean_alpha=facts["mean_alpha"],
            event_time=keys[names.EVENT_TIME],
            user_group=keys["user_group"],
            space=FeatureSpace(
                cardinality=facts["cardinality"],
                numeric=tuple(facts["numeric"]),
                sequences=facts["sequences"],
            ),
            facts=facts,
        )


def save(
    home: Path,
    *,
    inputs: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    alpha: dict[str, np.ndarray],
    keys: dict[str, np.ndarray],
    strings: pl.DataFrame,
    facts: dict,
) -> None:
    """Writes the arrays below `home`, and last its meta.json."""
    for folder, columns in (("inputs", inputs), ("labels", labels), ("alpha", alpha), ("keys", keys)):
        (home / folder).mkdir(parents=True)
        for name, values in columns.items():
            np.save(home / folder / f"{name}.npy", values)
    strings.write_parquet(home / KEYS_FILE)
    (home / META_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
