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
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.kubeflow import conditions
from pipeline.kubeflow.open_source import blank_like_open_source
from pipeline.kubeflow.spec import CompiledPipeline, Task
from schemas.errors import InputError

Json = dict[str, Any]
LOG_TAIL = 25
"""Lines of a failed task's log that are shown."""


@dataclass(frozen=True)
class TaskEnd:
    """How one task ended.

    Attributes:
        name: of the task.
        state: succeeded, cached, failed or skipped.
        log: what its process wrote.
        seconds: from its start to its end.
        cpu_seconds, peak_gigabytes: of its process and what that started; 0 when there was none. Linux counts
            the memory of the process that started it as well, so a small task's peak is that one's.
    """

    name: str
    state: str
    log: Path
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_gigabytes: float = 0.0


class TaskFailed(Exception):
    """A task's process did not end well; the message has the end of its log."""

    def __init__(self, end: TaskEnd, code: int) -> None:
        self.end = end
        lines = end.log.read_text(errors="replace").splitlines()
        tail = "\n".join(f"  | {each}" for each in lines[-LOG_TAIL:])
        super().__init__(
            f"task {end.name} ended with code {code}; the end of its log:\n{tail}\n  log: {end.log}"
        )


@dataclass
class LocalExecution:
    """One run of a compiled pipeline below a folder.

    Attributes:
        pipeline: what `spec.load` read.
        folder: `<pipeline root>/<run id>`: a folder per task, with its outputs, log and ExecutorInput.
        arguments: value of every parameter.
        oss: hand artifacts over as the open-source backend does, without types.
        cache: folder of earlier answers, used by tasks whose caching is enabled; None: everything runs.
        workers: tasks that run at a time.
        starts, ends: called around every task, `starts` in a thread of its own.
    """

    pipeline: CompiledPipeline
    folder: Path
    arguments: Mapping[str, Any]
    oss: bool = False
    cache: Path | None = None
    workers: int = 1
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
        tasks = self.pipeline.tasks()
        sorter = self.pipeline.sorter()
        states: dict[str, str] = {}
        failures: list[TaskFailed] = []
        with ThreadPoolExecutor(self.workers) as pool:
            running: dict[Future[TaskEnd], str] = {}
            while sorter.is_active():
                for name in sorted(sorter.get_ready()):
                    upstream = {states[each] for each in tasks[name].upstream}
                    running[pool.submit(self._end_of, tasks[name], upstream)] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    try:
                        end = future.result()
                    except TaskFailed as error:
                        failures.append(error)
                        end = error.end
                    states[name] = end.state
                    self.ends(end)
                    sorter.done(name)
        if failures:
            raise failures[0]
        return self.artifacts

    def _end_of(self, task: Task, upstream: set[str]) -> TaskEnd:
        home = self.folder / task.name
        log = home / "log.txt"
        policy = task.task.get("triggerPolicy", {})
        waits_only = policy.get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
        if not waits_only and upstream - {"succeeded", "cached"}:
            return TaskEnd(task.name, "skipped", log)
        self.starts(task.name)
        home.mkdir(parents=True, exist_ok=True)
        executor_input = self.executor_input(task)
        condition = policy.get("condition", "")
        if condition and not conditions.holds(condition, executor_input["inputs"]):
            return TaskEnd(task.name, "skipped", log)
        if "importer" in task.executor:
            self._import(task)
            return TaskEnd(task.name, "succeeded", log)
        if not task.container:
            kind = next(iter(task.executor), "nothing")
            raise InputError(f"task {task.name} is a {kind}, which only a backend can run; see the check")
        answer = self._answer_file(task, executor_input)
        if answer and answer.is_file():
            for key, found in json.loads(answer.read_text()).items():
                self.artifacts[task.name, key] = found
            return TaskEnd(task.name, "cached", log)
        if self.oss:
            blank_like_open_source(executor_input)
        (home / "executor_input.json").write_text(json.dumps(executor_input, indent=1))
        end = self._start(task, executor_input, log)
        made = self._merge(task, executor_input)
        if answer:
            answer.parent.mkdir(parents=True, exist_ok=True)
            answer.write_text(json.dumps(made))
        return end

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

    def _start(self, task: Task, executor_input: Json, log: Path) -> TaskEnd:
        text = json.dumps(executor_input)
        command = [*task.container.get("command", []), *task.container.get("args", [])]
        command = [each.replace("{{$}}", text) for each in command]
        # `python` is the image's; here it is the one that runs this.
        own = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{own}{os.pathsep}{os.environ.get('PATH', '')}"}
        environment |= {each["name"]: each["value"] for each in task.container.get("env", [])}
        began = time.monotonic()
        with log.open("w") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        end = TaskEnd(
            task.name,
            "failed" if process.returncode else "succeeded",
            log,
            time.monotonic() - began,
            used.ru_utime + used.ru_stime,
            used.ru_maxrss * 1024 / 1e9,
        )
        if process.returncode:
            raise TaskFailed(end, process.returncode)
        return end

    def _merge(self, task: Task, executor_input: Json) -> dict[str, list[Json]]:
        """Takes over URIs and metadata that the task reported, as the launcher does; returns all."""
        made: dict[str, list[Json]] = {}
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
            made[key] = self.artifacts[task.name, key] = [artifact]
        for name, value in reported.get("parameterValues", {}).items():
            self.parameters[task.name, name] = value
        return made


def new_run_id() -> str:
    """Name of a run: the time, UTC."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime())
