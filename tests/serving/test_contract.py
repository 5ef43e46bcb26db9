"""What a client of TensorFlow Serving may rely on. On the emulator or a real server: see conftest."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from tests.serving.conftest import MODEL, wait_for
from tests.serving.tiny_model import OUTPUTS, RAW, columns, expected

TIMEOUT_S = 20
Code = grpc.StatusCode


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def model_service(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def request(data, signature="raw", model=MODEL, **spec):
    made = predict_pb2.PredictRequest()
    made.model_spec.name = model
    made.model_spec.signature_name = signature
    if "version" in spec:
        made.model_spec.version.value = spec["version"]
    if "label" in spec:
        made.model_spec.version_label = spec["label"]
    for name, values in data.items():
        made.inputs[name].CopyFrom(tf.make_tensor_proto(values, RAW.get(name)))
    return made


def refused(call, code, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    codes = code if isinstance(code, tuple) else (code,)
    assert caught.value.code() in codes, (caught.value.code(), caught.value.details())
    for word in words:
        assert word in caught.value.details()


def scores(response, name="p_caba"):
    return tf.make_ndarray(response.outputs[name])


def state_of(model_service, version):
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = MODEL
    asked.model_spec.version.value = version
    try:
        return model_service.GetModelStatus(asked, timeout=TIMEOUT_S).model_version_status[0]
    except grpc.RpcError:
        return None


def serves(model_service, version):
    state = state_of(model_service, version)
    return state is not None and state.state == 30


@pytest.fixture
def good(server, model_service, prediction):
    """The newest version that serves; a test ends with the server alive."""
    newest = max(int(p.name) for p in server.base.iterdir() if p.name.isdigit())
    wait_for(lambda: any(serves(model_service, v) for v in range(newest, 0, -1)), "a version")
    yield prediction
    assert scores(prediction.Predict(request(columns(2)), timeout=TIMEOUT_S)).shape == (2, 1)


def test_predicts_the_three_outputs(good):
    data = columns(7)
    response = good.Predict(request(data), timeout=TIMEOUT_S)
    assert sorted(response.outputs) == sorted(OUTPUTS)
    assert response.model_spec.name == MODEL and response.model_spec.signature_name == "raw"
    assert response.model_spec.version.value >= 1
    caba, cabb, both = (scores(response, name) for name in OUTPUTS)
    assert caba.shape == (7, 1) and caba.dtype == np.float32
    np.testing.assert_allclose(both, caba + cabb - caba * cabb, atol=1e-6)
    assert len(response.outputs["p_caba"].float_val) == 7


def test_the_default_signature_reads_examples(good):
    data = columns(3)
    examples = []
    for row in range(3):
        feature = {
            "item": tf.train.Feature(bytes_list=tf.train.BytesList(value=[data["item"][row]])),
            "price": tf.train.Feature(float_list=tf.train.FloatList(value=[data["price"][row]])),
            "hour_of_day": tf.train.Feature(int64_list=tf.train.Int64List(value=[data["hour_of_day"][row]])),
            "recent_items": tf.train.Feature(bytes_list=tf.train.BytesList(value=data["recent_items"][row])),
        }
        examples.append(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    by_example = good.Predict(request({"examples": examples}, ""), timeout=TIMEOUT_S)
    by_tensor = good.Predict(request(data), timeout=TIMEOUT_S)
    assert by_example.model_spec.signature_name == "serving_default"
    np.testing.assert_allclose(scores(by_example), scores(by_tensor), atol=1e-6)
    refused(
        lambda: good.Predict(request({"examples": [b"\xff broken"]}, ""), timeout=TIMEOUT_S),
        Code.INVALID_ARGUMENT,
    )


def test_an_output_filter_is_honoured(good):
    asked = request(columns(2))
    asked.output_filter.append("p_cabb")
    assert list(good.Predict(asked, timeout=TIMEOUT_S).outputs) == ["p_cabb"]
    asked.output_filter.append("p_cabb")
    refused(
        lambda: good.Predict(asked, timeout=TIMEOUT_S),
        Code.INVALID_ARGUMENT,
        "duplicate output tensor alias: p_cabb",
    )
    asked.output_filter[1] = "profit"
    refused(
        lambda: good.Predict(asked, timeout=TIMEOUT_S),
        Code.INVALID_ARGUMENT,
        "output tensor alias not found in signature: profit",
    )


def test_a_short_tensor_repeats_its_last_value(good):
    data = columns(4)
    data["price"] = np.full(4, data["price"][0])
    data["item"] = np.array([data["item"][0]] * 4, object)
    whole, short = request(data), request(data)
    for name, field in (("price", "float_val"), ("item", "string_val")):
        tensor = short.inputs[name]
        tensor.ClearField("tensor_content")
        del getattr(tensor, field)[:]
        getattr(tensor, field).append(data[name][0])
    answers = [scores(good.Predict(each, timeout=TIMEOUT_S)) for each in (whole, short)]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda r: r.ClearField("model_spec"), Code.INVALID_ARGUMENT, ["Missing ModelSpec"]),
        (
            lambda r: r.model_spec.ClearField("name"),
            Code.INVALID_ARGUMENT,
            ["ModelSpec has no name specified."],
        ),
        (
            lambda r: setattr(r.model_spec, "name", "nobody"),
            Code.NOT_FOUND,
            ["Servable not found for request: Latest(nobody)"],
        ),
        (
            lambda r: setattr(r.model_spec.version, "value", 99999),
            Code.NOT_FOUND,
            ["Servable not found for request: Specific(tiny, 99999)"],
        ),
        (
            lambda r: setattr(r.model_spec, "version_label", "no-such-label"),
            (Code.INVALID_ARGUMENT, Code.UNAVAILABLE),
            ["no-such-label"],
        ),
        (
            lambda r: setattr(r.model_spec, "signature_name", "nothing"),
            Code.FAILED_PRECONDITION,
            ['Serving signature key "nothing" not found.'],
        ),
        (
            lambda r: r.inputs.pop("price"),
            Code.INVALID_ARGUMENT,
            ["input size does not match signature: 3!=4", "Missing but required: {price}"],
        ),
        (
            lambda r: r.inputs["colour"].CopyFrom(tf.make_tensor_proto([1.0, 2.0, 3.0])),
            Code.INVALID_ARGUMENT,
            ["Sent extra: {colour}"],
        ),
        (
            lambda r: (
                r.inputs.pop("price"),
                r.inputs["prise"].CopyFrom(tf.make_tensor_proto([1.0, 2.0, 3.0])),
            ),
            Code.INVALID_ARGUMENT,
            ["pri"],
        ),
        (
            lambda r: r.inputs["price"].CopyFrom(tf.make_tensor_proto(["a", "b", "c"])),
            Code.INVALID_ARGUMENT,
            [],
        ),
        (
            lambda r: r.inputs["price"].CopyFrom(tf.make_tensor_proto(np.zeros((3, 2, 2), "f"))),
            Code.INVALID_ARGUMENT,
            [],
        ),
        (
            lambda r: r.inputs["price"].CopyFrom(tf.make_tensor_proto(np.zeros(2, "f"))),
            Code.INVALID_ARGUMENT,
            [],
        ),
        (
            lambda r: setattr(r.inputs["price"], "tensor_content", b"123"),
            Code.INVALID_ARGUMENT,
            ["tensor parsing error: price"],
        ),
        (
            lambda r: setattr(r.inputs["price"].tensor_shape.dim[0], "size", -5),
            Code.INVALID_ARGUMENT,
            [],
        ),
    ],
    ids=[
        "no model spec",
        "no name",
        "unknown model",
        "unknown version",
        "unknown label",
        "unknown signature",
        "missing input",
        "extra input",
        "misspelt input",
        "wrong type",
        "wrong rank",
        "rows differ",
        "short content",
        "negative size",
    ],
)
def test_a_wrong_request_is_refused_with_its_reason(good, change, code, words):
    asked = request(columns(3))
    change(asked)
    refused(lambda: good.Predict(asked, timeout=TIMEOUT_S), code, *words)


def test_nan_comes_out_as_nan(good):
    data = columns(2)
    data["price"][1] = np.nan
    answer = scores(good.Predict(request(data), timeout=TIMEOUT_S))
    assert np.isfinite(answer[0, 0]) and np.isnan(answer[1, 0])


def test_huge_strings_are_scored_or_refused(good):
    data = columns(2)
    data["item"][0] = b"x" * 1_000_000
    assert np.isfinite(scores(good.Predict(request(data), timeout=TIMEOUT_S))).all()
    data["item"][0] = b"\xff\x00\xfe" * 100
    assert np.isfinite(scores(good.Predict(request(data), timeout=TIMEOUT_S))).all()


def test_a_truncated_message_is_an_internal_error(good, channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    whole = request(columns(3)).SerializeToString()
    refused(lambda: call(whole[: len(whole) // 2], timeout=TIMEOUT_S), (Code.INTERNAL, Code.INVALID_ARGUMENT))
    refused(lambda: call(b"\xff" * 100, timeout=TIMEOUT_S), (Code.INTERNAL, Code.INVALID_ARGUMENT))


def test_a_deadline_ends_a_call(good):
    slow = predict_pb2.PredictRequest()
    slow.model_spec.name, slow.model_spec.signature_name = MODEL, "slow"
    slow.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    begin = time.monotonic()
    refused(lambda: good.Predict(slow, timeout=0.3), Code.DEADLINE_EXCEEDED)
    assert time.monotonic() - begin < 3


def test_metadata_names_inputs_and_outputs(good):
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = MODEL
    response = good.GetModelMetadata(asked, timeout=TIMEOUT_S)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def["raw"].inputs) == set(RAW)
    assert set(signatures.signature_def["raw"].outputs) == set(OUTPUTS)
    asked.metadata_field[0] = "colour"
    refused(
        lambda: good.GetModelMetadata(asked, timeout=TIMEOUT_S),
        Code.INVALID_ARGUMENT,
        "Metadata field colour is not supported",
    )


def test_status_of_unknown_models_and_versions(good, model_service):
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "nobody"
    refused(
        lambda: model_service.GetModelStatus(asked, timeout=TIMEOUT_S),
        Code.NOT_FOUND,
        "Could not find any versions of model nobody",
    )
    asked.model_spec.name = MODEL
    asked.model_spec.version.value = 99999
    refused(lambda: model_service.GetModelStatus(asked, timeout=TIMEOUT_S), Code.NOT_FOUND)


def test_a_new_version_takes_over_under_load(server, good, model_service):
    data, answers, failures = columns(5), [], []
    stop = threading.Event()

    def load():
        while not stop.is_set():
            try:
                response = good.Predict(request(data), timeout=TIMEOUT_S)
                answers.append((response.model_spec.version.value, scores(response)))
            except grpc.RpcError as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for each in threads:
        each.start()
    time.sleep(0.2)
    before = answers[-1][0]
    new = server.publish(bias=-2.0)
    wait_for(lambda: answers[-1][0] == new, f"version {new}")
    wait_for(lambda: (s := state_of(model_service, before)) and s.state == 50, f"the end of {before}")
    stop.set()
    for each in threads:
        each.join()
    assert not failures
    served = [version for version, _ in answers]
    assert set(served) == {before, new}
    for version, answer in answers:
        if version == new:
            np.testing.assert_allclose(answer[:, 0], expected(data, -2.0), atol=1e-5)
    refused(lambda: good.Predict(request(data, version=before), timeout=TIMEOUT_S), Code.NOT_FOUND)


@pytest.mark.parametrize("how", ["truncated", "no variables", "no values", "empty", "bad warm-up"])
def test_a_corrupt_version_never_replaces_a_good_one(server, good, model_service, how):
    before = good.Predict(request(columns(1)), timeout=TIMEOUT_S).model_spec.version.value
    bad = server.publish(how=how)
    try:
        if server.emulator:
            state = wait_for(
                lambda: (s := state_of(model_service, bad)) and s.state == 50 and s, "the failed load"
            )
            assert state.status.error_code != 0
            assert state.status.error_message and not state.status.error_message.endswith(":")
        else:
            time.sleep(5)
        answer = good.Predict(request(columns(1)), timeout=TIMEOUT_S)
        assert answer.model_spec.version.value == before
        refused(lambda: good.Predict(request(columns(1), version=bad), timeout=TIMEOUT_S), Code.NOT_FOUND)
    finally:
        (server.base / str(bad)).rename(server.base / f".bad-{how}-{bad}")


def test_labels_name_loaded_versions_only(server, good, model_service):
    stable = good.Predict(request(columns(1)), timeout=TIMEOUT_S).model_spec.version.value
    canary = server.publish(bias=3.0)

    def configure(versions, **labels):
        asked = model_management_pb2.ReloadConfigRequest()
        model = asked.config.model_config_list.config.add(
            name=MODEL, base_path=server.seen_base, model_platform="tensorflow"
        )
        model.model_version_policy.specific.versions.extend(versions)
        for label, version in labels.items():
            model.version_labels[label] = version
        return model_service.HandleReloadConfigRequest(asked, timeout=60).status

    try:
        assert configure([stable, canary]).error_code == 0
        wait_for(lambda: serves(model_service, canary), "the canary")
        assert configure([stable, canary], stable=stable, canary=canary).error_code == 0
        answers = {
            label: good.Predict(request(columns(1), label=label), timeout=TIMEOUT_S)
            for label in ("stable", "canary")
        }
        assert answers["stable"].model_spec.version.value == stable
        assert answers["canary"].model_spec.version.value == canary
        assert scores(answers["canary"]) != scores(answers["stable"])
        newest = good.Predict(request(columns(1)), timeout=TIMEOUT_S)
        assert newest.model_spec.version.value == canary
        refusal = configure([stable, canary], stable=stable, canary=canary + 7)
        assert refusal.error_code == Code.FAILED_PRECONDITION.value[0]
        assert (
            good.Predict(request(columns(1), label="canary"), timeout=TIMEOUT_S).model_spec.version.value
            == canary
        )
    finally:
        asked = model_management_pb2.ReloadConfigRequest()
        asked.config.CopyFrom(latest_only(server.seen_base))
        model_service.HandleReloadConfigRequest(asked, timeout=60)
        wait_for(lambda: not serves(model_service, stable), "the latest version only")


def latest_only(base):
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=MODEL, base_path=base, model_platform="tensorflow")
    return config


def rest(server, method, path, body=None):
    connection = http.client.HTTPConnection(server.rest_address, timeout=TIMEOUT_S)
    try:
        payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, payload)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def as_json(data):
    return {
        "item": [v.decode() for v in data["item"]],
        "price": data["price"].tolist(),
        "hour_of_day": data["hour_of_day"].tolist(),
        "recent_items": [[v.decode() for v in row] for row in data["recent_items"]],
    }


def rows_of(columns_):
    return [dict(zip(columns_, row, strict=True)) for row in zip(*columns_.values(), strict=True)]


PREDICT = f"/v1/models/{MODEL}:predict"


def test_rest_rows_and_columns_agree_with_grpc(server, good):
    data = columns(4)
    answer = scores(good.Predict(request(data), timeout=TIMEOUT_S))[:, 0]
    body = as_json(data)
    status, columnar = rest(server, "POST", PREDICT, {"signature_name": "raw", "inputs": body})
    assert status == 200
    np.testing.assert_allclose(np.array(columnar["outputs"]["p_caba"])[:, 0], answer, atol=1e-6)
    body["item"] = [{"b64": base64.b64encode(v).decode()} for v in data["item"]]
    status, by_row = rest(server, "POST", PREDICT, {"signature_name": "raw", "instances": rows_of(body)})
    assert status == 200
    np.testing.assert_allclose([row["p_caba"][0] for row in by_row["predictions"]], answer, atol=1e-6)


def test_rest_names_versions(server, good):
    version = good.Predict(request(columns(1)), timeout=TIMEOUT_S).model_spec.version.value
    body = {"signature_name": "raw", "inputs": as_json(columns(1))}
    assert rest(server, "POST", f"/v1/models/{MODEL}/versions/{version}:predict", body)[0] == 200
    status, answer = rest(server, "POST", f"/v1/models/{MODEL}/versions/9999:predict", body)
    assert (status, answer["error"]) == (404, f"Servable not found for request: Specific({MODEL}, 9999)")
    assert rest(server, "POST", "/v1/models/nobody:predict", body)[0] == 404
    status, answer = rest(server, "GET", f"/v1/models/{MODEL}/versions/{version}")
    assert status == 200
    (entry,) = answer["model_version_status"]
    assert entry["version"] == str(version) and entry["state"] == "AVAILABLE"
    assert entry["status"]["error_code"] == "OK"
    status, answer = rest(server, "GET", f"/v1/models/{MODEL}/metadata")
    assert status == 200
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["raw"]["inputs"]["price"]["dtype"] == "DT_FLOAT"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON Parse error"),
        (b'{"inputs": [1,', "JSON Parse error"),
        (b"[1, 2]", ""),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": {}, "instances": []}, "expecting only one of"),
        ({"instances": 3}, "to be an list/array"),
        ({"instances": []}, "No values in 'instances'"),
        ({"instances": [[1]]}, "instances is a plain list"),
        ({"instances": [{"price": 1.0}]}, "keys must be equal to"),
        ({"inputs": {"price": [1.0]}}, "Missing named input"),
        ({"inputs": {**as_json(columns(1)), "price": ["dear"]}}, ""),
        ({"inputs": {**as_json(columns(1)), "hour_of_day": [1.5]}}, ""),
        ({"inputs": {**as_json(columns(1)), "item": [7]}}, ""),
        ({"inputs": {**as_json(columns(1)), "item": [{"b64": "***"}]}}, ""),
        ({"signature_name": "nothing", "inputs": {}}, 'Serving signature name: "nothing" not found'),
        ({"signature_name": 7, "inputs": {}}, "'signature_name' key must be a string"),
    ],
)
def test_rest_refuses_with_a_reason(server, good, body, word):
    if isinstance(body, dict):
        body.setdefault("signature_name", "raw")
    status, answer = rest(server, "POST", PREDICT, body)
    assert status == 400 and word in answer["error"], answer


def test_rest_refuses_unknown_paths(server, good):
    for method, path in (("GET", "/"), ("POST", "/v1/models/tiny:guess"), ("GET", "/v1/models/tiny/labels/")):
        status, answer = rest(server, method, path, b"{}" if method == "POST" else None)
        assert status in (400, 404) and answer["error"]


def test_slow_and_vanishing_clients_do_not_stop_others(server, good):
    host, port = server.rest_address.rsplit(":", 1)
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n".encode()
    slow = [socket.create_connection((host, int(port))) for _ in range(8)]
    for each in slow:
        each.sendall(head + b'{"signature_name":')
    body = {"signature_name": "raw", "inputs": as_json(columns(2))}
    assert rest(server, "POST", PREDICT, body)[0] == 200
    for each in slow:
        each.close()
    assert rest(server, "POST", PREDICT, body)[0] == 200
