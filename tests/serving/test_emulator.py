"""The emulator's own bounds, and what it refuses to start with."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc

from schemas.errors import InputError
from serving.client import Client
from serving.emulator import LOOPBACK, Emulator
from serving.limits import ServingLimits
from serving.models import Config, single
from serving.servable import WARMUP_FILE
from tests.serving import tiny_model
from tests.serving.test_contract import request

SMALL = ServingLimits(
    max_message_bytes=200_000,
    max_rows=1000,
    max_elements=20_000,
    max_requests=4,
    workers=2,
    request_timeout_s=0.5,
    poll_s=0.1,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("bounds") / "tiny"
    base.mkdir()
    tiny_model.save(base / "1")
    return base


@pytest.fixture(scope="module")
def small(base):
    with Emulator(single("tiny", base), SMALL) as server:
        yield server


@pytest.fixture(scope="module")
def stub(small):
    with grpc.insecure_channel(small.address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def code_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def alive(small):
    with Client(small.address, "tiny", deadline_s=10) as client:
        return client.score(tiny_model.columns(2))["p_caba"].shape == (2,)


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def splat(rows, width=3):
    """A request of a few hundred bytes that announces any number of rows."""
    made = request(tiny_model.columns(1))
    for tensor in made.inputs.values():
        tensor.tensor_shape.dim[0].size = rows
    made.inputs["recent_items"].tensor_shape.dim[1].size = width
    return made


def test_a_million_candidates_are_refused_cheaply(small, stub):
    before = peak_mb()
    for asked in (splat(10**6), splat(2**62), splat(900, 10**12)):
        assert len(asked.SerializeToString()) < 1000
        assert code_of(lambda a=asked: stub.Predict(a, timeout=10)) is grpc.StatusCode.INVALID_ARGUMENT
    ranking = splat(1)
    ranking.model_spec.signature_name = "rank"
    for name in ("item", "price"):
        ranking.inputs[name].tensor_shape.dim.add(size=10**6)
    assert code_of(lambda: stub.Predict(ranking, timeout=10)) is grpc.StatusCode.INVALID_ARGUMENT
    whole = request(tiny_model.columns(20_000))
    assert code_of(lambda: stub.Predict(whole, timeout=10)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert peak_mb() - before < 100
    assert alive(small)


def test_a_large_body_is_not_even_read(small):
    connection = http.client.HTTPConnection(small.rest_address, timeout=10)
    connection.putrequest("POST", "/v1/models/tiny:predict")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 429 and "error" in json.loads(response.read())
    connection.close()
    assert alive(small)


def test_a_silent_rest_client_is_dropped(small):
    host, port = small.rest_address.split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.settimeout(10)
        slow.sendall(b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        begin = time.monotonic()
        answer = slow.recv(1000)
        assert b"408" in answer.splitlines()[0] and time.monotonic() - begin < 5
        assert slow.recv(1000) == b""


def test_too_many_connections_are_refused(small):
    host, port = small.rest_address.split(":")
    held = [socket.create_connection((host, int(port))) for _ in range(SMALL.max_requests)]
    time.sleep(0.2)
    with socket.create_connection((host, int(port))) as extra:
        extra.settimeout(10)
        assert b"503" in extra.recv(1000).splitlines()[0]
    for each in held:
        each.close()
    time.sleep(0.7)
    connection = http.client.HTTPConnection(small.rest_address, timeout=10)
    connection.request("GET", "/v1/models/tiny")
    assert connection.getresponse().status == 200
    connection.close()


def test_too_many_calls_are_refused_and_long_ones_end(small, stub):
    slow = predict_pb2.PredictRequest()
    slow.model_spec.name, slow.model_spec.signature_name = "tiny", "slow"
    slow.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    calls = [stub.Predict.future(slow, timeout=20) for _ in range(SMALL.max_requests + 4)]
    codes = [call.code() for call in calls]
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
    assert grpc.StatusCode.DEADLINE_EXCEEDED in codes, "the server ends what takes too long"
    assert set(codes) <= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert alive(small)


def test_calls_that_never_send_their_request_take_no_worker_and_end(small):
    asking = threading.Event()

    def nothing():
        asking.wait()
        yield from ()

    with grpc.insecure_channel(small.address) as channel:
        predict = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        stalled = [predict.future(nothing()) for _ in range(SMALL.max_requests - 1)]
        assert len(stalled) > SMALL.workers
        try:
            time.sleep(0.2)
            assert alive(small)
            time.sleep(SMALL.request_timeout_s)
            assert alive(small)
            assert {each.exception(10).code() for each in stalled} == {grpc.StatusCode.CANCELLED}
        finally:
            asking.set()


def test_hundreds_of_connections_at_once(small):
    before = peak_mb()
    silent = [socket.create_connection(("127.0.0.1", small.port)) for _ in range(200)]
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(small.address, options) for _ in range(100)]
    asked = request(tiny_model.columns(2))
    calls = [
        prediction_service_pb2_grpc.PredictionServiceStub(each).Predict.future(asked, timeout=20)
        for each in channels
    ]
    codes = {call.code() for call in calls}
    assert grpc.StatusCode.OK in codes
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert alive(small), "while all are still connected"
    assert peak_mb() - before < 100
    for each in (*channels, *silent):
        each.close()


def test_it_listens_on_loopback_only(small):
    assert LOOPBACK == "127.0.0.1" and small.address.startswith("127.0.0.1:")
    assert small._rest.server_address[0] == "127.0.0.1"


def test_a_taken_port_is_named(base, small):
    with pytest.raises(InputError, match=f"ports {small.port} and 0"):
        Emulator(single("tiny", base), port=small.port)


def test_configurations_that_cannot_be_used(base):
    twice = single("tiny", base)
    twice.model_config_list.config.append(twice.model_config_list.config[0])
    for config in (Config(), twice, single("", base)):
        with pytest.raises(InputError, match="model configuration"):
            Emulator(config)


def test_warm_up_requests_run_before_a_version_serves(base, tmp_path):
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    for number, price in ((1, "f"), (2, "i")):
        tiny_model.save(tiny / str(number))
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.CopyFrom(request(tiny_model.columns(3)))
        wrong = np.zeros(3, price)
        log.predict_log.request.inputs["price"].CopyFrom(tf.make_tensor_proto(wrong))
        with tf.io.TFRecordWriter(str(tiny / str(number) / WARMUP_FILE)) as writer:
            writer.write(log.SerializeToString())
    config = single("tiny", tiny)
    config.model_config_list.config[0].model_version_policy.all.SetInParent()
    with Emulator(config, SMALL) as server:
        states = server.models.model("tiny").states()
        assert server.models.model("tiny").available() == [1]
        assert 'input "price" is int32' in states[2][1].message
