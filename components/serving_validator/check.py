"""What a candidate must show: it loads, serves what it predicts, in time and in bounded memory."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_service_pb2_grpc

from components.serving_validator.settings import ServingCheckSettings
from components.serving_validator.warmup import EXAMPLES, as_ranking, example_request, raw_columns
from serving.client import Client
from serving.process import ServerProcess
from serving.requests import Features
from serving.servable import DEFAULT_SIGNATURE

REPORT_FILE = "serving.json"
MODEL = "candidate"
_CALL_S = 60.0


def check_serving(
    base: Path, examples: Sequence[bytes], features: Features, settings: ServingCheckSettings, log: Path
) -> dict[str, Any]:
    """Serves version 1 below `base` in a fresh process and compares it with itself.

    Args:
        base: directory with the folder `1`.
        examples: serialised tf.Examples.
        features: what the model reads.
        settings: what is asked.
        log: gets what the server writes.

    Returns:
        `blessed`, `reasons` (one sentence each, empty if blessed) and the figures.
    """
    found: dict[str, Any] = {"rows": len(examples), "settings": settings.model_dump()}
    reasons: list[str] = []
    try:
        with ServerProcess(MODEL, base, start_s=settings.start_s, log=log) as server:
            if server.errors:
                reasons += [f"the server could not load it: {message}" for message in server.errors.values()]
            else:
                expected = in_process(base / "1", examples)
                columns = raw_columns(examples, features)
                with Client(server.address, MODEL, features, deadline_s=_CALL_S) as client:
                    served = {
                        "raw": client.score(columns),
                        DEFAULT_SIGNATURE: _by_example(server.address, examples),
                    }
                    user, candidates = as_ranking(columns, features)
                    ranked = client.rank(user, candidates)
                    repeated = client.score({**user, **candidates})
                    found["latency_ms"] = latency(client, columns, settings)
                found["memory_mb"] = round(server.peak_memory_mb(), 1)
                reasons += differences(expected, served, settings.tolerance, found)
                reasons += differences(repeated, {"rank": ranked}, settings.tolerance, found)
                reasons += beyond_limits(found, settings)
    except (RuntimeError, grpc.RpcError) as error:
        said = str(error) if isinstance(error, RuntimeError) else f"{error.code().name}: {error.details()}"
        reasons.append(f"serving failed: {said}")
    return {"blessed": not reasons, "reasons": reasons, **found}


def refused(rows: int, reason: str) -> dict[str, Any]:
    """The result for a candidate that cannot even be asked."""
    return {"blessed": False, "reasons": [reason], "rows": rows}


def in_process(export: Path, examples: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Outputs of the default signature by name, each [rows], without a server."""
    call = tf.saved_model.load(str(export)).signatures[DEFAULT_SIGNATURE]
    outputs = call(**{EXAMPLES: tf.constant(list(examples))})
    return {name: value.numpy().reshape(len(examples)) for name, value in sorted(outputs.items())}


def latency(
    client: Client, columns: dict[str, np.ndarray], settings: ServingCheckSettings
) -> dict[str, float]:
    """Median and 99th percentile of a scored batch, milliseconds, building the request included."""
    rows = len(next(iter(columns.values())))
    batch = {name: values[: min(settings.batch, rows)] for name, values in columns.items()}
    seconds = []
    for _ in range(settings.requests):
        begin = time.perf_counter()
        client.score(batch)
        seconds.append(time.perf_counter() - begin)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return {"rows": min(settings.batch, rows), "p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def differences(
    expected: dict[str, np.ndarray],
    served: dict[str, dict[str, np.ndarray]],
    tolerance: float,
    found: dict[str, Any],
) -> list[str]:
    """Sentences about predictions that are not finite, or not what the model says in process.

    Args:
        expected: outputs in process.
        served: outputs by signature.
        tolerance: largest difference that is none.
        found: gets `difference`, the largest by signature and output; null if it is not a number.
    """
    reasons, largest = [], {}
    for name, values in expected.items():
        if not np.isfinite(values).all():
            reasons.append(f"{name} is not finite for {np.count_nonzero(~np.isfinite(values))} examples")
    for signature, outputs in served.items():
        if outputs.keys() != expected.keys():
            reasons.append(f"{signature} answers {sorted(outputs)}, the model {sorted(expected)}")
            continue
        for name, values in expected.items():
            finite = np.isfinite(values)
            gap = float(np.abs(outputs[name].astype(np.float64) - values)[finite].max(initial=0.0))
            largest[f"{signature}/{name}"] = gap if np.isfinite(gap) else None
            if not gap <= tolerance:  # a gap that is not a number is no agreement
                reasons.append(
                    f"{signature} answers a {name} that differs by {gap:.2g} from the model's "
                    f"own (allowed: {tolerance:g})"
                )
    found.setdefault("difference", {}).update(largest)
    return reasons


def beyond_limits(found: dict[str, Any], settings: ServingCheckSettings) -> list[str]:
    """Sentences about latency and memory."""
    reasons = []
    p99 = found["latency_ms"]["p99"]
    if p99 > settings.max_p99_ms:
        reasons.append(
            f"p99 of {found['latency_ms']['rows']} rows is {p99:.1f} ms (allowed: {settings.max_p99_ms:g})"
        )
    if found["memory_mb"] > settings.max_memory_mb:
        reasons.append(f"the server took {found['memory_mb']:.0f} MB (allowed: {settings.max_memory_mb:g})")
    return reasons


def write_report(folder: Path, result: dict[str, Any]) -> None:
    """`serving.json`, the result as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{REPORT_FILE}.tmp"
    temporary.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(folder / REPORT_FILE)


def _by_example(address: str, examples: Sequence[bytes]) -> dict[str, np.ndarray]:
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(example_request(examples, MODEL), timeout=_CALL_S)
    return {name: tf.make_ndarray(value).reshape(-1) for name, value in response.outputs.items()}
