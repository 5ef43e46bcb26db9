"""The compiled pipeline of every model kind passes the check."""

import json
from pathlib import Path

import pytest

from models.settings import MODELS
from pipeline.config import load_config
from pipeline.kubeflow import rules, spec
from pipeline.kubeflow.parameters import PARAMETERS, READS_SERVING_DIR
from schemas.errors import InputError

pytestmark = pytest.mark.slow

IMAGE = "registry.example/cabb@sha256:" + "a" * 64
ROOTS = {"oss": "s3://bucket/cabb", "vertex": "gs://bucket/cabb"}


def compiled(folder: Path, target: str = "oss", **settings: object) -> spec.CompiledPipeline:
    from pipeline.kubeflow.runner import compile_pipeline

    mount = {"oss": "/mnt/cabb", "vertex": "/gcs/bucket"}[target]
    kubeflow = {
        "pipeline_root": ROOTS[target],
        "serving_dir": f"{mount}/serving",
        "volumes": {"cabb": "/mnt/cabb"},
        "resources": {"Trainer": {"cpu": "8"}},
    }
    config = load_config(None, {"output": f"{mount}/run", **{"kubeflow": kubeflow, **settings}})
    path = folder / "pipeline.yaml"
    path.write_text(compile_pipeline(config, IMAGE, target).to_yaml())
    return spec.load(path)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> spec.CompiledPipeline:
    """The default model for open-source KFP."""
    return compiled(tmp_path_factory.mktemp("compiled"))


@pytest.mark.parametrize("target", ROOTS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_kind_passes_the_check(tmp_path: Path, model: str, target: str) -> None:
    pipeline = compiled(tmp_path, target, model=model)
    assert rules.check(pipeline, target, {"data_fingerprint": "0123"}) == []
    assert pipeline.parameters["model"]["defaultValue"] == model
    assert bool(pipeline.platform) == (target == "oss")


def test_tasks_have_limits_retries_volumes_and_the_right_caches(pipeline: spec.CompiledPipeline) -> None:
    tasks = pipeline.tasks()
    assert tasks["Trainer"].container["resources"]["resourceCpuLimit"] == "8"
    assert tasks["Trainer"].task["retryPolicy"]["maxRetryCount"] == 2
    assert "retryPolicy" not in tasks["AnomalyGate"].task
    cached = {name for name, each in tasks.items() if each.task["cachingOptions"].get("enableCache")}
    assert tasks.keys() - cached == set(READS_SERVING_DIR)
    executors = pipeline.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors["Trainer_executor"]["pvcMount"] == [{"constant": "cabb", "mountPath": "/mnt/cabb"}]


def test_logs_and_versions_are_in_volumes_of_the_tasks_that_need_them(tmp_path: Path) -> None:
    elsewhere = {"pipeline_root": ROOTS["oss"], "volumes": {"cabb": "/mnt"}, "serving_dir": "/data/serving"}
    pipeline = compiled(tmp_path, kubeflow=elsewhere)
    (finding,) = rules.check(pipeline, "oss")
    assert (finding.rule, finding.where) == ("volume", "serving_dir")
    assert "VersionedPusher" in finding.reason and "kubeflow.volumes" in finding.fix
    assert rules.check(pipeline, "oss", {"data_fingerprint": "0123", "serving_dir": "/mnt/serving"}) == []
    given = {"data_fingerprint": "0123", "serving_dir": "/mnt/serving", "events": ["/mnt/a", "/tmp/b"]}
    (finding,) = rules.check(pipeline, "oss", given)
    assert finding.where == "events" and finding.reason.startswith("/tmp/b is in no volume of ")
    vertex = compiled(tmp_path, "vertex", kubeflow={"pipeline_root": ROOTS["vertex"]})
    assert [each.where for each in rules.check(vertex, "vertex")] == ["serving_dir"]


def test_resources_of_a_task_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"kubeflow\.resources\.Trainr: .*did you mean Trainer"):
        compiled(tmp_path, kubeflow={"resources": {"Trainr": {"cpu": "8"}}})


def test_a_calibrated_model_has_days_held_out(tmp_path: Path) -> None:
    given = compiled(tmp_path, model={"calibration": "platt"}).tasks()["Trainer"].task["inputs"]
    config = json.loads(given["parameters"]["custom_config"]["runtimeValue"]["constant"])
    assert config["holdout"] is True
    assert "holdout" in given["parameters"]["eval_args"]["runtimeValue"]["constant"]


def test_every_parameter_is_declared_and_only_the_fingerprint_has_no_default(
    pipeline: spec.CompiledPipeline,
) -> None:
    declared = pipeline.parameters
    assert declared.keys() == {each.name for each in PARAMETERS}
    assert [name for name, each in declared.items() if "defaultValue" not in each] == ["data_fingerprint"]


def test_the_same_configuration_compiles_to_the_same_bytes(tmp_path: Path) -> None:
    compiled(tmp_path)
    first = (tmp_path / "pipeline.yaml").read_bytes()
    compiled(tmp_path)
    assert (tmp_path / "pipeline.yaml").read_bytes() == first


def test_every_value_of_a_parameter_has_a_place_in_its_task(pipeline: spec.CompiledPipeline) -> None:
    from pipeline.kubeflow.open_source import with_parameters

    for task in pipeline.tasks().values():
        properties = {}
        for name, source in task.task.get("inputs", {}).get("parameters", {}).items():
            value = source.get("runtimeValue", {}).get("constant", f"value of {name}")
            properties[name] = value
        before = json.dumps(properties)
        runtime = json.loads(task.argument("--runtime") or "{}")
        given = {"inputs": {"parameterValues": properties}}
        with_parameters(given, runtime.get("fills", {}), runtime.get("run_key", ()), (), ())
        assert runtime.get("fills", {}) == {} or json.dumps(properties) != before
        for name in runtime.get("fills", {}).values():
            assert name == "run_id" or f"value of runtime_{name}" in json.dumps(properties), (task.name, name)


def test_the_attribution_model_is_there_when_a_view_needs_it(tmp_path: Path) -> None:
    pipeline = compiled(tmp_path, attribution={"views": ["linear", "mta"]})
    assert rules.check(pipeline, "oss", {"data_fingerprint": "0123"}) == []
    tasks = pipeline.tasks()
    assert "AttributionModel" in tasks["SimilarityTransform"].task["dependentTasks"]
    without = compiled(tmp_path, attribution={"views": ["linear"]})
    assert "AttributionModel" not in without.tasks()
