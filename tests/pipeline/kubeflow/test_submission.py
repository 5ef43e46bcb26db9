"""Submitting, against a stand-in of the KFP API."""

import io
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from pipeline.commands.kubeflow import kubeflow
from pipeline.kubeflow.submission import Submission, submit_and_wait
from schemas.errors import InputError
from tests.pipeline.kubeflow.compiled import document
from tests.pipeline.kubeflow.stand_in import StandIn, serving

TASKS = ("SessionExampleGen", "Trainer")


def submission(folder: Path, **arguments: object) -> Submission:
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(document()))
    given = {"lambda_cabb": 0.5, "serving_dir": str(folder / "serving"), **arguments}
    return Submission(file, "cabb", given, "s3://bucket/cabb", "nightly")


def run(stand_in: StandIn, what: Submission, timeout: float = 30.0) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=140)
    code = submit_and_wait(what, stand_in.host, console, timeout, poll=0.01)
    return code, console.file.getvalue()


def test_a_run_is_given_its_arguments_and_root_and_followed_to_its_end(tmp_path: Path) -> None:
    with serving(StandIn(("PENDING", "RUNNING", "SUCCEEDED"), TASKS)) as stand_in:
        code, said = run(stand_in, submission(tmp_path))
    assert code == 0
    (sent,) = stand_in.runs
    assert sent["runtime_config"]["parameters"]["lambda_cabb"] == 0.5
    assert sent["runtime_config"]["pipeline_root"] == "s3://bucket/cabb"
    assert sent["pipeline_version_reference"] == {"pipeline_id": "p1", "pipeline_version_id": "v1"}
    assert all(f"{name:<22}    90 s" in said for name in TASKS)
    assert "  root " not in said
    assert "not mounted here" in said
    assert b"SessionExampleGen" in stand_in.uploads[0]


def test_the_same_file_is_uploaded_once(tmp_path: Path) -> None:
    with serving(StandIn(("SUCCEEDED",), TASKS)) as stand_in:
        for _ in range(2):
            run(stand_in, submission(tmp_path))
        changed = submission(tmp_path)
        changed.file.write_text(changed.file.read_text() + "# changed\n")
        run(stand_in, changed)
    assert len(stand_in.pipelines) == 1
    assert [each.pipeline_version_id for each in stand_in.versions] == ["v1", "v2"]
    assert len(stand_in.runs) == 3


def test_the_verdict_is_printed_where_the_serving_directory_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "serving/.runs/run-1"
    page.mkdir(parents=True)
    seen: list[Path] = []
    monkeypatch.setattr("pipeline.commands.kubeflow.print_verdict", lambda path, _: seen.append(path) or 3)
    with serving(StandIn(("SUCCEEDED",), TASKS)) as stand_in:
        code, _ = run(stand_in, submission(tmp_path))
    assert (code, seen) == (3, [page])


def test_a_failed_task_is_named(tmp_path: Path) -> None:
    with serving(StandIn(("RUNNING", "FAILED"), TASKS, failing="Trainer")) as stand_in:
        code, said = run(stand_in, submission(tmp_path))
    assert code == 1
    assert "Failed Trainer: exit code 1" in said


def test_waiting_ends(tmp_path: Path) -> None:
    with serving(StandIn(("RUNNING",), TASKS)) as stand_in:
        code, said = run(stand_in, submission(tmp_path), timeout=0.05)
        assert (code, "goes on" in said) == (1, True)
        assert run(stand_in, submission(tmp_path), timeout=0)[0] == 0


def test_a_host_where_nobody_answers_is_one_line(tmp_path: Path) -> None:
    with serving(StandIn(("RUNNING",), TASKS)) as stand_in:
        pass
    with pytest.raises(InputError, match="no KFP API answers") as error:
        run(stand_in, submission(tmp_path))
    assert "\n" not in str(error.value)


def test_the_command_checks_before_it_submits(tmp_path: Path) -> None:
    faulty = document()
    faulty["deploymentSpec"]["executors"]["Trainer_executor"]["container"]["image"] = "cabb:latest"
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(faulty))
    with serving(StandIn(("SUCCEEDED",), TASKS)) as stand_in:
        arguments = ["submit", str(file), "--host", stand_in.host, "--argument", "data_fingerprint=abc"]
        result = CliRunner().invoke(kubeflow, arguments)
    assert result.exit_code == 2, result.output
    assert "@sha256:" in result.output
    assert stand_in.runs == []


def test_check_explains_and_exits_with_two(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(document()))
    assert CliRunner().invoke(kubeflow, ["check", str(file)]).exit_code == 0
    changed = document()
    del changed["defaultPipelineRoot"]
    file.write_text(json.dumps(changed))
    result = CliRunner().invoke(kubeflow, ["check", str(file)])
    assert result.exit_code == 2
    assert "why: " in result.output and "fix: " in result.output
    assert CliRunner().invoke(kubeflow, ["check", str(file), "--pipeline-root", "s3://b/c"]).exit_code == 0
    changed = document()
    del changed["root"]["inputDefinitions"]["parameters"]["lambda_cabb"]["defaultValue"]
    file.write_text(json.dumps(changed))
    assert "--argument lambda_cabb=..." in CliRunner().invoke(kubeflow, ["check", str(file)]).output
    result = CliRunner().invoke(kubeflow, ["check", str(file), "--argument", "model=cabb"])
    assert result.exit_code == 2 and "--argument lambda_cabb=..." in result.output
