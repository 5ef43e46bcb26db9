"""Random journeys whose conversions depend on known touches."""

from __future__ import annotations

import numpy as np

from components.attribution_model.journeys import Journeys

CHANNELS = ("email", "social", "search", "direct")
EFFECT = np.array([0.0, 0.0, 1.2, 0.3])
"""What a touch of each channel adds to the log-odds."""


def random_journeys(seed: int, n: int, *, weighted: bool = False, longest: int = 6) -> Journeys:
    rng = np.random.default_rng(seed)
    size = rng.integers(1, longest + 1, n)
    q = int(size.sum())
    channel = rng.integers(0, len(CHANNELS), q)
    start = np.cumsum(size) - size
    log_odds = -2.5 + np.add.reduceat(EFFECT[channel], start)
    last = np.repeat(start + size - 1, size)
    gap = rng.exponential(20, q)
    gap[start + size - 1] = 0
    return Journeys(
        size=size,
        converted=rng.random(n) < 1 / (1 + np.exp(-log_odds)),
        weight=rng.choice([0.5, 1.0], n) if weighted else np.ones(n),
        user_group=rng.integers(0, 1024, n),
        channel=channel,
        channels=CHANNELS,
        seller=rng.integers(0, 2, q),
        sellers=("a", "b"),
        gap_h=gap.astype(np.float32),
        late=(gap < 0.5).astype(np.float32),
        relation=rng.random(q).astype(np.float32),
        same=(last == np.arange(q)).astype(np.float32),
    )
