"""What a backend would refuse or quietly do wrong in a compiled pipeline: findings with reason and fix."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import yaml

from pipeline.kubeflow import conditions, imports
from pipeline.kubeflow.parameters import FINGERPRINT, PATHS, READS_SERVING_DIR
from pipeline.kubeflow.settings import CPU, MEMORY, cores, gigabytes
from pipeline.kubeflow.spec import SCHEMA_VERSION, CompiledPipeline, Task
from schemas.errors import InputError

Target = Literal["oss", "vertex"]
ENTRY = ["python", "-m", "pipeline.kubeflow.task"]
SCHEMES = {"oss": ("s3://", "minio://", "gs://"), "vertex": ("gs://",)}
_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
_TITLE = re.compile(r"[a-z][a-z0-9-_]{2,20}[.][A-Z][a-zA-Z0-9-_]{2,49}")
_FUNCTIONS = ("run_fn", "preprocessing_fn", "tuner_fn", "stats_options_updater_fn")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        rule: short name.
        where: task, parameter or part of the file.
        reason: what would happen.
        fix: what to do.
    """

    rule: str
    where: str
    reason: str
    fix: str


@dataclass(frozen=True)
class _Case:
    """What is judged: a pipeline for a target, with the arguments of a submission if they are known."""

    pipeline: CompiledPipeline
    target: Target
    arguments: Mapping[str, Any] | None
    pipeline_root: str


Rule = Callable[[_Case], Iterator[Finding]]


def check(
    pipeline: CompiledPipeline,
    target: Target = "oss",
    arguments: Mapping[str, Any] | None = None,
    pipeline_root: str = "",
) -> list[Finding]:
    """Everything that is wrong with a compiled pipeline, by rule and place.

    Args:
        pipeline: what `spec.load` read.
        target: the backend it is meant for.
        arguments: values of the parameters that the submission gives; None: not known, not judged.
        pipeline_root: what the submission gives; it replaces the pipeline's own.
    """
    case = _Case(pipeline, target, arguments, pipeline_root)
    return [finding for rule in RULES for finding in rule(case)]


def _format(case: _Case) -> Iterator[Finding]:
    version = case.pipeline.pipeline.get("schemaVersion")
    if version != SCHEMA_VERSION:
        yield Finding(
            "format",
            "schemaVersion",
            f"it is {version!r}; backends read {SCHEMA_VERSION}, and 2.0 loses execution properties",
            "compile again with `cabb kubeflow compile`",
        )
    if not _NAME.fullmatch(case.pipeline.name):
        yield Finding(
            "format",
            "pipelineInfo.name",
            f"{case.pipeline.name!r} is no name that KFP takes",
            "use lower-case letters, digits and dashes in the configuration's `name`",
        )


def _pipeline_root(case: _Case) -> Iterator[Finding]:
    root = case.pipeline_root or case.pipeline.pipeline.get("defaultPipelineRoot", "")
    schemes = SCHEMES[case.target]
    if not root:
        yield Finding(
            "pipeline-root",
            "defaultPipelineRoot",
            "TFX's compiler drops it, so artifacts would go to the cluster's default or nowhere",
            "set kubeflow.pipeline_root in the configuration, or pass --pipeline-root",
        )
    elif not root.startswith(schemes):
        yield Finding(
            "pipeline-root",
            root,
            f"the {case.target} backend keeps artifacts in {' or '.join(schemes)} only",
            f"name a bucket, as in {schemes[0]}bucket/cabb",
        )


