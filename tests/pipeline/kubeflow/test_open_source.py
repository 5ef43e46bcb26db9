"""What the open-source backend leaves out is back before TFX sees a task."""

import json
from pathlib import Path

from pipeline.kubeflow import open_source
from pipeline.kubeflow.task import keep_page, prepared

MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
SPEC = {"artifacts": {"model": {"artifactType": MODEL}, "baseline_model": {"artifactType": MODEL}}}


def executor_input() -> dict:
    return {
        "inputs": {
            "artifacts": {
                "model": {"artifacts": [{"name": "7", "uri": "s3://bucket/run/model", "type": MODEL}]},
                "baseline_model": {"artifacts": [{"name": "8", "uri": "minio://mlpipeline/run/model"}]},
            },
            "parameterValues": {
                "settings": json.dumps({"model": {"lambda_cabb": 0.75}}),
                "lineage": json.dumps({"run_key": "compiled", "eval_end": "2025-01-01"}),
                "custom_config": json.dumps(
                    {"settings": json.dumps({"lambda_cabb": 0.75}), "code_hash": "a"}
                ),
                "runtime_lambda_cabb": 0.5,
                "runtime_eval_end": "",
                "runtime_serving_dir": "/mnt/a",
            },
        },
        "outputs": {
            "artifacts": {"model": {"artifacts": [{"uri": "gs://bucket/run/out"}]}},
            "outputFile": "/tmp/kfp_outputs/output_metadata.json",
        },
    }


RUNTIME = {
    "fills": {
        "settings.model.lambda_cabb": "lambda_cabb",
        "custom_config.settings.lambda_cabb": "lambda_cabb",
        "lineage.eval_end": "eval_end",
        "serving_dir": "serving_dir",
    },
    "optional": ["eval_end"],
    "run_key": ["lineage.run_key"],
    "arguments": ["lineage.arguments"],
}


def test_blanked_types_come_back_from_the_declarations() -> None:
    given = executor_input()
    open_source.blank_like_open_source(given)
    assert all("type" not in each["artifacts"][0] for each in given["inputs"]["artifacts"].values())
    ready = prepared(given, SPEC, SPEC, RUNTIME)
    for side in ("inputs", "outputs"):
        for found in ready[side]["artifacts"].values():
            assert found["artifacts"][0]["type"] == MODEL


def test_two_models_have_two_names_even_when_the_backend_gives_none() -> None:
    given = executor_input()
    for found in given["inputs"]["artifacts"].values():
        del found["artifacts"][0]["name"]
    ready = prepared(given, SPEC, SPEC, RUNTIME)
    names = {found["artifacts"][0]["name"] for found in ready["inputs"]["artifacts"].values()}
    assert len(names) == 2 and "" not in names


def test_artifacts_are_read_where_the_launcher_put_them_and_reported_where_they_are() -> None:
    given = executor_input()
    ready = prepared(given, SPEC, SPEC, RUNTIME)
    assert ready["inputs"]["artifacts"]["model"]["artifacts"][0]["uri"] == "/s3/bucket/run/model"
    assert (
        ready["inputs"]["artifacts"]["baseline_model"]["artifacts"][0]["uri"] == "/minio/mlpipeline/run/model"
    )
    assert ready["outputs"]["artifacts"]["model"]["artifacts"][0]["uri"] == "/gcs/bucket/run/out"
    output = {
        "artifacts": {
            "model": {"artifacts": [{"uri": "/gcs/bucket/run/out", "metadata": {"a": None, "b": 0}}]}
        }
    }
    open_source.for_backend(output, given)
    assert output["artifacts"]["model"]["artifacts"] == [{"uri": "gs://bucket/run/out", "metadata": {"b": 0}}]
    assert open_source.local_path("/mnt/cabb/run") == "/mnt/cabb/run"


def test_parameters_reach_into_nested_json_and_leave_no_trace() -> None:
    properties = prepared(executor_input(), SPEC, SPEC, RUNTIME)["inputs"]["parameterValues"]
    assert json.loads(properties["settings"])["model"]["lambda_cabb"] == 0.5
    config = json.loads(properties["custom_config"])
    assert json.loads(config["settings"])["lambda_cabb"] == 0.5 and config["code_hash"] == "a"
    lineage = json.loads(properties["lineage"])
    assert lineage["eval_end"] is None
    assert lineage["arguments"] == {"lambda_cabb": 0.5, "eval_end": ""}
    assert properties["serving_dir"] == "/mnt/a"
    assert not [name for name in properties if name.startswith("runtime_")]


def test_the_run_key_follows_what_decides_the_model_and_nothing_else() -> None:
    def key(**changes: object) -> str:
        given = executor_input()
        given["inputs"]["parameterValues"] |= changes
        return json.loads(prepared(given, SPEC, SPEC, RUNTIME)["inputs"]["parameterValues"]["lineage"])[
            "run_key"
        ]

    assert key() == key() == key(runtime_serving_dir="/mnt/b") != "compiled"
    assert key(runtime_lambda_cabb=0.25) != key()
    assert key(lineage=json.dumps({"run_key": "other"})) != key()


def test_the_schema_needs_no_volume() -> None:
    given = {"inputs": {"parameterValues": {"schema_file": "schema.pbtxt"}}}
    ready = prepared(given, {}, {}, {"curated_schema": {"context_columns": ["channel"]}})
    text = Path(ready["inputs"]["parameterValues"]["schema_file"]).read_text()
    assert "channel" in text and "y_cabb" in text


def test_the_page_is_kept_beside_the_versions(tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.mkdir()
    for name in ("report.html", "results.json"):
        (page / name).write_text(name)
    outputs = {"outputs": {"artifacts": {"page": {"artifacts": [{"uri": str(page)}]}}}}
    keep_page(outputs, str(tmp_path / "serving"), "run-1")
    kept = tmp_path / "serving/.runs/run-1"
    assert sorted(each.name for each in kept.iterdir()) == ["report.html", "results.json"]
