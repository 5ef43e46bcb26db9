"""Journeys: the touches of a user on the way to a conversion, or to none. What every attribution model reads.

Touches of all journeys lie in flat arrays, journey by journey, oldest first. What a touch knows of the others
is its relation to the journey's last touch only, so that the facts of a touch stay true when others are taken
away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Journeys:
    """Journeys [j] and their touches [q].

    Attributes:
        size: touches of each journey, at least 1.
        converted: whether it ended in a conversion, bool.
        weight: of each journey in a fit, float64.
        user_group: bootstrap group of its user (models.metrics.sums.user_group).
        channel, seller: codes of each touch; `channels`, `sellers`: what they stand for.
        gap_h: hours from each touch to the journey's last, float32.
        late: 1 where the touch is of the same visit as the journey's last, float32.
        relation: relatedness in [0, 1] to what the last touch was about, float32.
        same: 1 where it is the very same thing, float32.
    """

    size: np.ndarray
    converted: np.ndarray
    weight: np.ndarray
    user_group: np.ndarray
    channel: np.ndarray
    channels: tuple[str, ...]
    seller: np.ndarray
    sellers: tuple[str, ...]
    gap_h: np.ndarray
    late: np.ndarray
    relation: np.ndarray
    same: np.ndarray

    def __len__(self) -> int:
        return len(self.size)

    @cached_property
    def start(self) -> np.ndarray:
        """Where each journey's touches begin, [j]."""
        return np.cumsum(self.size) - self.size

    @cached_property
    def journey(self) -> np.ndarray:
        """Journey of each touch, [q]."""
        return np.repeat(np.arange(len(self.size)), self.size)

    def take(self, which: np.ndarray) -> Journeys:
        """Some journeys, by bool [j] or index."""
        index = np.flatnonzero(which) if which.dtype == bool else which
        touch = ragged(self.start[index], self.size[index])
        return Journeys(
            **{name: getattr(self, name)[index] for name in _OF_JOURNEYS},
            **{name: getattr(self, name)[touch] for name in _OF_TOUCHES},
            channels=self.channels,
            sellers=self.sellers,
        )

    def save(self, path: str | Path) -> None:
        """Writes one .npz file."""
        names = {kind: np.array(getattr(self, kind) or ("",)) for kind in ("channels", "sellers")}
        np.savez(path, **{name: getattr(self, name) for name in (*_OF_JOURNEYS, *_OF_TOUCHES)}, **names)

    @staticmethod
    def load(path: str | Path) -> Journeys:
        """Reads what `save` wrote."""
        with np.load(path) as arrays:
            read = {name: arrays[name] for name in arrays.files}
        return Journeys(
            **{
                name: tuple(value.tolist()) if name in ("channels", "sellers") else value
                for name, value in read.items()
            }
        )


_OF_JOURNEYS = ("size", "converted", "weight", "user_group")
_OF_TOUCHES = ("channel", "seller", "gap_h", "late", "relation", "same")


def ragged(start: np.ndarray, size: np.ndarray) -> np.ndarray:
    """start_k, ..., start_k + size_k - 1 for each k, concatenated: int64 [sum(size)]."""
    first = np.cumsum(size) - size
    return np.arange(int(size.sum())) + np.repeat(start - first, size)


def concat(parts: Sequence[Journeys]) -> Journeys:
    """The journeys of several parts in order, their codes on common sorted names."""
    names = {
        kind: tuple(sorted({name for part in parts for name in getattr(part, kind + "s")}))
        for kind in ("channel", "seller")
    }
    recoded = {kind: np.concatenate([coded(part, kind, names[kind]) for part in parts]) for kind in names}
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in (*_OF_JOURNEYS, *_OF_TOUCHES)
        if name not in recoded
    }
    return Journeys(**joined, **recoded, channels=names["channel"], sellers=names["seller"])


def coded(journeys: Journeys, kind: str, names: Sequence[str]) -> np.ndarray:
    """Codes of each touch's channel or seller in `names`; -1 for one that is not there, [q]."""
    place = {name: code for code, name in enumerate(names)}
    own = getattr(journeys, kind + "s")
    return np.array([place.get(name, -1) for name in own] or [-1], np.int64)[getattr(journeys, kind)]
