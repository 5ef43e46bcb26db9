"""The local execution of a compiled pipeline, with tasks that are three lines of Python."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.kubeflow.run_local import LocalExecution, TaskEnd, TaskFailed
from pipeline.kubeflow.spec import CompiledPipeline
from schemas.errors import InputError

WRITES = """
import json, os, pathlib, sys
given = json.loads(sys.argv[1])
print("started with", os.environ["MARK"])
for key, found in given["outputs"]["artifacts"].items():
    artifact = found["artifacts"][0]
    pathlib.Path(artifact["uri"]).mkdir(parents=True)
    read = [len(each["artifacts"]) for each in given["inputs"]["artifacts"].values()]
    artifact["metadata"] = {"blessed": METADATA, "read": sum(read)}
out = {"artifacts": given["outputs"]["artifacts"]}
pathlib.Path(given["outputs"]["outputFile"]).write_text(json.dumps(out))
"""
FAILS = "print('so far so good'); raise SystemExit('the disk is full')"
TYPE = {"instanceSchema": "title: tfx.Model\ntype: object\n"}


def task(script: str, upstream: tuple[str, ...] = (), **more: Any) -> tuple[str, dict[str, Any]]:
    artifacts = {
        each: {"taskOutputArtifact": {"producerTask": each, "outputArtifactKey": "made"}} for each in upstream
    }
    return script, {"inputs": {"artifacts": artifacts}, "cachingOptions": {"enableCache": True}, **more}


def pipeline_of(**tasks: tuple[str, dict[str, Any]]) -> CompiledPipeline:
    executors, components, dag = {}, {}, {}
    for name, (script, body) in tasks.items():
        inputs = {each: {"artifactType": TYPE} for each in body["inputs"]["artifacts"]}
        components[name] = {
            "executorLabel": name,
            "inputDefinitions": {"artifacts": inputs},
            "outputDefinitions": {"artifacts": {"made": {"artifactType": TYPE}}},
        }
        executors[name] = {
            "container": {
                "command": ["python", "-c", script],
                "args": ["{{$}}"],
                "env": [{"name": "MARK", "value": name}],
            }
        }
        dag[name] = {"componentRef": {"name": name}, **body}
    spec = {
        "components": components,
        "deploymentSpec": {"executors": executors},
        "root": {"dag": {"tasks": dag}},
    }
    return CompiledPipeline(spec, {})


def run(pipeline: CompiledPipeline, folder: Path, **options: Any) -> tuple[dict, dict[str, str]]:
    ended: list[TaskEnd] = []
    execution = LocalExecution(pipeline, folder, {}, ends=ended.append, **options)
    try:
        made = execution.run()
    except TaskFailed as error:
        return {"error": error}, {each.name: each.state for each in ended}
    return made, {each.name: each.state for each in ended}


GOOD, BAD = WRITES.replace("METADATA", "1"), WRITES.replace("METADATA", "0")
ASKS = {"condition": "inputs.artifacts['first'].artifacts[0].metadata['blessed'] == 1.0"}


def test_artifacts_and_metadata_pass_by_uri_in_topological_order(tmp_path: Path) -> None:
    pipeline = pipeline_of(
        last=task(GOOD, ("first", "middle")), middle=task(GOOD, ("first",)), first=task(GOOD)
    )
    made, states = run(pipeline, tmp_path / "run")
    assert list(states) == ["first", "middle", "last"]
    assert made["last", "made"][0]["uri"] == str(tmp_path / "run/last/made")
    assert made["last", "made"][0]["metadata"] == {"blessed": 1, "read": 2}
    assert (tmp_path / "run/middle/log.txt").read_text() == "started with middle\n"
    assert len({found[0]["name"] for found in made.values()}) == 3


@pytest.mark.parametrize(("first", "state"), [(GOOD, "succeeded"), (BAD, "skipped")])
def test_a_condition_decides_and_what_depends_on_a_skipped_task_is_skipped(
    tmp_path: Path, first: str, state: str
) -> None:
    pipeline = pipeline_of(
        first=task(first), asked=task(GOOD, ("first",), triggerPolicy=ASKS), after=task(GOOD, ("asked",))
    )
    _, states = run(pipeline, tmp_path / "run")
    assert states == {"first": "succeeded", "asked": state, "after": state}


def test_a_failure_shows_the_log_and_stops_what_depends_on_it(tmp_path: Path) -> None:
    pipeline = pipeline_of(first=task(FAILS), second=task(GOOD, ("first",)), alone=task(GOOD))
    made, states = run(pipeline, tmp_path / "run")
    assert states == {"alone": "succeeded", "first": "failed", "second": "skipped"}
    message = str(made["error"])
    assert "task first ended with code 1" in message
    assert "so far so good" in message and "the disk is full" in message and "log.txt" in message


def test_a_task_that_waits_for_completion_runs_after_a_failure(tmp_path: Path) -> None:
    body = task(GOOD, dependentTasks=["first"], triggerPolicy={"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"})
    _, states = run(pipeline_of(first=task(FAILS), cleanup=body), tmp_path / "run")
    assert states == {"first": "failed", "cleanup": "succeeded"}


def test_the_open_source_backend_gives_inputs_without_types(tmp_path: Path) -> None:
    pipeline = pipeline_of(first=task(GOOD), second=task(GOOD, ("first",)))
    for oss in (False, True):
        run(pipeline, tmp_path / str(oss), oss=oss)
        given = json.loads((tmp_path / str(oss) / "second/executor_input.json").read_text())
        assert ("type" in given["inputs"]["artifacts"]["first"]["artifacts"][0]) is not oss


def test_null_metadata_is_refused_as_kfp_does(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="null metadata"):
        run(pipeline_of(first=task(WRITES.replace("METADATA", "None"))), tmp_path / "run")


def test_the_cache_answers_the_same_question_only(tmp_path: Path) -> None:
    pipeline = pipeline_of(
        first=task(GOOD), second=task(GOOD, ("first",)), gate=task(GOOD, cachingOptions={})
    )
    options = {"cache": tmp_path / "cache"}
    run(pipeline, tmp_path / "a", **options)
    made, states = run(pipeline, tmp_path / "b", **options)
    assert states == {"first": "cached", "second": "cached", "gate": "succeeded"}
    assert made["second", "made"][0]["uri"] == str(tmp_path / "a/second/made")
    changed = pipeline_of(first=task(GOOD + "# changed"), second=task(GOOD, ("first",)))
    assert run(changed, tmp_path / "c", **options)[1] == {"first": "succeeded", "second": "succeeded"}


def test_two_tasks_run_at_a_time_and_say_what_they_used(tmp_path: Path) -> None:
    waits = "import pathlib, sys, time\n" + (
        "home = pathlib.Path(__import__('json').loads(sys.argv[1])['outputs']['outputFile']).parent\n"
        "(home / 'here').touch()\n"
        "other = home.parent / {'one': 'two', 'two': 'one'}[home.name] / 'here'\n"
        "until = time.monotonic() + 60\n"
        "while not other.exists():\n    assert time.monotonic() < until\n    time.sleep(0.01)\n"
    )
    pipeline = pipeline_of(one=task(waits + GOOD), two=task(waits + GOOD), last=task(GOOD, ("one", "two")))
    ended: list[TaskEnd] = []
    LocalExecution(pipeline, tmp_path / "run", {}, workers=2, ends=ended.append).run()
    assert {each.name: each.state for each in ended} == dict.fromkeys(("one", "two", "last"), "succeeded")
    assert ended[-1].name == "last"
    assert all(each.cpu_seconds > 0 and each.peak_gigabytes > 0.001 for each in ended)


def test_a_resolver_is_refused_by_name(tmp_path: Path) -> None:
    pipeline = pipeline_of(first=task(GOOD))
    pipeline.pipeline["deploymentSpec"]["executors"]["first"] = {"resolver": {}}
    with pytest.raises(InputError, match="first is a resolver"):
        run(pipeline, tmp_path / "run")
