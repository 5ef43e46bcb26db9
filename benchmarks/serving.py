"""Milliseconds to score 1, 100 and 500 candidates over gRPC and REST, against the SavedModel in process.

    python -m benchmarks.serving --export runs/cabb/serving/cabb/1 \
        --examples runs/cabb/artifacts/SimilarityTransform/examples/4/Split-eval

The server is the emulator in a process of its own; every way starts from the same columns (lists and arrays)
and ends with arrays of scores. Ways take turns of ten calls, so that other work on the machine slows them
all alike.
`rank` sends the user's features once; `row by row` builds a tf.Example per candidate in Python. Goals for 100
candidates: gRPC p50 at most 2x the call in process, p99 under 10 ms.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import psutil

MODEL = "model"
GOAL_RATIO, GOAL_P99_MS = 2.0, 10.0
BASELINE = "in process"
COUNTS = (1, 100, 500)
TURN = 10


def ways(server, client, call, servable, columns: dict) -> dict[str, Callable[[], object]]:
    """Each way to score the same candidates, by name."""
    import tensorflow as tf

    from components.serving_validator.warmup import as_ranking, example_request

    user, candidates = as_ranking(columns, client.features)
    connection = http.client.HTTPConnection(server.rest_address, timeout=60)
    rows = len(next(iter(columns.values())))

    def in_process():
        outputs = call(**{name: tf.constant(values) for name, values in columns.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    def rest():
        text = {
            name: _text(values.tolist()) if values.dtype == object else values.tolist()
            for name, values in columns.items()
        }
        body = json.dumps({"signature_name": "raw", "inputs": text})
        connection.request("POST", f"/v1/models/{MODEL}:predict", body)
        outputs = json.loads(connection.getresponse().read())["outputs"]
        return {name: np.array(values) for name, values in outputs.items()}

    def row_by_row():
        examples = []
        for row in range(rows):
            example = tf.train.Example()
            for name, values in columns.items():
                value = values[row]
                feature = example.features.feature[name]
                if values.dtype == object:
                    feature.bytes_list.value.extend(value if values.ndim == 2 else [value])
                elif values.dtype.kind == "f":
                    feature.float_list.value.append(value)
                else:
                    feature.int64_list.value.append(value)
            examples.append(example.SerializeToString())
        request = example_request(examples, MODEL).SerializeToString()
        from serving import wire

        return client._predict(wire.PredictRequest.FromString(request), timeout=60)

    return {
        BASELINE: in_process,
        "in a session": lambda: servable.run("raw", columns),
        "gRPC": lambda: client.score(columns),
        "gRPC rank": lambda: client.rank(user, candidates),
        "gRPC row by row": row_by_row,
        "REST": rest,
    }


def _text(values):
    return [_text(v) if isinstance(v, list) else v.decode() for v in values]


def timed(
    ways_: dict[str, Callable[[], object]], rounds: int, server: int
) -> dict[str, tuple[np.ndarray, float]]:
    """Milliseconds of every call, [rounds * TURN], and the mean of CPU of this process and `server`.

    A way is called TURN times before it is the next one's turn, as under a steady load. The first tenth of
    the rounds warms up.
    """
    other = psutil.Process(server)

    def cpu() -> float:
        return time.process_time() + sum(other.cpu_times()[:2])

    taken: dict[str, list[float]] = {name: [] for name in ways_}
    spent = dict.fromkeys(ways_, 0.0)
    for number in range(-(rounds // 10), rounds):
        for name, way in ways_.items():
            before, calls = cpu(), []
            for _ in range(TURN):
                begin = time.perf_counter()
                way()
                calls.append((time.perf_counter() - begin) * 1e3)
            if number >= 0:
                taken[name] += calls
                spent[name] += cpu() - before
    return {name: (np.array(calls), spent[name] * 1e3 / len(calls)) for name, calls in taken.items()}


def main() -> None:
    """Prints a table per number of candidates, and whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", type=Path, required=True, help="folder of a pushed version")
    parser.add_argument(
        "--examples", type=Path, required=True, help="folder of eval examples (gzip TFRecord)"
    )
    parser.add_argument("--rounds", type=int, default=100, help=f"turns of {TURN} calls each")
    arguments = parser.parse_args()

    import tensorflow as tf

    from components.serving_validator.warmup import raw_columns, read_examples
    from serving.client import Client
    from serving.limits import ServingLimits
    from serving.process import ServerProcess
    from serving.requests import features_of_export
    from serving.servable import Servable

    gc.collect()
    gc.freeze()  # a client without TensorFlow has nothing to walk
    features = features_of_export(arguments.export)
    servable = Servable(arguments.export, ServingLimits())
    loaded = tf.saved_model.load(str(arguments.export))
    whole = raw_columns(read_examples(arguments.examples, 500), features)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "1").symlink_to(arguments.export.resolve())
        with (
            ServerProcess(MODEL, Path(folder)) as server,
            Client(server.address, MODEL, features, deadline_s=60) as client,
        ):
            for count in COUNTS:
                columns = {name: values[:count] for name, values in whole.items()}
                found = timed(
                    ways(server, client, loaded.signatures["raw"], servable, columns),
                    arguments.rounds,
                    server.process_id,
                )
                base = np.median(found[BASELINE][0])
                load = os.getloadavg()[0]
                print(f"{count} candidates, {arguments.rounds * TURN} calls, load average {load:.1f}")
                for name, (ms, cpu) in found.items():
                    p50, p99 = np.percentile(ms, [50, 99])
                    print(
                        f"  {name:16} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms   {p50 / base:5.2f}x"
                        f"   CPU {cpu:7.2f} ms"
                    )
                if count == 100:
                    p50, p99 = np.percentile(found["gRPC"][0], [50, 99])
                    ratio = p50 / base
                    met = "met" if ratio <= GOAL_RATIO and p99 < GOAL_P99_MS else "not met"
                    goals = f"p50 at most {GOAL_RATIO:g}x, p99 under {GOAL_P99_MS:g} ms"
                    print(f"  goals for gRPC ({goals}): {ratio:.2f}x, {p99:.1f} ms: {met}")
            print(f"server: peak {server.peak_memory_mb():.0f} MB")


if __name__ == "__main__":
    main()
