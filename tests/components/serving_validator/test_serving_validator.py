"""Serving a candidate before it is pushed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.serving_validator import check
from components.serving_validator.check import beyond_limits, differences
from components.serving_validator.executor import Executor
from components.serving_validator.settings import ServingCheckSettings
from components.serving_validator.warmup import raw_columns, read_examples, write_warmup
from components.versioned_pusher.executor import Executor as Pusher
from schemas.errors import InputError
from schemas.lineage import Lineage, production
from serving.limits import ServingLimits
from serving.requests import features_of_export
from serving.servable import WARMUP_FILE, Servable
from tests.serving import tiny_model

QUICK = {"requests": 5, "warmup_sizes": [1, 7]}


def serialized(rows, seed=0):
    data = tiny_model.columns(rows, seed)
    lists = {"item": "bytes_list", "price": "float_list", "hour_of_day": "int64_list"}
    made = []
    for row in range(rows):
        example = tf.train.Example()
        for name, kind in lists.items():
            getattr(example.features.feature[name], kind).value.append(data[name][row])
        example.features.feature["recent_items"].bytes_list.value.extend(data["recent_items"][row][: row % 4])
        made.append(example.SerializeToString())
    return made


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    artifact = standard_artifacts.Examples()
    artifact.uri = str(tmp_path_factory.mktemp("examples"))
    artifact.split_names = artifact_utils.encode_split_names(["train", "eval"])
    os.makedirs(f"{artifact.uri}/Split-eval")
    for part in range(2):
        with tf.io.TFRecordWriter(f"{artifact.uri}/Split-eval/part-{part}.gz", "GZIP") as writer:
            for each in serialized(15, part):
                writer.write(each)
    return artifact


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path_factory.mktemp("model"))
    tiny_model.save(Path(artifact.uri, "Format-Serving"))
    return artifact


def validate(model, examples, folder, **settings):
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(folder / "blessing")
    properties = {
        "settings": ServingCheckSettings(**{**QUICK, **settings}).model_dump_json(),
        "code_hash": "",
    }
    Executor().Do({"model": [model], "examples": [examples]}, {"blessing": [blessing]}, properties)
    return blessing, json.loads(Path(blessing.uri, check.REPORT_FILE).read_text())


def push(model, blessing, folder):
    """Path of the version that the pusher made; None if it refused."""
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(folder / "pushed")
    destination = {"filesystem": {"base_directory": str(folder / "serving")}}
    properties = {"push_destination": json.dumps(destination), "lineage": Lineage(run_key="a").to_json()}
    Pusher().Do({"model": [model], "infra_blessing": [blessing]}, {"pushed_model": [pushed]}, properties)
    version = production(folder / "serving")
    return version.path if version else None


@pytest.mark.slow
def test_a_model_that_serves_what_it_predicts_is_blessed(model, examples, tmp_path):
    blessing, report = validate(model, examples, tmp_path)
    assert report["blessed"] and blessing.get_int_custom_property("blessed") == 1, report
    assert report["rows"] == 30 and set(report["difference"]) == {
        f"{signature}/{output}"
        for signature in ("raw", "rank", "serving_default")
        for output in tiny_model.OUTPUTS
    }
    assert max(report["difference"].values()) < 1e-5
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert 100 < report["memory_mb"] < 4000
    pushed = push(model, blessing, tmp_path)
    assert Path(pushed, WARMUP_FILE).is_file(), "what is pushed holds its warm-up requests"
    Servable(pushed, ServingLimits()).close()


@pytest.mark.slow
def test_a_model_that_is_too_slow_and_large_is_not(model, examples, tmp_path):
    blessing, report = validate(model, examples, tmp_path, max_p99_ms=1e-3, max_memory_mb=10)
    assert blessing.get_int_custom_property("blessed") == 0
    assert push(model, blessing, tmp_path) is None
    first, second = report["reasons"]
    assert "p99 of 30 rows" in first and "MB (allowed: 10)" in second
    assert json.loads(blessing.get_string_custom_property("reasons")) == report["reasons"]


@pytest.mark.slow
def test_a_model_that_does_not_load_is_not(model, examples, tmp_path):
    broken = standard_artifacts.Model()
    broken.uri = str(tmp_path / "broken")
    os.makedirs(broken.uri)
    tiny_model.corrupt(Path(broken.uri, "Format-Serving"), Path(model.uri, "Format-Serving"), "no variables")
    blessing, report = validate(broken, examples, tmp_path)
    assert blessing.get_int_custom_property("blessed") == 0
    (reason,) = report["reasons"]
    assert "could not load it" in reason
    assert Path(blessing.uri, "server.log").is_file()


def test_a_model_that_does_not_describe_itself_is_not(examples, tmp_path):
    nameless = standard_artifacts.Model()
    nameless.uri = str(tmp_path / "nameless")
    os.makedirs(f"{nameless.uri}/Format-Serving")
    blessing, report = validate(nameless, examples, tmp_path)
    assert blessing.get_int_custom_property("blessed") == 0
    (reason,) = report["reasons"]
    assert reason.startswith("assets.extra/cabb.json: not the description of a pushed version")


def test_a_planted_difference_is_seen():
    expected = {"p_caba": np.array([0.1, 0.2]), "p_cabb": np.array([0.3, 0.4])}
    found = {}
    near = {name: values + 1e-6 for name, values in expected.items()}
    assert differences(expected, {"raw": near}, 1e-5, found) == []
    far = {**near, "p_cabb": np.array([0.3, 0.41])}
    (reason,) = differences(expected, {"raw": near, "serving_default": far}, 1e-5, found)
    assert "serving_default answers a p_cabb that differs by 0.01" in reason
    assert found["difference"]["serving_default/p_cabb"] == pytest.approx(0.01)
    (reason,) = differences(expected, {"raw": {"p_caba": near["p_caba"]}}, 1e-5, found)
    assert "raw answers ['p_caba']" in reason


def test_predictions_that_are_not_finite_are_seen():
    same = {"p_caba": np.array([0.1, np.nan, np.nan])}
    found = {}
    reasons = differences(same, {"raw": same}, 1e-5, found)
    assert reasons == ["p_caba is not finite for 2 examples"] and found["difference"] == {"raw/p_caba": 0.0}


def test_a_nan_that_only_serving_makes_is_seen():
    expected, served = {"p_caba": np.array([0.1, 0.2])}, {"p_caba": np.array([0.1, np.nan])}
    assert differences(expected, {"raw": served}, 1e-5, {})


def test_limits_are_inclusive():
    found = {"latency_ms": {"rows": 1, "p50": 1.0, "p99": 5.0}, "memory_mb": 100.0}
    assert beyond_limits(found, ServingCheckSettings(max_p99_ms=5, max_memory_mb=100)) == []
    assert len(beyond_limits(found, ServingCheckSettings(max_p99_ms=4.9, max_memory_mb=99.9))) == 2


def test_warm_up_requests_are_those_of_the_examples(model, tmp_path):
    tiny_model.save(tmp_path / "1")
    features = features_of_export(tmp_path / "1")
    write_warmup(tmp_path / "1", serialized(5), features, [1, 100, 200], "m")
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        for record in tf.data.TFRecordDataset(str(tmp_path / "1" / WARMUP_FILE))
    ]
    assert [log.model_spec.signature_name for log in logs] == ["raw", "rank", "serving_default"] * 2
    sizes = [log.inputs["price"].tensor_shape.dim[-1:] for log in logs if "price" in log.inputs]
    assert [size.size for (size,) in sizes] == [1, 1, 5, 5]
    before = (tmp_path / "1" / WARMUP_FILE).read_bytes()
    write_warmup(tmp_path / "1", serialized(5), features, [1, 100], "m")
    assert (tmp_path / "1" / WARMUP_FILE).read_bytes() == before


def test_examples_that_cannot_be_used_are_named(model, tmp_path):
    with pytest.raises(InputError, match="no examples to check serving with"):
        read_examples(tmp_path, 5)
    features = features_of_export(Path(model.uri, "Format-Serving"))
    with pytest.raises(InputError, match=r"eval examples: .*price"):
        raw_columns([tf.train.Example().SerializeToString()], {"price": features["price"]})
