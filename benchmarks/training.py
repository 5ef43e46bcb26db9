"""Rows per CPU second of training, against the same network in plain Keras and against LightGBM.

    python -m benchmarks.training --rows 200_000

All three see the same rows: random click examples of the store's shape, histories as short as real ones.
Each runs in a process of its own with one thread, which measures the CPU time of steady training: imports,
tracing and compilation are left out. The plain program is `Model.fit` on the same layers with histories
padded to their full length, one Adam for all variables, embedding tables included, and Keras metrics.
Goal: at least 3 times its speed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

GOAL = 3.0
MEAN_HISTORY = 4.0
CARDINALITY = {
    "item": 20_000,
    "leaf": 300,
    "category_top": 20,
    "brand": 500,
    "advertiser": 300,
    "context_channel": 10,
    "context_device": 5,
    "context_country": 100,
    "hour_of_day": 25,
    "day_of_week": 8,
}


def made(rows: int, seed: int = 0):
    """(features, labels): skewed ids, geometric histories, normal numbers, one click in ten converts."""
    import numpy as np

    from models import features as names
    from models.feature_space import NUMERIC, numeric_names

    rng = np.random.default_rng(seed)

    def ids(size: int, shape) -> np.ndarray:
        return (1 + (size - 1) * rng.random(shape) ** 3).astype(np.int32)

    features = {name: ids(size, rows) for name, size in CARDINALITY.items()}
    lengths = np.minimum(rng.geometric(1 / (MEAN_HISTORY + 1), rows) - 1, names.SEQUENCE_LENGTH)
    real = np.arange(names.SEQUENCE_LENGTH) < lengths[:, None]
    for name, shared in names.SEQUENCES.items():
        features[name] = np.where(real, ids(CARDINALITY[shared], real.shape), 0)
    features[NUMERIC] = rng.normal(size=(rows, len(numeric_names()))).astype(np.float32)
    features[names.USER_FOLD] = rng.integers(0, names.USER_FOLDS, rows).astype(np.int32)
    labels = {name: (rng.random(rows) < 0.1).astype(np.float32) for name in names.LABELS}
    return features, labels | {name: np.ones(rows, np.float32) for name in names.WEIGHTS}


def space():
    """The feature space of `made`."""
    from models import features as names
    from models.feature_space import FeatureSpace, numeric_names

    return FeatureSpace(dict(CARDINALITY), numeric_names(), dict(names.SEQUENCES))


def run_cabb(rows: int) -> float:
    """The product's own loop."""
    from models import features as names
    from models.fit import Training
    from models.inputs import TrainingRows
    from models.settings import ModelSettings

    training = Training(
        ModelSettings(members=1, epochs=1), space(), TrainingRows.of_arrays(*made(rows), names.Y_ANY)
    )
    seen: list[tuple[int, float]] = []
    training.run(lambda step, values: seen.append((step, time.process_time())))
    (first, begin), (last, end) = seen[0], seen[-1]
    return (last - first) * ModelSettings().batch_size / (end - begin)


