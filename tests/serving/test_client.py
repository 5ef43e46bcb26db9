"""The client: columns in, scores out, deadlines, repetitions, and no TensorFlow."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pytest
from tensorflow_serving.apis import predict_pb2

from models import features as names
from schemas.errors import InputError
from serving import wire
from serving.client import AsyncClient, Client, ScoringError
from serving.requests import OUTPUTS as SENT
from serving.requests import SEQUENCE_LENGTH, SEQUENCES, Requests, features_of_export
from tests.serving.conftest import MODEL
from tests.serving.tiny_model import OUTPUTS, columns

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def client(server):
    with Client(server.address, MODEL, deadline_s=20) as client:
        yield client


@pytest.fixture(scope="module")
def features(server):
    newest = max((p for p in server.base.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    return features_of_export(newest)


def as_lists(data):
    return {
        "item": [v.decode() for v in data["item"]],
        "price": data["price"].tolist(),
        "hour_of_day": data["hour_of_day"].tolist(),
        "recent_items": [[v.decode() for v in row] for row in data["recent_items"]],
    }


def test_the_export_and_the_server_name_the_same_features(client, features):
    assert client.features == features


def test_arrays_lists_and_arrow_give_the_same_scores(client):
    data = columns(9)
    lists = as_lists(data)
    by_array = client.score(data)
    assert list(by_array) == list(OUTPUTS) and by_array["p_caba"].shape == (9,)
    table = pa.table({**lists, "user_id": ["nobody's feature"] * 9})
    for other in (lists, table, table.to_batches()[0], pa.concat_tables([table[:4], table[4:]])):
        for name, values in client.score(other).items():
            np.testing.assert_array_equal(values, by_array[name])


def test_histories_of_any_length(client):
    data = as_lists(columns(3))
    item = data["item"][0]
    data["recent_items"] = [[item, "a", "b"], [], None]
    ragged = client.score(data)
    data["recent_items"] = [[item, "a", "b"], ["", "", ""], ["z"] * 20 + [data["item"][2]]]
    np.testing.assert_array_equal(ragged["p_caba"], client.score(data)["p_caba"])
    data["recent_items"] = [[], [], []]
    assert np.isfinite(client.score(data)["p_caba"]).all()


def test_one_output_only(client):
    assert list(client.score(columns(2), outputs=["p_cabb"])) == ["p_cabb"]


def test_ranking_sends_the_user_once(client, features):
    candidates = {name: columns(50)[name] for name in ("item", "price")}
    user = {"hour_of_day": 13, "recent_items": ["item-1", "item-2"]}
    ranked = client.rank(user, candidates)
    repeated = {**candidates, "hour_of_day": [13] * 50, "recent_items": [user["recent_items"]] * 50}
    scored = client.score(repeated)
    assert list(ranked) == list(OUTPUTS)
    for name, values in scored.items():
        np.testing.assert_array_equal(ranked[name], values)
    (order,) = client.rank(user, candidates, outputs=["order"]).values()
    assert order.dtype == np.int32
    np.testing.assert_array_equal(scored["p_conversion"][order], np.sort(scored["p_conversion"])[::-1])
    request = Requests(features, MODEL).rank(user, candidates)
    sizes = {n: [d.size for d in t.tensor_shape.dim] for n, t in request.inputs.items()}
    assert sizes == {"item": [1, 50], "price": [1, 50], "hour_of_day": [1], "recent_items": [1, 20]}
    assert len(request.inputs["recent_items"].string_val) == 20
    assert client.rank({**user, "recent_items": []}, candidates)["p_caba"].shape == (50,)
    one_price = client.rank({**user, "price": 2.0}, {"item": candidates["item"]})
    np.testing.assert_array_equal(
        one_price["p_caba"], client.score({**repeated, "price": [2.0] * 50})["p_caba"]
    )


@pytest.mark.parametrize(
    ("user", "candidates", "message"),
    [
        ({"price": 1.0}, {}, "price: given for the user and for the candidates"),
        ({"hour_of_day": [1, 2]}, {}, "hour_of_day is the user's: give it in `user`"),
        ({}, {"price": [1.0, 2.0, 3.0]}, "rows, the others"),
    ],
)
def test_rankings_that_do_not_fit_are_named(features, user, candidates, message):
    whole = {"hour_of_day": 13, "recent_items": ["a"], **user}
    with pytest.raises(InputError, match=message):
        Requests(features, MODEL).rank(whole, {"item": ["a", "b"], "price": [1.0, 2.0], **candidates})


def test_a_version_without_the_ranking_signature_gets_a_plain_request(features):
    old = {name: replace(feature, of_candidate=False) for name, feature in features.items()}
    request = Requests(old, MODEL).rank(
        {"hour_of_day": 13, "recent_items": ["a"]}, {"item": ["a", "b"], "price": [1.0, 2.0]}
    )
    assert request.model_spec.signature_name == "raw"
    assert list(request.inputs["hour_of_day"].int64_val) == [13]
    assert request.inputs["hour_of_day"].tensor_shape.dim[0].size == 2


def test_one_row_of_plain_values(client):
    row = {"item": "item-3", "price": 9.5, "hour_of_day": 3, "recent_items": ["item-3"]}
    assert client.score(row)["p_caba"].shape == (1,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": None}, "column price"),
        ({"price": ["a", "b", "c"]}, "column price: expected one of numbers"),
        ({"price": [1.0, float("nan"), 2.0]}, "column price: row 1 is nan; unknown numbers are -1"),
        ({"price": [1.0, 1e300, 2.0]}, "column price: row 1 is inf"),
        ({"price": [1.0, 2.0]}, "column price has 2 rows, the others 3"),
        ({"price": pa.array([1.0, None, 2.0])}, "column price: 1 null values"),
        ({"hour_of_day": [1.5, 2.0, 3.0]}, "expected one of whole numbers"),
        ({"item": ["a", None, "c"]}, "column item: expected text, got None"),
        ({"item": ["a", "\ud800", "c"]}, "column item: expected text"),
        ({"recent_items": ["a", 3, "c"]}, "column recent_items: expected text"),
        ({"recent_items": [3, 4, 5]}, "column recent_items: expected a list of texts"),
    ],
)
def test_columns_that_do_not_fit_are_named(features, change, message):
    with pytest.raises(InputError, match=message):
        Requests(features, MODEL).score({**as_lists(columns(3)), **change})


def test_missing_features_are_named(features):
    data = columns(3)
    del data["price"], data["item"]
    with pytest.raises(InputError, match="lacks 2 of 4 features: item, price"):
        Requests(features, MODEL).score(data)


def test_large_finite_values_are_sent(features):
    data = {**columns(2), "price": np.array([1e30, -1e30], np.float32)}
    assert len(Requests(features, MODEL).score(data).inputs["price"].tensor_content) == 8


def test_our_messages_are_the_public_ones(features):
    request = Requests(features, "m", version=7).score(columns(3), outputs=["p_caba"])
    public = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert public.model_spec.name == "m" and public.model_spec.version.value == 7
    assert public.model_spec.signature_name == "raw" and list(public.output_filter) == ["p_caba"]
    assert set(public.inputs) == set(features)
    assert public.inputs["recent_items"].tensor_shape.dim[1].size == 20
    assert public.inputs["hour_of_day"].dtype == 9
    label = predict_pb2.PredictRequest.FromString(
        Requests(features, "m", label="canary").score(columns(1)).SerializeToString()
    )
    assert label.model_spec.version_label == "canary"


def test_sequences_are_the_models_own():
    assert frozenset(names.SEQUENCES) == SEQUENCES and names.SEQUENCE_LENGTH == SEQUENCE_LENGTH
    assert tuple(names.LABEL_OF_OUTPUT) == SENT


def test_refusals_keep_their_code(server):
    with Client(server.address, "nobody", deadline_s=5) as client:
        with pytest.raises(ScoringError, match="Servable not found for request") as caught:
            client.score(columns(1))
        assert caught.value.code is grpc.StatusCode.NOT_FOUND


def test_asyncio_scores_concurrently(server):
    async def many():
        async with AsyncClient(server.address, MODEL, deadline_s=20) as client:
            await client.features()
            answers = await asyncio.gather(*(client.score(columns(n)) for n in range(1, 9)))
            ranked = await client.rank(
                {"hour_of_day": 1, "recent_items": ["a"]}, {"item": ["a", "b"], "price": [1.0, 2.0]}
            )
            return answers, ranked

    answers, ranked = asyncio.run(many())
    assert [len(each["p_caba"]) for each in answers] == list(range(1, 9))
    assert ranked["p_caba"].shape == (2,)


class Moody(grpc.GenericRpcHandler):
    """Answers Predict with the codes it was given, then with one score; waits first if told to."""

    def __init__(self, codes, delay_s=0.0):
        self.codes, self.delay_s, self.calls, self.peers = list(codes), delay_s, 0, set()

    def service(self, details):
        def answer(_, context):
            self.calls += 1
            self.peers.add(context.peer())
            time.sleep(self.delay_s)
            if self.codes:
                context.abort(self.codes.pop(0), "in a mood")
            response = wire.PredictResponse()
            response.outputs["p_caba"].float_val.append(0.5)
            return response.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


def moody(codes, delay_s=0.0):
    handler = Moody(codes, delay_s)
    server = grpc.server(ThreadPoolExecutor(4), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return handler, server, f"127.0.0.1:{port}"


def test_only_unavailable_is_repeated(features):
    handler, server, address = moody([grpc.StatusCode.UNAVAILABLE] * 2)
    with Client(address, MODEL, features, deadline_s=10) as client:
        assert client.score(columns(1))["p_caba"] == [0.5]
        assert handler.calls == 3
        for code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
            handler.calls, handler.codes = 0, [code]
            with pytest.raises(ScoringError) as caught:
                client.score(columns(1))
            assert caught.value.code is code and handler.calls == 1
        assert len(handler.peers) == 1, "every call uses the one connection"
    server.stop(0)


def test_a_deadline_covers_repetitions(features):
    _, server, address = moody([grpc.StatusCode.UNAVAILABLE] * 100, delay_s=0.2)
    with Client(address, MODEL, features, deadline_s=0.3) as client:
        begin = time.monotonic()
        with pytest.raises(ScoringError) as caught:
            client.score(columns(1))
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - begin < 2
    server.stop(0)


def test_a_client_is_shared_by_threads(client):
    answers = {}
    threads = [
        threading.Thread(target=lambda n=n: answers.update({n: len(client.score(columns(n))["p_caba"])}))
        for n in range(1, 7)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert answers == {n: n for n in range(1, 7)}


def test_the_client_imports_no_tensorflow():
    script = (
        "import sys\nimport serving.client, serving.requests\n"
        "serving.client.Client('127.0.0.1:1', 'm').close()\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'tensorflow_serving', 'pyarrow', 'pandas'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
