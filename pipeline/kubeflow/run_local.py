"""Executes a compiled pipeline without a cluster: every task a process, started as its container is.

The driver's and the launcher's work is done here: parameters resolved, artifacts passed by URI, ExecutorInput
in, executor_output.json out, and the cache if it is asked for. Images, limits and retries are not simulated.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.kubeflow import conditions
from pipeline.kubeflow.open_source import blank_like_open_source
from pipeline.kubeflow.parameters import FINGERPRINT
from pipeline.kubeflow.spec import CompiledPipeline, Task
from schemas.errors import InputError

Json = dict[str, Any]
LOG_TAIL = 25
"""Lines of a failed task's log that are shown."""
_KINDS: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "LIST": (list,),
    "STRUCT": (dict,),
    "BOOLEAN": (bool,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
}


@dataclass(frozen=True)
class TaskEnd:
    """How one task ended: succeeded, cached, failed or skipped, and the seconds it took."""

    name: str
    state: str
    seconds: float
    log: Path


class TaskFailed(Exception):
    """A task's process did not end well; the message has the end of its log."""

    def __init__(self, task: str, code: int, log: Path) -> None:
        lines = log.read_text(errors="replace").splitlines()
        self.task, self.code, self.log, self.last = task, code, log, lines[-1] if lines else ""
        tail = "\n".join(f"  | {each}" for each in lines[-LOG_TAIL:])
        super().__init__(f"task {task} ended with code {code}; the end of its log:\n{tail}\n  log: {log}")


