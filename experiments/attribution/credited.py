"""Credited touches: what the tables of `cabb attribution` are made of, wherever the touches came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from components.similarity_transform.touch_paths import TouchPaths

POSITIONS = ("only touch", "first", "in between", "last")


@dataclass(frozen=True)
class Credited:
    """Touches of conversions with their credits, and what clicks are labelled with.

    Attributes:
        views: columns of both frames.
        dimensions: columns of `touches` that credit is shown by.
        touches: one row per (conversion, touch): path, user_group, the dimensions, a float64 credit per view;
            `uplift` and `click` (the click example's number) where the truth is known.
        clicks: one row per click: user_group and its credit per view, summed over conversions, at most 1.
        mta: what the fit of the mta view said (`fit_mta`), and its method.
        source: where the touches came from, a few words.
    """

    views: tuple[str, ...]
    dimensions: tuple[str, ...]
    touches: pl.DataFrame
    clicks: pl.DataFrame
    source: str
    mta: dict[str, Any] = field(default_factory=dict)


def position_names(paths: TouchPaths) -> np.ndarray:
    """Which of POSITIONS each touch has in its path, [q] strings."""
    first, last = paths.position == 0, paths.from_end == 0
    return np.array(POSITIONS, object)[np.select([first & last, first, last], [0, 1, 3], 2)]
