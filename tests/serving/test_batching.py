"""Requests that are computed together get what they would get alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.batching import Batcher
from serving.client import Client
from serving.emulator import Emulator
from serving.limits import ServingLimits
from serving.models import single
from tests.serving import tiny_model


def together(batcher, requests, compute, kind="k"):
    """Results of requests made at the same moment."""
    barrier = threading.Barrier(len(requests))

    def one(arrays):
        barrier.wait()
        try:
            return batcher.run(kind, arrays, compute)
        except ZeroDivisionError as error:
            return error

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(one, requests))


def doubling(seen):
    def compute(arrays):
        seen.append(len(arrays["x"]))
        return {"y": arrays["x"] * 2}

    return compute


def test_everyone_gets_their_own_rows_of_one_run():
    seen = []
    requests = [{"x": np.arange(n) + 100 * n} for n in (1, 5, 3)]
    answers = together(Batcher(100, 0.5), requests, doubling(seen))
    assert seen == [9]
    for asked, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], asked["x"] * 2)


def test_a_full_batch_does_not_wait():
    seen = []
    requests = [{"x": np.arange(4)} for _ in range(5)]
    answers = together(Batcher(8, 1.0), requests, doubling(seen))
    assert all(len(a["y"]) == 4 for a in answers)
    assert sum(seen) == 20 and max(seen) <= 8


def test_other_shapes_and_kinds_are_computed_apart():
    seen = []
    requests = [{"x": np.ones((2, 3))}, {"x": np.ones((2, 4))}, {"x": np.ones((2, 3), np.float32)}]
    answers = together(Batcher(100, 0.3), requests, doubling(seen))
    assert sorted(seen) == [2, 2, 2]
    assert [a["y"].shape for a in answers] == [(2, 3), (2, 4), (2, 3)]


def test_an_error_is_everyones():
    def broken(_):
        raise ZeroDivisionError("oops")

    answers = together(Batcher(100, 0.3), [{"x": np.ones(1)}, {"x": np.ones(2)}], broken)
    assert all(isinstance(each, ZeroDivisionError) for each in answers)


def test_a_batching_server_scores_as_any_other(tmp_path):
    base = tmp_path / "tiny"
    base.mkdir()
    tiny_model.save(base / "1")
    with (
        Emulator(single("tiny", base), ServingLimits(batch_wait_ms=50)) as server,
        Client(server.address, "tiny", deadline_s=20) as client,
    ):
        loaded = server.models.model("tiny")
        with loaded.use() as (_, servable):
            runs, compute = [], servable._compute
            servable._compute = lambda *args: runs.append(1) or compute(*args)
        requests = [tiny_model.columns(n, seed=n) for n in range(1, 7)]
        assert client.features
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(client.score, requests))
        assert 1 <= len(runs) < 6
        for asked, answer in zip(requests, answers, strict=True):
            assert answer["p_caba"] == pytest.approx(tiny_model.expected(asked), abs=1e-5)
