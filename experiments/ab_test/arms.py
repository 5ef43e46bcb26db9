"""Arms rank the same candidates, and what their lists lead to, per user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from models import features as names
from simulator.catalog import Catalog
from simulator.recommendations import ClickModel, Draw, ShownItems

if TYPE_CHECKING:
    from experiments.served_model import ServedModel

OUTCOMES = ("clicked", "ordered", "own", "ordered_after", "value")
Value = Literal["price", "order"]
Score = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Shown:
    """What one arm's lists lead to.

    Attributes:
        items: in list order, [users, places].
        expected, drawn: OUTCOMES -> [users]: exact means, and one common draw.
        distance: mean of 1 - relatedness over the pairs of a list, [users].
        leaves: distinct leaves of a list, [users].
    """

    items: np.ndarray
    expected: dict[str, np.ndarray]
    drawn: dict[str, np.ndarray]
    distance: np.ndarray
    leaves: np.ndarray


def show(
    score: np.ndarray,
    items: np.ndarray,
    truth: ShownItems,
    clicks: ClickModel,
    draw: Draw,
    catalog: Catalog,
    relatedness: np.ndarray,
    places: int,
) -> Shown:
    """Lists of the `places` best candidates.

    Args:
        score: [users, candidates]; of equal scores the earlier candidate comes first.
        items: catalog items, [users, candidates].
    """
    top = np.argsort(-score, axis=1, kind="stable")[:, :places]
    listed = np.take_along_axis(items, top, axis=1)
    leaf = catalog.leaf[listed]
    near = relatedness[leaf[:, :, None], leaf[:, None, :]]
    pairs = places * (places - 1)
    sorted_leaf = np.sort(leaf, axis=1)
    return Shown(
        items=listed,
        expected=truth.expected(clicks, top),
        drawn=truth.happens(clicks, top, draw),
        distance=1 - (near.sum(axis=(1, 2)) - places) / max(pairs, 1),
        leaves=1.0 + (np.diff(sorted_leaf, axis=1) > 0).sum(axis=1),
    )


def joined(parts: list[Shown]) -> Shown:
    """The users of all parts, in order."""
    return Shown(
        items=np.concatenate([part.items for part in parts]),
        **{
            kind: {name: np.concatenate([getattr(part, kind)[name] for part in parts]) for name in OUTCOMES}
            for kind in ("expected", "drawn")
        },
        distance=np.concatenate([part.distance for part in parts]),
        leaves=np.concatenate([part.leaves for part in parts]),
    )


def p_conversion(
    model: ServedModel, columns: Mapping[str, np.ndarray | pa.Array], shape: tuple[int, int]
) -> np.ndarray:
    """The model's score of every candidate, from the columns of `candidate_features`."""
    import tensorflow as tf

    tensors = {name: tf.constant(_dense(name, columns[name])) for name in model.inputs}
    return model.score(tensors)[names.P_CONVERSION].reshape(shape).astype(np.float64)


def _dense(name: str, values: np.ndarray | pa.Array) -> np.ndarray:
    if name in names.SEQUENCES:
        length = np.diff(values.offsets.to_numpy())
        padded = np.full((len(values), names.SEQUENCE_LENGTH), "", object)
        padded[np.arange(names.SEQUENCE_LENGTH) < length[:, None]] = values.flatten().to_numpy(False)
        return padded
    return values if isinstance(values, np.ndarray) else values.cast(pa.string()).to_numpy(False)