@dataclass
class LocalExecution:
    """One run of a compiled pipeline below a folder.

    Attributes:
        pipeline: what `spec.load` read.
        folder: `<pipeline root>/<run id>`: a folder per task, with its outputs, log and ExecutorInput.
        arguments: value of every parameter.
        oss: hand artifacts over as the open-source backend does, without types.
        cache: folder of earlier answers, used by tasks whose caching is enabled; None: everything runs.
        starts, ends: called around every task.
    """

    pipeline: CompiledPipeline
    folder: Path
    arguments: Mapping[str, Any]
    oss: bool = False
    cache: Path | None = None
    starts: Callable[[str], None] = lambda name: None
    ends: Callable[[TaskEnd], None] = lambda end: None
    artifacts: dict[tuple[str, str], list[Json]] = field(default_factory=dict, init=False)
    parameters: dict[tuple[str, str], Any] = field(default_factory=dict, init=False)

    def run(self) -> dict[tuple[str, str], list[Json]]:
        """Runs every task whose turn comes; returns the output artifacts by (task, key).

        A failure stops what depends on the task; tasks that wait for completion only still run.

        Raises:
            TaskFailed: the first task that failed, after everything that could run has.
            InputError: a task that cannot be executed here.
        """
        states: dict[str, str] = {}
        failure: TaskFailed | None = None
        for task in self.pipeline.in_order():
            policy = task.task.get("triggerPolicy", {})
            upstream = {states[each] for each in task.upstream}
            if policy.get("strategy") != "ALL_UPSTREAM_TASKS_COMPLETED" and upstream - {
                "succeeded",
                "cached",
            }:
                states[task.name] = "skipped"
                self.ends(TaskEnd(task.name, "skipped", 0.0, self.folder / task.name / "log.txt"))
                continue
            self.starts(task.name)
            began = time.monotonic()
            try:
                states[task.name] = self._run_task(task, policy.get("condition", ""))
            except TaskFailed as error:
                states[task.name] = "failed"
                failure = failure or error
            seconds = time.monotonic() - began
            self.ends(TaskEnd(task.name, states[task.name], seconds, self.folder / task.name / "log.txt"))
        if failure:
            raise failure
        return self.artifacts

    def _run_task(self, task: Task, condition: str) -> str:
        home = self.folder / task.name
        home.mkdir(parents=True, exist_ok=True)
        executor_input = self.executor_input(task)
        if condition and not conditions.holds(condition, executor_input["inputs"]):
            return "skipped"
        if "importer" in task.executor:
            self._import(task)
            return "succeeded"
        if not task.container:
            kind = next(iter(task.executor), "nothing")
            raise InputError(f"task {task.name} is a {kind}, which only a backend can run; see the check")
        answer = self._answer_file(task, executor_input)
        if answer and answer.is_file():
            for key, found in json.loads(answer.read_text()).items():
                self.artifacts[task.name, key] = found
            return "cached"
        if self.oss:
            blank_like_open_source(executor_input)
        (home / "executor_input.json").write_text(json.dumps(executor_input, indent=1))
        self._start(task, executor_input, home / "log.txt")
        self._merge(task, executor_input)
        if answer:
            made = {key: found for (name, key), found in self.artifacts.items() if name == task.name}
            answer.parent.mkdir(parents=True, exist_ok=True)
            answer.write_text(json.dumps(made))
        return "succeeded"

    def _answer_file(self, task: Task, executor_input: Json) -> Path | None:
        """Where KFP's cache would look: by input parameters, input artifacts, outputs, image and command."""
        if self.cache is None or not task.task.get("cachingOptions", {}).get("enableCache"):
            return None
        artifacts = executor_input["inputs"]["artifacts"]
        key = {
            "parameters": executor_input["inputs"]["parameterValues"],
            "artifacts": {name: [each["uri"] for each in v["artifacts"]] for name, v in artifacts.items()},
            "outputs": task.component.get("outputDefinitions", {}),
            "container": {name: task.container.get(name) for name in ("image", "command", "args")},
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.cache / f"{task.name}-{digest[:32]}.json"

    def executor_input(self, task: Task) -> Json:
        """What the driver tells a task."""
        given = task.task.get("inputs", {})
        inputs = {
            "parameterValues": {
                name: self._parameter(task, name, source)
                for name, source in given.get("parameters", {}).items()
            },
            "artifacts": {
                key: {"artifacts": [dict(each) for each in self._artifact(task, key, source)]}
                for key, source in given.get("artifacts", {}).items()
            },
        }
        home = self.folder / task.name
        declared = task.component.get("outputDefinitions", {})
        outputs = {
            "artifacts": {
                key: {
                    "artifacts": [
                        {
                            # The Evaluator tells two models by name: task and run make it unique.
                            "name": f"{self.folder.name}/{task.name}/{key}",
                            "uri": str(home / key),
                            "type": each["artifactType"],
                            "metadata": each.get("metadata", {}),
                        }
                    ]
                }
                for key, each in declared.get("artifacts", {}).items()
            },
            "parameters": {
                name: {"outputFile": str(home / "parameters" / name)}
                for name in declared.get("parameters", {})
            },
            "outputFile": str(home / "executor_output.json"),
        }
        return {"inputs": inputs, "outputs": outputs}

    def _parameter(self, task: Task, name: str, source: Json) -> Any:
        if "runtimeValue" in source:
            value = source["runtimeValue"].get("constant")
            return (
                self.folder.name if value in ("{{$.pipeline_job_uuid}}", "{{$.pipeline_job_name}}") else value
            )
        if "componentInputParameter" in source:
            return self.arguments[source["componentInputParameter"]]
        made = source.get("taskOutputParameter", {})
        key = (made.get("producerTask", ""), made.get("outputParameterKey", ""))
        if key not in self.parameters:
            raise InputError(f"task {task.name}: its parameter {name} comes from {key}, which gave none")
        return self.parameters[key]

    def _artifact(self, task: Task, name: str, source: Json) -> list[Json]:
        made = source.get("taskOutputArtifact", {})
        key = (made.get("producerTask", ""), made.get("outputArtifactKey", ""))
        if key not in self.artifacts:
            raise InputError(f"task {task.name}: its input {name} comes from {key}, which made none")
        return self.artifacts[key]

    def _import(self, task: Task) -> None:
        spec = task.executor["importer"]
        uri = spec.get("artifactUri", {}).get("constant") or task.task["inputs"]["parameters"]["uri"]
        for key in task.component.get("outputDefinitions", {}).get("artifacts", {}):
            artifact = {"uri": uri, "type": spec["typeSchema"], "metadata": spec.get("metadata", {})}
            self.artifacts[task.name, key] = [artifact]

    def _start(self, task: Task, executor_input: Json, log: Path) -> None:
        text = json.dumps(executor_input)
        command = [*task.container.get("command", []), *task.container.get("args", [])]
        command = [each.replace("{{$}}", text) for each in command]
        # `python` is the image's; here it is the one that runs this.
        own = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{own}{os.pathsep}{os.environ.get('PATH', '')}"}
        environment |= {each["name"]: each["value"] for each in task.container.get("env", [])}
        with log.open("w") as stream:
            code = subprocess.run(
                command, stdout=stream, stderr=subprocess.STDOUT, env=environment, check=False
            ).returncode
        if code:
            raise TaskFailed(task.name, code, log)

    def _merge(self, task: Task, executor_input: Json) -> None:
        """Takes over URIs and metadata that the task reported, as the launcher does."""
        file = Path(executor_input["outputs"]["outputFile"])
        reported = json.loads(file.read_text()) if file.is_file() else {}
        for key, found in executor_input["outputs"]["artifacts"].items():
            artifact = found["artifacts"][0]
            mine = reported.get("artifacts", {}).get(key, {}).get("artifacts", [{}])[0]
            if any(value is None for value in mine.get("metadata", {}).values()):
                raise InputError(f"task {task.name}: {key} has null metadata, which ends a task on KFP")
            artifact["uri"] = mine.get("uri") or artifact["uri"]
            artifact["metadata"] = {**artifact["metadata"], **mine.get("metadata", {})}
            artifact["name"] = f"{self.folder.name}/{task.name}/{key}"
            self.artifacts[task.name, key] = [artifact]
        for name, value in reported.get("parameterValues", {}).items():
            self.parameters[task.name, name] = value


def complete_arguments(pipeline: CompiledPipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every parameter: given, else its default; the fingerprint is computed from the logs.

    Raises:
        InputError: a parameter that does not exist, has no value or one of the wrong kind, or a fingerprint
            that is not the logs'.
    """
    import difflib

    declared = pipeline.parameters
    for name in given:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(declared))}"
            raise InputError(f"no parameter {name!r}; {hint}")
    values = {name: each["defaultValue"] for name, each in declared.items() if "defaultValue" in each} | dict(
        given
    )
    for name, value in values.items():
        kind = declared[name]["parameterType"]
        fits = isinstance(value, _KINDS[kind]) and (kind == "BOOLEAN" or not isinstance(value, bool))
        if not fits:
            raise InputError(f"parameter {name}: {value!r} is no {kind}")
    if FINGERPRINT in declared:
        values[FINGERPRINT] = _fingerprint(pipeline, values)
    for name, each in declared.items():
        if name not in values and not each.get("isOptional"):
            raise InputError(f"parameter {name} has no default; pass --argument {name}=...")
    return values


def _fingerprint(pipeline: CompiledPipeline, values: Mapping[str, Any]) -> str:
    """The logs' own fingerprint, which a given one has to be."""
    from components.session_example_gen.readers import files_of
    from pipeline.fingerprint import data_fingerprint
    from schemas.events import LogSource

    given = values.get(FINGERPRINT)
    text = pipeline.tasks()["SessionExampleGen"].task["inputs"]["parameters"]["source"]["runtimeValue"][
        "constant"
    ]
    source = LogSource.model_validate_json(text).model_copy(
        update={"events": list(values["events"]), "catalog": values["catalog"] or None}
    )
    if given is not None:
        try:
            files_of(source.events)
        except InputError:
            return given  # the logs are on the cluster only
    actual = data_fingerprint(source)
    if given is not None and given != actual:
        raise InputError(
            f"{FINGERPRINT}={given} is not that of the logs, {actual}: the cache would answer for others; "
            f"leave the argument out, or pass {FINGERPRINT}={actual}"
        )
    return actual


def new_run_id() -> str:
    """Name of a run: the time, UTC."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime())