def _executors(case: _Case) -> Iterator[Finding]:
    for task in case.pipeline.tasks().values():
        kind = next(iter(task.executor), None)
        if kind is None:
            yield Finding(
                "executor",
                task.name,
                "its component or executor is not in the file",
                "compile again; do not edit names by hand",
            )
        elif kind == "resolver" and case.target == "oss":
            yield Finding(
                "resolver",
                task.name,
                "open-source KFP implements no resolver: the task fails at its driver",
                "take the Resolver out of the pipeline; BaselineModel reads the published versions instead",
            )
        elif kind not in ("container", "importer", "resolver"):
            yield Finding(
                "executor",
                task.name,
                f"the {case.target} backend does not run a {kind}",
                "make it a component with a container",
            )
        elif kind == "container" and task.container.get("lifecycle") and case.target == "oss":
            yield Finding(
                "driver",
                task.name,
                "open-source KFP runs no preCacheCheck: {SPAN} and the input's fingerprint stay unresolved",
                "read logs with SessionExampleGen and pass the parameter data_fingerprint",
            )
        elif kind == "container" and case.target == "oss" and task.container.get("command") != ENTRY:
            yield Finding(
                "entry-point",
                task.name,
                "open-source KFP hands over artifacts without types, and TFX's own entry point stops at that",
                f"start it with {' '.join(ENTRY)}",
            )


def _imports(case: _Case) -> Iterator[Finding]:
    fix = "correct the path, or add its package to setup.py so that the image has it"
    for task, role, path in named_in(case.pipeline):
        if why := imports.unresolved(path):
            yield Finding("import", task, f"{role} {path}: {why}", fix)


def named_in(pipeline: CompiledPipeline) -> Iterator[tuple[str, str, str]]:
    """(task, role, import path) of every executor, function and metric that a task will import."""
    for task in pipeline.tasks().values():
        if path := task.argument("--executor_class_path"):
            yield task.name, "executor", path
        properties = task.task.get("inputs", {}).get("parameters", {})
        for name in _FUNCTIONS:
            path = properties.get(name, {}).get("runtimeValue", {}).get("constant")
            if isinstance(path, str) and path:
                yield task.name, name, path
        for module, name in _metrics(properties):
            yield task.name, "metric", f"{module}.{name}"


def _metrics(properties: dict) -> Iterator[tuple[str, str]]:
    text = properties.get("eval_config", {}).get("runtimeValue", {}).get("constant")
    config = json.loads(text) if isinstance(text, str) else {}
    for spec in config.get("metrics_specs", []):
        for metric in spec.get("metrics", []):
            if metric.get("module"):
                yield metric["module"], metric["class_name"]


def _artifact_types(case: _Case) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for task in case.pipeline.tasks().values():
        for side in ("inputDefinitions", "outputDefinitions"):
            for key, declared in task.component.get(side, {}).get("artifacts", {}).items():
                schema = yaml.safe_load(declared.get("artifactType", {}).get("instanceSchema", "") or "{}")
                title = declared.get("artifactType", {}).get("schemaTitle") or schema.get("title", "")
                if title.startswith(("tfx.", "system.")) or (task.name, key) in seen:
                    continue
                seen.add((task.name, key))
                where = f"{task.name}.{key}"
                if schema.get("properties"):
                    yield Finding(
                        "artifact-type",
                        where,
                        f"{title} declares PROPERTIES, which KFP's format drops",
                        "use custom properties",
                    )
                if not _TITLE.fullmatch(title):
                    yield Finding(
                        "artifact-type",
                        where,
                        f"{title!r} is no type name that KFP keeps",
                        "name it <package>.<Class>, as in components.Sessions",
                    )
                elif why := imports.unresolved(title):
                    yield Finding(
                        "artifact-type", where, f"{title}: {why}", "export the class from its top package"
                    )


def _parameters(case: _Case) -> Iterator[Finding]:
    declared = case.pipeline.parameters
    if case.arguments is not None:
        for name, each in declared.items():
            if "defaultValue" not in each and not each.get("isOptional") and name not in case.arguments:
                yield Finding(
                    "parameter",
                    name,
                    "it has no default and the submission gives no value",
                    f"pass --argument {name}=...",
                )
    for task in case.pipeline.tasks().values():
        given = task.task.get("inputs", {}).get("parameters", {})
        wanted = task.component.get("inputDefinitions", {}).get("parameters", {})
        for name, source in given.items():
            root = source.get("componentInputParameter")
            if root is not None and root not in declared:
                yield Finding(
                    "parameter",
                    f"{task.name}.{name}",
                    f"it reads the pipeline parameter {root}, which is not declared",
                    f"declare {root} in root.inputDefinitions.parameters, or compile again",
                )
            if name not in wanted:
                yield Finding(
                    "parameter",
                    f"{task.name}.{name}",
                    "its component does not declare it: the driver refuses the task",
                    "declare it in the component's inputDefinitions, or compile again",
                )
        for name, each in wanted.items():
            if name not in given and "defaultValue" not in each and not each.get("isOptional"):
                yield Finding(
                    "parameter",
                    f"{task.name}.{name}",
                    "the component needs it and the task does not give it",
                    "give it in the task's inputs, or compile again",
                )