def run_keras(rows: int) -> float:
    """The same network as a plain Keras program."""
    import tensorflow as tf
    import tensorflow_recommenders as tfrs
    import tf_keras

    from models import features as names
    from models.backbone import IdRates
    from models.feature_space import NUMERIC
    from models.inputs import TrainingRows
    from models.layers.piecewise_linear import PiecewiseLinear
    from models.settings import ModelSettings

    settings = ModelSettings()
    dense = tf_keras.layers.Dense
    features, labels = made(rows)
    statistics = TrainingRows.of_arrays(features, labels, names.Y_ANY).statistics
    inputs = {name: tf_keras.Input(column.shape[1:], dtype=column.dtype) for name, column in features.items()}
    tables = {
        name: tf_keras.layers.Embedding(size, min(settings.embedding_size, size))
        for name, size in CARDINALITY.items()
    }
    embedded = {name: table(inputs[name]) for name, table in tables.items()}
    query = tf.concat([embedded[shared] for shared in names.SEQUENCES.values()], -1)[:, tf.newaxis, :]
    keys = tf.concat([tables[shared](inputs[name]) for name, shared in names.SEQUENCES.items()], -1)
    own = tf.repeat(query, names.SEQUENCE_LENGTH, axis=1)
    score = tf.concat([own, keys, own - keys, own * keys], -1)
    for units in settings.attention_units:
        score = dense(units, "relu")(score)
    mask = tf.cast(inputs[names.RECENT_ITEMS][..., tf.newaxis] != 0, tf.float32)
    history = tf.reduce_sum(dense(1)(score) * keys * mask, axis=1)
    rates = IdRates(space().over(statistics))(inputs, training=True)
    pieces = PiecewiseLinear(statistics.edges(settings.numeric_bins))(inputs[NUMERIC])
    x = x0 = tf.concat([*embedded.values(), inputs[NUMERIC], rates, pieces, history], -1)
    for _ in range(settings.cross_layers):
        x = tfrs.layers.dcn.Cross(projection_dim=settings.cross_projection)(x0, x)
    for units in settings.bottom_units:
        x = dense(units, "relu")(x)

    def head(inputs, units, name):
        for n in units:
            inputs = dense(n, "relu")(inputs)
        return dense(1, "sigmoid", name=name)(inputs)

    outputs = {name: head(x, settings.head_units, name) for name in (names.P_CABA, names.P_CABB)}
    both = tf.concat([x, *outputs.values()], -1)
    outputs[names.P_CONVERSION] = head(both, settings.conversion_units, names.P_CONVERSION)
    metrics = {name: [tf_keras.metrics.BinaryCrossentropy()] for name in outputs}
    outputs |= {label: dense(1, "sigmoid", name=label)(x) for label in names.ACTIONS}
    model = tf_keras.Model(inputs, outputs)
    model.compile(tf_keras.optimizers.Adam(1e-3), "binary_crossentropy", metrics)
    label_of = {**names.LABEL_OF_OUTPUT, **{label: label for label in names.ACTIONS}}
    targets = {output: labels[label] for output, label in label_of.items()}
    few = {name: column[: settings.batch_size] for name, column in features.items()}
    model.fit(few, {k: v[: settings.batch_size] for k, v in targets.items()}, verbose=0)
    data = tf.data.Dataset.from_tensor_slices((features, targets)).batch(settings.batch_size).cache()
    for _ in data:
        pass
    begin = time.process_time()
    model.fit(data, verbose=0)
    return rows / (time.process_time() - begin)


def run_lightgbm(rows: int) -> float:
    """100 trees for each of the three labels, on the same numbers and ids without histories."""
    import lightgbm
    import numpy as np

    from models import features as names
    from models.feature_space import NUMERIC

    features, labels = made(rows)
    table = np.column_stack([features[NUMERIC], *(features[name] for name in CARDINALITY)])
    settings = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1}
    begin = time.process_time()
    for label in names.LABEL_OF_OUTPUT.values():
        lightgbm.train(settings, lightgbm.Dataset(table, labels[label]), num_boost_round=100)
    return rows / (time.process_time() - begin)


PROGRAMS = {"cabb": run_cabb, "keras": run_keras, "lightgbm": run_lightgbm}


def main() -> None:
    """Runs the three programs and prints their speed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), default=200_000)
    parser.add_argument("--only", choices=list(PROGRAMS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        print(json.dumps(PROGRAMS[options.only](options.rows)))
        return
    environment = {
        **os.environ,
        "TF_USE_LEGACY_KERAS": "1",
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    speed = {}
    for name in PROGRAMS:
        command = [sys.executable, "-m", "benchmarks.training", "--only", name, "--rows", str(options.rows)]
        answer = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment
        ).stdout
        speed[name] = float(answer.splitlines()[-1])
        print(f"{name:>9}: {speed[name]:9,.0f} rows per CPU-s")
    print(f"{speed['cabb'] / speed['keras']:.1f} times plain Keras (goal: at least {GOAL:.0f})")
    print(f"{speed['cabb'] / speed['lightgbm']:.1f} times LightGBM's rows through three models of 100 trees")


if __name__ == "__main__":
    main()
