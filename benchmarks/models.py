"""Training throughput of every model on the same rows, against shared_bottom with the same views.

    python -m benchmarks.models [--rows 100000 --batch-size 512]

Rows are made up, with the sizes and history lengths given; every model trains on all of them for one pass,
in its own process with one thread, and the seconds are CPU seconds of the steps without the first window
(which traces the graph). Models take turns; the fastest round counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

GOAL = 2.0
"""mal takes at most this many times the seconds of shared_bottom."""
PEER = "shared_bottom"
VIEWS = ("last_click", "first_click", "linear", "mta")


def rows(count: int, items: int = 50_000, seed: int = 1):
    """(features, labels) of `count` clicks and the FeatureSpace: half of the users without a history."""
    import numpy as np

    from models import features as names
    from models.feature_space import NUMERIC, FeatureSpace, numeric_names

    rng = np.random.default_rng(seed)
    cardinality = {names.ITEM: items, names.LEAF: 400, "category_top": 20, "brand": 100, "advertiser": 50}
    cardinality |= {name: size + 1 for name, size in names.CALENDAR.items()}
    features = {name: rng.integers(1, size, count).astype(np.int32) for name, size in cardinality.items()}
    length = rng.integers(0, names.SEQUENCE_LENGTH, count) * (rng.random(count) < 0.5)
    real = np.arange(names.SEQUENCE_LENGTH) < length[:, None]
    for name, shared in names.SEQUENCES.items():
        ids = rng.integers(1, cardinality[shared], real.shape)
        features[name] = np.where(real, ids, 0).astype(np.int32)
    features[NUMERIC] = rng.normal(size=(count, len(numeric_names()))).astype(np.float32)
    features[names.USER_FOLD] = rng.integers(0, names.USER_FOLDS, count).astype(np.int32)
    labels = {name: (rng.random(count) < 0.1).astype(np.float32) for name in names.LABELS}
    labels |= {name: np.ones(count, np.float32) for name in names.WEIGHTS}
    labels |= {name: (rng.random(count) < 0.1).astype(np.float32) for name in names.credit_columns(VIEWS)}
    space = FeatureSpace(cardinality, numeric_names(), dict(names.SEQUENCES))
    return features, labels, space


def measure(model: str, count: int, batch_size: int) -> dict:
    """Rows per CPU second of the steps after the first window, and trainable parameters."""
    import time

    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from models.fit import Training
    from models.inputs import TrainingRows
    from models.settings import ModelSettings

    features, labels, space = rows(count)
    settings = ModelSettings(model=model, members=1, batch_size=batch_size, views=VIEWS, epochs=1)
    label = settings.conversion_label()
    training = Training(settings, space, TrainingRows.of_arrays(features, labels, label))
    marks = []
    built = training.run(lambda step, _: marks.append((step, time.process_time())))
    (first, begin), (last, end) = marks[0], marks[-1]
    return {
        "rows_per_s": (last - first) * batch_size / (end - begin),
        "parameters": sum(int(np.prod(v.shape)) for v in built.trainable_variables),
        "dense": sum(int(np.prod(v.shape)) for v in built.trainable_variables if "embedding" not in v.name),
    }


def main() -> None:
    from models.settings import MODELS, VIEW_MODELS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["cabb", *VIEW_MODELS])
    parser.add_argument("--one", choices=MODELS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.rows, arguments.batch_size)))
        return
    chosen = list(dict.fromkeys((PEER, *arguments.models)))
    best: dict[str, dict] = {}
    for _ in range(arguments.rounds):
        for model in chosen:
            found = _in_own_process(model, arguments.rows, arguments.batch_size)
            if model not in best or found["rows_per_s"] > best[model]["rows_per_s"]:
                best[model] = found
    print(
        f"{'model':<14} {'rows/CPU-s':>11} {'time against ' + PEER:>27} {'dense parameters':>17} {'all':>10}"
    )
    for model, found in best.items():
        ratio = best[PEER]["rows_per_s"] / found["rows_per_s"]
        print(
            f"{model:<14} {found['rows_per_s']:>11,.0f} {ratio:>27.2f} {found['dense']:>17,} "
            f"{found['parameters']:>10,}"
        )
    if "mal" in best:
        ratio = best[PEER]["rows_per_s"] / best["mal"]["rows_per_s"]
        print(f"mal within {GOAL:g}x of {PEER}: {'yes' if ratio <= GOAL else 'no'} ({ratio:.2f}x)")


def _in_own_process(model: str, count: int, batch_size: int) -> dict:
    environment = {
        **os.environ,
        "TF_USE_LEGACY_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "benchmarks.models", "--one", model]
    command += ["--rows", str(count), "--batch-size", str(batch_size)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