def _artifacts(case: _Case) -> Iterator[Finding]:
    tasks = case.pipeline.tasks()
    for task in tasks.values():
        given = task.task.get("inputs", {}).get("artifacts", {})
        for key, source in given.items():
            made = source.get("taskOutputArtifact", {})
            producer = tasks.get(made.get("producerTask", ""))
            outputs = producer.component.get("outputDefinitions", {}).get("artifacts", {}) if producer else {}
            if made.get("outputArtifactKey") not in outputs:
                yield Finding(
                    "artifact",
                    f"{task.name}.{key}",
                    f"no task {made.get('producerTask')} makes {made.get('outputArtifactKey')}",
                    "connect it with an output that exists, or compile again",
                )
        for key, each in task.component.get("inputDefinitions", {}).get("artifacts", {}).items():
            if key not in given and not each.get("isOptional"):
                yield Finding(
                    "artifact",
                    f"{task.name}.{key}",
                    "the component needs this artifact and no task gives it",
                    "connect it, or compile again",
                )


def _names(case: _Case) -> Iterator[Finding]:
    names = Counter(
        each.task.get("taskInfo", {}).get("name", each.name) for each in case.pipeline.tasks().values()
    )
    for name, count in names.items():
        if count > 1:
            yield Finding(
                "duplicate-name",
                name,
                f"{count} tasks have this name, so their artifacts would share names and folders",
                "give every task its own with_id(...)",
            )
    for task in case.pipeline.tasks().values():
        inputs = task.component.get("inputDefinitions", {}).get("artifacts", {})
        for key in sorted(inputs.keys() & task.component.get("outputDefinitions", {}).get("artifacts", {})):
            yield Finding(
                "duplicate-name",
                f"{task.name}.{key}",
                "an input and an output of one task have the same name",
                "rename one of them",
            )


def _images(case: _Case) -> Iterator[Finding]:
    by_image: dict[str, list[str]] = {}
    for task in case.pipeline.tasks().values():
        if task.container:
            by_image.setdefault(task.container.get("image", ""), []).append(task.name)
    for image, names in by_image.items():
        if not _DIGEST.fullmatch(image):
            yield Finding(
                "image",
                image or "(none)",
                f"no digest: {len(names)} tasks may run other code tomorrow, and the cache would not notice",
                "compile with --image NAME@sha256:<64 hex digits>, which `docker push` prints",
            )


def _resources(case: _Case) -> Iterator[Finding]:
    for task in case.pipeline.tasks().values():
        limits = task.container.get("resources", {})
        broken = False
        for key, quantity in limits.items():
            if key == "accelerator":
                continue
            pattern = CPU if "cpu" in key.lower() else MEMORY
            good = (
                quantity >= 0 if isinstance(quantity, int | float) else re.fullmatch(pattern, str(quantity))
            )
            if not good:
                broken = True
                yield Finding(
                    "resources",
                    f"{task.name}.{key}",
                    f"{quantity!r} is no Kubernetes quantity: the pod is never created",
                    "write 500m or 2 for cpu, 4G or 512Mi for memory",
                )
        for kind, amount in (("Cpu", cores), ("Memory", gigabytes)):
            request, limit = limits.get(f"resource{kind}Request"), limits.get(f"resource{kind}Limit")
            if request and limit and not broken and amount(request) > amount(limit):
                yield Finding(
                    "resources",
                    f"{task.name}.resource{kind}Request",
                    f"it asks for {request} and may use {limit}: the pod is never created",
                    "make the request no larger than the limit",
                )


