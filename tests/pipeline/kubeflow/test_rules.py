"""Every fault that the check is for is planted, and the clean pipeline has none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.kubeflow import rules
from tests.pipeline.kubeflow.compiled import document, pipeline

Fault = Callable[[dict[str, Any]], Any]


def tasks(spec: dict[str, Any]) -> dict[str, Any]:
    return spec["root"]["dag"]["tasks"]


def container(spec: dict[str, Any], name: str) -> dict[str, Any]:
    return spec["deploymentSpec"]["executors"][f"{name}_executor"]["container"]


def resolver(spec: dict[str, Any]) -> None:
    spec["deploymentSpec"]["executors"]["Trainer_executor"] = {"resolver": {"outputArtifactQueries": {}}}


def custom_job(spec: dict[str, Any]) -> None:
    spec["deploymentSpec"]["executors"]["Trainer_executor"] = {"customJob": {"customJob": {}}}


def driver(spec: dict[str, Any]) -> None:
    container(spec, "SessionExampleGen")["lifecycle"] = {"preCacheCheck": {"command": ["python"]}}


def tfx_entry_point(spec: dict[str, Any]) -> None:
    module = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
    container(spec, "Trainer")["command"] = ["python", "-m", module]


def unknown_module(spec: dict[str, Any]) -> None:
    container(spec, "Trainer")["args"][1] = "components.nowhere.executor.Executor"


def unknown_class(spec: dict[str, Any]) -> None:
    container(spec, "Trainer")["args"][1] = "tfx.components.trainer.executor.Nobody"


def unknown_function(spec: dict[str, Any]) -> None:
    tasks(spec)["Trainer"]["inputs"]["parameters"]["run_fn"] = {
        "runtimeValue": {"constant": "models.trainer.no"}
    }


def unknown_metric(spec: dict[str, Any]) -> None:
    config = '{"metrics_specs": [{"metrics": [{"module": "models.metrics.tfma", "class_name": "Nobody"}]}]}'
    spec["components"]["Trainer"]["inputDefinitions"]["parameters"]["eval_config"] = {
        "parameterType": "STRING"
    }
    tasks(spec)["Trainer"]["inputs"]["parameters"]["eval_config"] = {"runtimeValue": {"constant": config}}


def undeclared_parameter(spec: dict[str, Any]) -> None:
    del spec["root"]["inputDefinitions"]["parameters"]["data_fingerprint"]


def parameter_not_given(spec: dict[str, Any]) -> None:
    del tasks(spec)["Trainer"]["inputs"]["parameters"]["run_fn"]


def parameter_not_wanted(spec: dict[str, Any]) -> None:
    tasks(spec)["Trainer"]["inputs"]["parameters"]["more"] = {"runtimeValue": {"constant": 1}}


def no_pipeline_root(spec: dict[str, Any]) -> None:
    del spec["defaultPipelineRoot"]


def local_pipeline_root(spec: dict[str, Any]) -> None:
    spec["defaultPipelineRoot"] = "/mnt/artifacts"


def image_by_tag(spec: dict[str, Any]) -> None:
    container(spec, "Trainer")["image"] = "registry.example/cabb:latest"


def cpu_in_words(spec: dict[str, Any]) -> None:
    container(spec, "Trainer")["resources"]["resourceCpuLimit"] = "two"


def memory_with_a_byte_sign(spec: dict[str, Any]) -> None:
    container(spec, "Trainer")["resources"]["resourceMemoryLimit"] = "8GB"


def request_over_limit(spec: dict[str, Any]) -> None:
    container(spec, "Trainer")["resources"]["resourceCpuRequest"] = "2500m"


def two_tasks_of_one_name(spec: dict[str, Any]) -> None:
    tasks(spec)["Trainer"]["taskInfo"]["name"] = "SessionExampleGen"


def input_named_as_output(spec: dict[str, Any]) -> None:
    declared = spec["components"]["Trainer"]
    declared["outputDefinitions"]["artifacts"]["sessions"] = declared["inputDefinitions"]["artifacts"][
        "sessions"
    ]


def unknown_producer(spec: dict[str, Any]) -> None:
    made = tasks(spec)["Trainer"]["inputs"]["artifacts"]["sessions"]["taskOutputArtifact"]
    made["outputArtifactKey"] = "examples"


def circle(spec: dict[str, Any]) -> None:
    tasks(spec)["SessionExampleGen"]["dependentTasks"] = ["Trainer"]


def cache_without_fingerprint(spec: dict[str, Any]) -> None:
    given = tasks(spec)["SessionExampleGen"]["inputs"]["parameters"]
    given["runtime_data_fingerprint"] = {"runtimeValue": {"constant": "compiled in"}}


def default_fingerprint(spec: dict[str, Any]) -> None:
    spec["root"]["inputDefinitions"]["parameters"]["data_fingerprint"]["defaultValue"] = "0123"


def artifact_with_properties(spec: dict[str, Any]) -> None:
    kind = spec["components"]["SessionExampleGen"]["outputDefinitions"]["artifacts"]["sessions"][
        "artifactType"
    ]
    kind["instanceSchema"] += "properties:\n  rows:\n    type: integer\n"


def artifact_of_no_class(spec: dict[str, Any]) -> None:
    made = spec["components"]["SessionExampleGen"]["outputDefinitions"]["artifacts"]
    made["sessions"] = {"artifactType": {"instanceSchema": "title: components.Nothing\ntype: object\n"}}


def condition_kfp_has_not(spec: dict[str, Any]) -> None:
    tasks(spec)["Trainer"]["triggerPolicy"] = {"condition": "size(inputs.artifacts) > 0"}


def old_format(spec: dict[str, Any]) -> None:
    spec["schemaVersion"] = "2.0.0"


FAULTS = [
    (resolver, "resolver", "BaselineModel"),
    (custom_job, "executor", "component with a container"),
    (driver, "driver", "data_fingerprint"),
    (tfx_entry_point, "entry-point", "pipeline.kubeflow.task"),
    (unknown_module, "import", "setup.py"),
    (unknown_class, "import", "setup.py"),
    (unknown_function, "import", "setup.py"),
    (unknown_metric, "import", "setup.py"),
    (undeclared_parameter, "parameter", "declare data_fingerprint"),
    (parameter_not_given, "parameter", "give it"),
    (parameter_not_wanted, "parameter", "declare it"),
    (no_pipeline_root, "pipeline-root", "--pipeline-root"),
    (local_pipeline_root, "pipeline-root", "s3://"),
    (image_by_tag, "image", "@sha256:"),
    (cpu_in_words, "resources", "500m"),
    (memory_with_a_byte_sign, "resources", "512Mi"),
    (request_over_limit, "resources", "no larger"),
    (two_tasks_of_one_name, "duplicate-name", "with_id"),
    (input_named_as_output, "duplicate-name", "rename"),
    (unknown_producer, "artifact", "output that exists"),
    (circle, "order", "dependentTasks"),
    (cache_without_fingerprint, "cache", "data_fingerprint"),
    (default_fingerprint, "cache", "remove the default"),
    (artifact_with_properties, "artifact-type", "custom properties"),
    (artifact_of_no_class, "artifact-type", "export the class"),
    (condition_kfp_has_not, "condition", "metadata"),
    (old_format, "format", "compile again"),
]


def test_a_clean_pipeline_has_no_findings() -> None:
    assert rules.check(pipeline(), "oss", {"data_fingerprint": "0123"}) == []


@pytest.mark.parametrize(("plant", "rule", "fix"), FAULTS, ids=lambda each: getattr(each, "__name__", ""))
def test_a_planted_fault_is_found_with_its_fix(plant: Fault, rule: str, fix: str) -> None:
    spec = document()
    plant(spec)
    found = [each for each in rules.check(pipeline(spec), "oss") if each.rule == rule]
    assert found, rules.check(pipeline(spec), "oss")
    assert all(each.reason and each.where for each in found)
    assert any(fix in each.fix for each in found), found


def test_every_rule_is_in_the_docs() -> None:
    page = Path(__file__).resolve().parents[3] / "docs/kubeflow.md"
    table = "".join(row for row in page.read_text().splitlines() if row.startswith("| `"))
    assert [rule for _, rule, _ in FAULTS if f"`{rule}`" not in table] == []


def test_vertex_runs_resolvers_and_drivers_but_keeps_artifacts_in_gs_only() -> None:
    spec = document()
    driver(spec)
    resolver(spec)
    assert {each.rule for each in rules.check(pipeline(spec), "vertex")} == {"pipeline-root"}
    assert rules.check(pipeline(document()), "vertex", pipeline_root="gs://bucket/cabb") == []


def test_a_submission_is_judged_with_its_arguments() -> None:
    (missing,) = rules.check(pipeline(), "oss", {})
    assert missing.where == "data_fingerprint" and "--argument data_fingerprint" in missing.fix
