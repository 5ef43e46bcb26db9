"""Grouped permutation importance of a served model, per head (Breiman 2001; groups: Gregorutti et al. 2015).

The inputs of a group get the values of another, randomly chosen click, all from the same one; the rise of the
head's cross-entropy is what the model owed to the group. Groups are permuted singly and by family: groups of
a family stand in for each other, so a family can matter more than its groups together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models import features as names
from models.feature_groups import FAMILIES, GROUPS, members
from models.metrics.sums import USER_GROUPS, cross_entropy, user_group, user_hash
from schemas.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

    from experiments.served_model import ServedModel

_READ_ROWS = 4096


@dataclass(frozen=True)
class Clicks:
    """Evaluation clicks.

    Attributes:
        columns: model input -> [rows, ...].
        labels: served output -> what it is judged against, [rows].
        group: bootstrap group of the user, [rows].
        users: how many there are.
    """

    columns: dict[str, tf.Tensor]
    labels: dict[str, np.ndarray]
    group: np.ndarray
    users: int

    def __len__(self) -> int:
        return len(self.group)


@dataclass(frozen=True)
class Sums:
    """What importance and its intervals need, summed over the clicks of each bootstrap group of users.

    Attributes:
        clicks: [groups].
        positives, base: head -> label sum and cross-entropy as served, [groups].
        permuted: group or family -> head -> cross-entropy by repetition, [repeats, groups].
    """

    clicks: np.ndarray
    positives: dict[str, np.ndarray]
    base: dict[str, np.ndarray]
    permuted: dict[str, dict[str, np.ndarray]]


def read_clicks(
    files: Sequence[str],
    inputs: Mapping[str, tf.DType],
    label_of_output: Mapping[str, str],
    most_rows: int,
) -> Clicks:
    """Raw click examples as columns; of more than `most_rows` rows, those of a fixed sample of users.

    Args:
        files: gzip TFRecords of tf.Examples.
        inputs: raw inputs of the model and their types.
        label_of_output: column of the label that each served output is judged against.

    Raises:
        InputError: examples that lack an input or a label.
    """
    import tensorflow as tf

    spec = {
        name: tf.io.VarLenFeature(kind) if name in names.SEQUENCES else tf.io.FixedLenFeature([], kind)
        for name, kind in inputs.items()
    }
    spec[names.USER_ID] = tf.io.FixedLenFeature([], tf.string)
    spec |= {name: tf.io.FixedLenFeature([], tf.float32) for name in label_of_output.values()}
    parts: dict[str, list[tf.Tensor]] = {name: [] for name in spec}
    for serialized in tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(_READ_ROWS):
        try:
            row = tf.io.parse_example(serialized, spec)
        except tf.errors.InvalidArgumentError as error:
            reason = " ".join(error.message.rpartition("}} ")[2].split())[:200]
            raise InputError(f"evaluation clicks do not fit the model: {reason}") from None
        for name, value in row.items():
            if isinstance(value, tf.SparseTensor):
                value = tf.sparse.to_dense(value, default_value="")[:, : names.SEQUENCE_LENGTH]
                value = tf.pad(
                    value, [[0, 0], [0, names.SEQUENCE_LENGTH - tf.shape(value)[1]]], constant_values=""
                )
            parts[name].append(value)
    whole = {name: tf.concat(values, 0) for name, values in parts.items() if values}
    if not whole:
        raise InputError("there is no evaluation click to explain")
    user = whole.pop(names.USER_ID).numpy().astype("S")
    keep = np.arange(len(user))
    if len(user) > most_rows:
        hashed = user_hash(user)
        keep = np.flatnonzero(hashed <= np.sort(hashed)[most_rows - 1])
        whole = {name: tf.gather(value, keep) for name, value in whole.items()}
    return Clicks(
        columns={name: whole[name] for name in inputs},
        labels={output: whole[name].numpy() for output, name in label_of_output.items()},
        group=user_group(user[keep]),
        users=len(np.unique(user[keep])),
    )


def permute(
    model: ServedModel,
    clicks: Clicks,
    repeats: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Sums:
    """Scores the clicks as they are, then with every group and family permuted `repeats` times.

    Args:
        progress: told (passes over the clicks done, in all).
    """
    parts = {name: members(name, model.inputs) for name in GROUPS}
    parts |= {
        family: tuple(each for group in groups for each in parts[group])
        for family, groups in FAMILIES.items()
        if len(groups) > 1
    }
    parts = {name: inputs for name, inputs in parts.items() if inputs}
    passes, done = 1 + repeats * len(parts), 1

    def by_group(values: np.ndarray) -> np.ndarray:
        return np.bincount(clicks.group, values, USER_GROUPS)

    def sums(answers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            output: by_group(cross_entropy(label, answers[output])) for output, label in clicks.labels.items()
        }

    base = sums(model.score(clicks.columns))
    progress(done, passes)
    permuted = {name: {output: [] for output in clicks.labels} for name in parts}
    for repeat in range(repeats):
        # One order for all groups of a repetition: their importances are compared on the same draw.
        order = np.random.default_rng([seed, repeat]).permutation(len(clicks))
        for name, moved in parts.items():
            for output, values in sums(model.score(clicks.columns, moved, order)).items():
                permuted[name][output].append(values)
            done += 1
            progress(done, passes)
    return Sums(
        clicks=by_group(np.ones(len(clicks))),
        positives={output: by_group(label) for output, label in clicks.labels.items()},
        base=base,
        permuted={
            name: {output: np.stack(values) for output, values in heads.items()}
            for name, heads in permuted.items()
        },
    )


def bootstrap_rises(
    sums: Sums, resamples: int, seed: int
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, np.ndarray]]]:
    """Rise of NE by group or family and head: the estimate, and its draws [resamples].

    Users (hashed into groups) and repetitions are drawn with replacement together, the same draw for every
    group and head, so that differences between them are paired.
    """
    rng = np.random.default_rng(seed)
    occupied = sums.clicks > 0
    count = int(occupied.sum())
    repeats = next(iter(next(iter(sums.permuted.values())).values())).shape[0]
    users = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    repetitions = rng.multinomial(repeats, np.full(repeats, 1 / repeats), size=resamples) / repeats
    clicks = sums.clicks[occupied]

    def entropies(positives: np.ndarray, total: np.ndarray) -> np.ndarray:
        rate = positives / total
        with np.errstate(divide="ignore", invalid="ignore"):
            return -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)) * total

    estimate: dict[str, dict[str, float]] = {}
    draws: dict[str, dict[str, np.ndarray]] = {}
    for output, positives in sums.positives.items():
        whole = entropies(positives.sum(), clicks.sum())
        drawn = entropies(users @ positives[occupied], users @ clicks)
        for name, heads in sums.permuted.items():
            rise = (heads[output] - sums.base[output])[:, occupied]
            estimate.setdefault(name, {})[output] = float(rise.sum(axis=1).mean() / whole)
            draws.setdefault(name, {})[output] = ((users @ rise.T) * repetitions).sum(axis=1) / drawn
    return estimate, draws