def _cache(case: _Case) -> Iterator[Finding]:
    for task in case.pipeline.tasks().values():
        if not task.task.get("cachingOptions", {}).get("enableCache"):
            continue
        inputs = task.task.get("inputs", {})
        parameters = inputs.get("parameters", {})
        reads_logs = (
            not inputs.get("artifacts") and {"fingerprint", "source", "input_base"} & parameters.keys()
        )
        fed = {each.get("componentInputParameter") for each in parameters.values()}
        if reads_logs and FINGERPRINT not in fed:
            yield Finding(
                "cache",
                task.name,
                "it reads logs and is cached, but nothing in its key changes when the logs do",
                f"feed it the pipeline parameter {FINGERPRINT}, or turn its cache off",
            )
        if task.name in READS_SERVING_DIR:
            yield Finding(
                "cache",
                task.name,
                "its answer depends on what is published, which no cache key knows",
                "leave enableCache out of its cachingOptions",
            )
    if "defaultValue" in case.pipeline.parameters.get(FINGERPRINT, {}):
        yield Finding(
            "cache",
            FINGERPRINT,
            "a default fingerprint makes runs on changed logs look like runs on the old ones",
            "remove the default; `cabb kubeflow submit` computes the value",
        )


def _order(case: _Case) -> Iterator[Finding]:
    try:
        case.pipeline.sorter()
    except InputError as error:
        yield Finding("order", "dag", str(error), "compile again; do not edit dependentTasks by hand")


def _conditions(case: _Case) -> Iterator[Finding]:
    for task in case.pipeline.tasks().values():
        condition = task.task.get("triggerPolicy", {}).get("condition")
        if condition:
            try:
                conditions.parse(condition)
            except InputError as error:
                yield Finding(
                    "condition", task.name, str(error), "compare an input's metadata with a constant"
                )


def _platform(case: _Case) -> Iterator[Finding]:
    known = {each.component.get("executorLabel") for each in case.pipeline.tasks().values()}
    if case.pipeline.platform and case.target == "vertex":
        yield Finding(
            "platform",
            "platforms",
            "Vertex AI knows no volumes of Kubernetes",
            "compile with --target vertex and read from /gcs/<bucket>",
        )
    kubernetes = case.pipeline.platform.get("platforms", {}).get("kubernetes", {})
    for label in kubernetes.get("deploymentSpec", {}).get("executors", {}).keys() - known:
        yield Finding("platform", label, "it belongs to no task", "compile again")


def _volumes(case: _Case) -> Iterator[Finding]:
    """Logs and versions are files: each task that reads or writes them needs the volume that they are on."""
    executors = case.pipeline.platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {})

    def mounts(task: Task) -> list[str]:
        if case.target == "vertex":
            return ["/gcs"]
        own = executors.get("executors", {}).get(task.component.get("executorLabel"), {})
        return [each["mountPath"] for each in own.get("pvcMount", [])]

    values = {name: each.get("defaultValue") for name, each in case.pipeline.parameters.items()}
    values |= case.arguments or {}
    for name in PATHS:
        readers = [
            each
            for each in case.pipeline.tasks().values()
            if name in json.loads(each.argument("--runtime") or "{}").get("fills", {}).values()
        ]
        value = values.get(name)
        for path in value if isinstance(value, list) else [value]:
            lost = [
                each.name
                for each in readers
                if path and not any(PurePosixPath(path).is_relative_to(mount) for mount in mounts(each))
            ]
            if lost:
                yield Finding(
                    "volume",
                    name,
                    f"{path} is in no volume of {', '.join(lost)}: it is not there when the pod starts, and "
                    "gone when it ends",
                    "put it below /gcs/<bucket>"
                    if case.target == "vertex"
                    else "mount its volume (kubeflow.volumes: {<claim>: <path>}), or name a path inside one",
                )


RULES: tuple[Rule, ...] = (
    _format,
    _pipeline_root,
    _executors,
    _imports,
    _artifact_types,
    _parameters,
    _artifacts,
    _names,
    _images,
    _resources,
    _cache,
    _order,
    _conditions,
    _platform,
    _volumes,
)
