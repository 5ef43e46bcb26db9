"""A compiled pipeline, read strictly: every key known, none twice."""

from __future__ import annotations

import graphlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import InputError

SCHEMA_VERSION = "2.1.0"
Json = dict[str, Any]


class _StrictLoader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """Refuses a key that a mapping has twice: plain YAML keeps the last and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG,
    lambda loader, node: loader.construct_mapping(node, deep=True),
)


@dataclass(frozen=True)
class Task:
    """One task: its own part of the pipeline, what its component declares, and what executes it."""

    name: str
    task: Json
    component: Json
    executor: Json

    @property
    def container(self) -> Json:
        """Command, arguments, image, resources; empty for other kinds of executors."""
        return self.executor.get("container", {})

    @property
    def upstream(self) -> set[str]:
        """Tasks it waits for: named, or producers of its inputs."""
        inputs = self.task.get("inputs", {})
        found = set(self.task.get("dependentTasks", []))
        for each in inputs.get("artifacts", {}).values():
            found.add(each.get("taskOutputArtifact", {}).get("producerTask", ""))
        for each in inputs.get("parameters", {}).values():
            found.add(each.get("taskOutputParameter", {}).get("producerTask", ""))
        return found - {""}

    def argument(self, flag: str) -> str | None:
        """The value after a flag of the container's arguments."""
        arguments = self.container.get("args", [])
        at = arguments.index(flag) + 1 if flag in arguments else len(arguments)
        return arguments[at] if at < len(arguments) else None


@dataclass(frozen=True)
class CompiledPipeline:
    """A file of `cabb kubeflow compile`.

    Attributes:
        pipeline: KFP's PipelineSpec, as JSON.
        platform: volumes and the like for Kubernetes; empty when there are none.
    """

    pipeline: Json
    platform: Json

    @property
    def name(self) -> str:
        """Of the pipeline."""
        return self.pipeline.get("pipelineInfo", {}).get("name", "")

    @property
    def parameters(self) -> Json:
        """Declarations of the parameters that a run is given."""
        return self.pipeline.get("root", {}).get("inputDefinitions", {}).get("parameters", {})

    def tasks(self) -> dict[str, Task]:
        """Every task by name; parts that the file leaves out are empty."""
        components = self.pipeline.get("components", {})
        executors = self.pipeline.get("deploymentSpec", {}).get("executors", {})
        found = {}
        for name, task in self.pipeline.get("root", {}).get("dag", {}).get("tasks", {}).items():
            component = components.get(task.get("componentRef", {}).get("name"), {})
            found[name] = Task(name, task, component, executors.get(component.get("executorLabel"), {}))
        return found

    def sorter(self) -> graphlib.TopologicalSorter[str]:
        """Hands out the names of tasks whose upstream tasks are done; prepared.

        Raises:
            InputError: a circle, or a task that is not there.
        """
        tasks = self.tasks()
        for task in tasks.values():
            for missing in sorted(task.upstream - tasks.keys()):
                raise InputError(
                    f"task {task.name} waits for {missing}, which is not a task of this pipeline"
                )
        sorter = graphlib.TopologicalSorter({name: sorted(each.upstream) for name, each in tasks.items()})
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            raise InputError(
                f"tasks wait for one another in a circle: {' -> '.join(error.args[1])}"
            ) from None
        return sorter


def load(path: Path) -> CompiledPipeline:
    """Reads a compiled file.

    Raises:
        InputError: it cannot be read, is no YAML, has a key twice or one that KFP's format does not know.
    """
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    try:
        documents = [each for each in yaml.load_all(path.read_text(encoding="utf-8"), _StrictLoader) if each]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not 1 <= len(documents) <= 2 or not all(isinstance(each, dict) for each in documents):
        raise InputError(f"{path}: not a compiled pipeline; write one with `cabb kubeflow compile`")
    pipeline, platform = documents[0], documents[1] if len(documents) == 2 else {}
    for document, kind in (
        (pipeline, pipeline_spec_pb2.PipelineSpec),
        (platform, pipeline_spec_pb2.PlatformSpec),
    ):
        try:
            json_format.ParseDict(document, kind())
        except json_format.ParseError as error:
            raise InputError(f"{path}: not in KFP's format: {' '.join(str(error).split())}") from None
    return _checked_deployment(path, json.loads(json.dumps(pipeline)), platform)


def _checked_deployment(path: Path, pipeline: Json, platform: Json) -> CompiledPipeline:
    """The deployment part is an untyped struct inside a PipelineSpec: it has a message of its own."""
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    try:
        json_format.ParseDict(
            pipeline.get("deploymentSpec", {}), pipeline_spec_pb2.PipelineDeploymentConfig()
        )
    except json_format.ParseError as error:
        raise InputError(f"{path}: deploymentSpec: {' '.join(str(error).split())}") from None
    return CompiledPipeline(pipeline, platform)
