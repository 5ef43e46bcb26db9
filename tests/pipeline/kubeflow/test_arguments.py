"""Parameters of a run are completed, and what does not fit the compiled file is refused with the way out."""

import json
import os
from pathlib import Path

import pytest

from pipeline.kubeflow.arguments import complete_arguments, parsed
from schemas.errors import InputError
from tests.pipeline.kubeflow import compiled


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "a.parquet").write_bytes(b"log")
    return tmp_path / "a.parquet"


def test_what_is_written_is_of_the_kind_that_is_declared() -> None:
    written = ["data_fingerprint=0123", "lambda_cabb=.5", "events=logs/*.parquet", "model=no", "other=1"]
    assert parsed(compiled.pipeline(), written) == {
        "data_fingerprint": "0123",
        "lambda_cabb": 0.5,
        "events": ["logs/*.parquet"],
        "model": "no",
        "other": "1",
    }
    assert parsed(compiled.pipeline(), ["events=[a, b]"]) == {"events": ["a", "b"]}
    for wrong, said in (("lambda_cabb", "NAME=VALUE"), ("=1", "NAME=VALUE"), ("events=[a", "not valid YAML")):
        with pytest.raises(InputError, match=said):
            parsed(compiled.pipeline(), [wrong])


def test_arguments_are_completed_and_checked(logs: Path) -> None:
    pipeline = compiled.pipeline()
    values = complete_arguments(pipeline, {"events": [str(logs)]})
    assert values["lambda_cabb"] == 0.75 and len(values["data_fingerprint"]) == 16
    with pytest.raises(InputError, match="did you mean lambda_cabb"):
        complete_arguments(pipeline, {"events": [str(logs)], "lambda": 1})
    with pytest.raises(InputError, match="lambda_cabb: 'half' is no NUMBER_DOUBLE"):
        complete_arguments(pipeline, {"events": [str(logs)], "lambda_cabb": "half"})


def test_a_fingerprint_of_other_data_is_refused_with_the_right_one(logs: Path) -> None:
    pipeline = compiled.pipeline()
    before = complete_arguments(pipeline, {"events": [str(logs)]})["data_fingerprint"]
    os.utime(logs, ns=(0, 0))
    after = complete_arguments(pipeline, {"events": [str(logs)]})["data_fingerprint"]
    with pytest.raises(InputError, match=f"pass data_fingerprint={after}"):
        complete_arguments(pipeline, {"events": [str(logs)], "data_fingerprint": before})


def test_logs_on_the_cluster_only_need_a_given_fingerprint(tmp_path: Path) -> None:
    pipeline = compiled.pipeline()
    away = {"events": [str(tmp_path / "none/*.parquet")]}
    assert complete_arguments(pipeline, {**away, "data_fingerprint": "2025"})["data_fingerprint"] == "2025"
    with pytest.raises(InputError):
        complete_arguments(pipeline, away)


def test_a_model_that_learns_from_other_labels_needs_another_file(logs: Path) -> None:
    pipeline = compiled.pipeline()
    given = {"events": [str(logs)]}
    assert complete_arguments(pipeline, {**given, "model": "caba_only"})["model"] == "caba_only"
    with pytest.raises(InputError, match=r"=mal: it learns from .* other labels than cabb.*--set model=mal"):
        complete_arguments(pipeline, {**given, "model": "mal"})
    with pytest.raises(InputError, match="no such model; choose one of cabb"):
        complete_arguments(pipeline, {**given, "model": "cab"})


def test_a_file_of_another_version_is_refused(logs: Path) -> None:
    pipeline = compiled.pipeline()
    value = pipeline.tasks()["Trainer"].task["inputs"]["parameters"]["custom_config"]["runtimeValue"]
    custom = json.loads(value["constant"])
    settings = json.loads(custom["settings"]) | {"gone": 0.1}
    value["constant"] = json.dumps(custom | {"settings": json.dumps(settings)})
    with pytest.raises(InputError, match=r"another version of cabb \(gone: .*\); compile it again"):
        complete_arguments(pipeline, {"events": [str(logs)], "model": "caba_only"})
