"""The shared bottom, against the same sums row by row in NumPy."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from models import features as names
from models.backbone import Backbone
from models.feature_space import NUMERIC, PADDING_ID
from models.settings import ModelSettings
from tests.models.test_cabb import SPACE

ROWS = 6
SETTINGS = ModelSettings(
    embedding_size=3, numeric_bins=4, attention_units=(5,), cross_projection=2, bottom_units=(16, 8)
)


def space():
    """Ids convert at different rates in every fold, and numbers have a spread to cut into bins."""
    rng = np.random.default_rng(1)
    counts = {
        name: np.stack(
            [rng.integers(100, 200, [names.USER_FOLDS, size]), rng.integers(5, 90, [names.USER_FOLDS, size])],
            1,
        )
        for name, size in SPACE.cardinality.items()
    }
    numbers = rng.normal(size=(50, len(SPACE.numeric))).astype(np.float32)
    return SPACE.over(dataclasses.replace(SPACE.statistics, by_id=counts, numbers=numbers))


def batch(rng):
    """Histories of different lengths, one of them empty."""
    lengths = np.array([3, 0, 5, 1, 2, 4])
    real = np.arange(5) < lengths[:, np.newaxis]
    ids = {name: rng.integers(1, size, ROWS) for name, size in SPACE.cardinality.items()}
    histories = {
        name: np.where(real, rng.integers(1, SPACE.cardinality[shared], real.shape), PADDING_ID)
        for name, shared in names.SEQUENCES.items()
    }
    numbers = rng.normal(size=(ROWS, len(SPACE.numeric))).astype(np.float32)
    return {**ids, **histories, NUMERIC: numbers, names.USER_FOLD: np.arange(ROWS) % names.USER_FOLDS}


def relu(x):
    return np.maximum(x, 0)


class Weights:
    """Hands out a layer's weights by parts of their names."""

    def __init__(self, layer):
        self._variables = {v.name: v.numpy() for v in layer.variables}

    def all(self, *parts):
        return [value for name, value in self._variables.items() if all(part in name for part in parts)]

    def __call__(self, *parts):
        (found,) = self.all(*parts)
        return found


def by_hand(bottom, space, features, training):
    """The bottom's output, a row at a time, [ROWS, 8]."""
    w = Weights(bottom)
    tables = {name: w(f"embedding_{name}") for name in SPACE.cardinality}
    rates = {name: space.statistics.id_scores(name, size) for name, size in SPACE.cardinality.items()}
    edges = space.statistics.edges(SETTINGS.numeric_bins)
    out = []
    for row in range(ROWS):
        ids = {name: int(features[name][row]) for name in sorted(SPACE.cardinality)}
        numbers = features[NUMERIC][row]
        fold = int(features[names.USER_FOLD][row]) if training else -1
        pieces = [
            np.clip((x - low) / (high - low), 0, 1) - 0.5
            for x, cuts in zip(numbers, edges, strict=True)
            if len(cuts) > 2
            for low, high in itertools.pairwise(cuts)
        ]
        shared = [names.SEQUENCES[name] for name in sorted(names.SEQUENCES)]
        query = np.concatenate([tables[name][ids[name]] for name in shared])
        history = np.zeros_like(query)
        for step in range(features[names.RECENT_ITEMS].shape[1]):
            past = [int(features[name][row, step]) for name in sorted(names.SEQUENCES)]
            if past[0] == PADDING_ID:
                continue
            key = np.concatenate([tables[name][each] for name, each in zip(shared, past, strict=True)])
            hidden = np.concatenate([query, key, query - key, query * key])
            hidden = relu(hidden @ w("din", "dense_0", "kernel") + w("din", "dense_0", "bias"))
            score = hidden @ w("din", "score", "kernel") + w("din", "score", "bias")
            history = history + score * key
        x0 = np.concatenate(
            [
                *(tables[name][each] for name, each in ids.items()),
                numbers,
                [rates[name][fold][each] for name, each in ids.items()],
                pieces,
                history,
            ]
        )
        x = x0
        for cross in range(SETTINGS.cross_layers):
            v, u, bias = w.all(f"cross_{cross}")
            x = x0 * (x @ v @ u + bias) + x
        for layer in ("dense_0", "dense_1"):
            x = relu(x @ w("/mlp", layer, "kernel") + w("/mlp", layer, "bias"))
        out.append(x)
    return np.array(out)


@pytest.mark.parametrize("training", [False, True])
def test_the_bottom_is_embeddings_numbers_rates_pieces_history_crosses_and_layers(training):
    rng = np.random.default_rng(0)
    known, features = space(), batch(rng)
    bottom = Backbone(SETTINGS, known, name="bottom")
    tensors = {name: tf.constant(values) for name, values in features.items()}
    bottom(tensors)
    for variable in bottom.trainable_variables:
        variable.assign(rng.normal(scale=0.4, size=variable.shape))
    found = bottom(tensors, training=training).numpy()
    assert (found > 0).any(axis=1).all()
    np.testing.assert_allclose(found, by_hand(bottom, known, features, training), rtol=1e-3, atol=1e-4)
