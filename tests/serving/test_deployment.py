"""The deployment files: what they say is valid, fits together, and fits what the pipeline pushes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from kubernetes import client as kubernetes

from pipeline.commands.serve import read_config
from pipeline.config import Config
from serving.client import Client, ScoringError
from serving.emulator import Emulator
from tests.serving import tiny_model

FOLDER = Path(__file__).resolve().parents[2] / "kubeflow" / "serving"
KINDS = {
    "deployment.yaml": "V1Deployment",
    "service.yaml": "V1Service",
    "hpa.yaml": "V2HorizontalPodAutoscaler",
}


def tree(name):
    return yaml.safe_load((FOLDER / name).read_text())


def unknown_to_kubernetes(document, kind):
    """Whether the API's own model drops or refuses something of the document."""
    api = kubernetes.ApiClient()
    parsed = api.deserialize(SimpleNamespace(data=json.dumps(document)), kind)
    return api.sanitize_for_serialization(parsed) != document


@pytest.mark.parametrize("name", KINDS)
def test_kubernetes_knows_every_field(name):
    assert not unknown_to_kubernetes(tree(name), KINDS[name])


def test_a_misspelt_field_is_seen():
    document = tree("deployment.yaml")
    container = document["spec"]["template"]["spec"]["containers"][0]
    container["readinesProbe"] = container.pop("readinessProbe")
    assert unknown_to_kubernetes(document, "V1Deployment")


@pytest.fixture(scope="module")
def models():
    (model,) = read_config(FOLDER / "models.config").model_config_list.config
    return model


def test_the_model_is_where_the_pusher_puts_it(models):
    name = Config().name
    pod = tree("deployment.yaml")["spec"]["template"]["spec"]
    mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    claim = next(v for v in pod["volumes"] if v["name"] == "models")["persistentVolumeClaim"]["claimName"]
    assert models.name == name and models.base_path == f"{mounts['models']}/{name}"
    storage = tree("inference-service.yaml")["spec"]["predictor"]["model"]["storageUri"]
    assert storage == f"pvc://{claim}/{name}"


def test_labels_are_on_versions_that_are_loaded(models):
    assert set(models.version_labels) == {"stable", "canary"}
    assert set(models.version_labels.values()) <= set(models.model_version_policy.specific.versions)


def test_the_container_finds_its_files_and_ports(models):
    pod = tree("deployment.yaml")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    arguments = dict(each.removeprefix("--").split("=", 1) for each in container["args"])
    (generator,) = tree("kustomization.yaml")["configMapGenerator"]
    config = next(v for v in pod["volumes"] if v["name"] == "config")
    assert config["configMap"]["name"] == generator["name"]
    files = [value for key, value in arguments.items() if key.endswith("_file")]
    assert sorted(files) == sorted(f"/config/{name}" for name in generator["files"])
    assert all((FOLDER / name).is_file() for name in generator["files"])
    ports = {p["name"]: str(p["containerPort"]) for p in container["ports"]}
    assert (arguments["port"], arguments["rest_api_port"]) == (ports["grpc"], ports["rest"])
    service = tree("service.yaml")["spec"]
    assert {p["targetPort"] for p in service["ports"]} == set(ports)
    labels = tree("deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert tree("hpa.yaml")["spec"]["scaleTargetRef"]["name"] == tree("deployment.yaml")["metadata"]["name"]
    probe = container["readinessProbe"]["httpGet"]["path"]
    assert probe == f"/v1/models/{models.name}/labels/stable/metadata"
    assert set(tree("kustomization.yaml")["resources"]) == set(KINDS)


def test_monitoring_is_where_prometheus_looks():
    text = (FOLDER / "monitoring.config").read_text()
    path = tree("deployment.yaml")["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"]
    assert f'path: "{path}"' in text and "enable: true" in text


def test_batching_parameters_are_consistent():
    """The largest allowed size must be the maximum, and sizes must grow: the server refuses others."""
    text = re.sub(r"#.*", "", (FOLDER / "batching.config").read_text())
    values = dict(re.findall(r"(\w+) \{ value: (\d+) \}", text))
    sizes = [int(n) for n in re.findall(r"allowed_batch_sizes: (\d+)", text)]
    assert set(values) == {
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
    }
    assert sizes == sorted(set(sizes)) and sizes[-1] == int(values["max_batch_size"]) >= 500
    assert "pad_variable_length_inputs: false" in text, "padding repeats the first item of a history"


def test_kserve_takes_the_servers_version():
    predictor = tree("inference-service.yaml")["spec"]["predictor"]
    image = tree("deployment.yaml")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert f"tensorflow/serving:{predictor['model']['runtimeVersion']}" == image
    assert 0 < predictor["canaryTrafficPercent"] < 50
    assert predictor["model"]["modelFormat"]["name"] == "tensorflow"


def test_the_configuration_serves_stable_and_canary(tmp_path):
    config = read_config(FOLDER / "models.config")
    (model,) = config.model_config_list.config
    base = tmp_path / model.name
    base.mkdir()
    model.base_path = str(base)
    for number, bias in ((1, 0.0), (2, 1.0), (3, 9.0)):
        tiny_model.save(base / str(number), bias)
    with Emulator(config) as server:
        data = tiny_model.columns(3)
        for label, bias in (("stable", 0.0), ("canary", 1.0)):
            with Client(server.address, model.name, deadline_s=20, label=label) as client:
                assert client.score(data)["p_caba"] == pytest.approx(
                    tiny_model.expected(data, bias), abs=1e-5
                )
        with (
            Client(server.address, model.name, deadline_s=20, version=3) as client,
            pytest.raises(ScoringError),
        ):
            client.score(data)


def test_the_readiness_probe_waits_for_the_model(tmp_path):
    config = read_config(FOLDER / "models.config")
    (model,) = config.model_config_list.config
    model.base_path = str(tmp_path / "empty")
    probe = tree("deployment.yaml")["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    with Emulator(config) as server:
        import http.client

        connection = http.client.HTTPConnection(server.rest_address, timeout=10)
        connection.request("GET", probe["httpGet"]["path"])
        assert connection.getresponse().status == 404
        connection.close()
