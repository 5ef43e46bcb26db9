"""Prepared arrays of random clicks whose labels depend on the inputs: no logs, no Transform graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from experiments.prepared import Prepared, save
from models import features as names
from models.feature_space import NUMERIC, numeric_names
from models.metrics import sums

DAY = 86_400_000_000


def prepared(home: Path, train: int = 900, evaluation: int = 300, days: int = 12) -> Prepared:
    """Training rows spread over `days` days from 2024-03-01 (UTC), evaluation rows over the three after."""
    rng = np.random.default_rng(0)
    rows = train + evaluation
    numeric = rng.normal(size=(rows, len(numeric_names()))).astype(np.float32)
    cardinality = {
        **dict.fromkeys((*names.CATEGORICAL, "context_device"), 9),
        **{name: size + 1 for name, size in names.CALENDAR.items()},
    }
    inputs = {name: rng.integers(1, size, rows).astype(np.int32) for name, size in cardinality.items()}
    for name in names.SEQUENCES:
        ids = rng.integers(1, 9, (rows, names.SEQUENCE_LENGTH))
        inputs[name] = (ids * (rng.random((rows, 1)) < 0.5)).astype(np.int32)
    inputs[NUMERIC] = numeric
    users = np.array([f"u{n}" for n in rng.integers(0, rows // 3, rows)])
    inputs[names.USER_FOLD] = (sums.user_group(users) % names.USER_FOLDS).astype(np.int32)

    def happened(log_odds: np.ndarray) -> np.ndarray:
        return (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.float32)

    caba, cabb = happened(2 * numeric[:, 0] - 2), happened(1.5 * numeric[:, 0] + numeric[:, 1] - 1.5)
    alpha = np.where(cabb > 0, rng.random(rows), 0.4).astype(np.float32)
    mean = float(alpha[:train][cabb[:train] > 0].mean())
    first = 19_783 * DAY  # 2024-03-01
    time = np.concatenate(
        [
            first + rng.integers(0, days * DAY, train),
            first + days * DAY + rng.integers(0, 3 * DAY, evaluation),
        ]
    )
    save(
        home,
        inputs=inputs,
        labels={
            names.Y_CABA: caba,
            names.Y_CABB: cabb,
            names.Y_ANY: np.maximum(caba, cabb),
            names.LAST_CLICK_CREDIT: caba * (rng.random(rows) < 0.6).astype(np.float32),
            **{
                name: np.maximum(bought, happened(numeric[:, 0] - 1))
                for name, bought in zip(names.ACTIONS, (caba, cabb, caba, cabb), strict=True)
            },
            names.ROW_WEIGHT: np.ones(rows, np.float32),
        },
        alpha={"static": np.ones(rows, np.float32), "taxonomy_cf": alpha},
        keys={names.EVENT_TIME: time, "user_group": sums.user_group(users)},
        strings=pl.DataFrame(
            {
                names.USER_ID: users,
                names.SESSION_ID: users,
                names.ITEM: users,
                names.CATEGORY_TOP: np.where(rng.random(rows) < 0.5, "Toys", "Jewelry"),
            }
        ),
        facts={
            "train_rows": train,
            "eval_rows": evaluation,
            "eval_users": len(np.unique(users[train:])),
            "mean_alpha": {"static": 1.0, "taxonomy_cf": mean},
            "cardinality": cardinality,
            "numeric": numeric_names(),
            "sequences": names.SEQUENCES,
            "windows": {"train_start": None, "eval_start": "2024-03-13", "eval_end": "2024-03-16"},
            "time_zone": "UTC",
            "settings": {"made": "up"},
        },
    )
    return Prepared.load(home)
