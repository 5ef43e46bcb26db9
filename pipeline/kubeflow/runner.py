"""Compiles the pipeline into KFP's format (IR, spec 2.1): TFX's compiler, then what it leaves to be said.

TFX's Kubeflow compiler gives components, tasks and containers. Added here: runtime parameters with types and
defaults, limits, retries, which answers a cache may give, environment, volumes and the pipeline root.
"""

import difflib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

from components.session_example_gen.splits import SplitWindows
from pipeline.config import Config
from pipeline.fingerprint import run_key
from pipeline.kubeflow.parameters import (
    ARGUMENTS_IN,
    FINGERPRINT,
    PARAMETERS,
    PREFIX,
    READS_SERVING_DIR,
    RUN_ID,
    RUN_ID_IN,
    RUN_KEY_IN,
    Parameter,
    of_task,
)
from pipeline.kubeflow.settings import DEFAULTS, KubeflowSettings, cores, gigabytes
from pipeline.pipeline import TRAINER, create_pipeline
from pipeline.run_inputs import RunInputs, git_commit, last_days
from schemas.errors import InputError
from schemas.events import LogSource
from schemas.lineage import Lineage

Target = Literal["oss", "vertex"]
COMMAND = ("python", "-m", "pipeline.kubeflow.task")
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
GATES = ("AnomalyGate",)
"""Fail on purpose: asking again gives the same answer."""
RUN_TIME = "read when the task runs"
Json = dict[str, Any]


@dataclass(frozen=True)
class Compiled:
    """The two documents of a compiled file: KFP's pipeline, and volumes for Kubernetes (or None)."""

    pipeline: Json
    platform: Json | None

    def to_yaml(self) -> str:
        """Text of the file."""
        documents = [each for each in (self.pipeline, self.platform) if each]
        return yaml.dump_all(documents, Dumper=yaml.CSafeDumper, sort_keys=True, width=1000)


def compile_pipeline(config: Config, image: str, target: Target, run_fn: str = TRAINER) -> Compiled:
    """The pipeline of a configuration as KFP runs it.

    Args:
        config: resolved; its paths are those of the cluster's volumes.
        image: of every task, best with its digest.
        target: oss for open-source KFP, vertex for Vertex AI.
        run_fn: import path of another trainer's entry.

    Raises:
        InputError: real logs without evaluation days, or resources for a task that is not there.
    """
    settings = config.kubeflow
    inputs = _inputs(config, image)
    named = config.model_copy(update={"name": config.name.replace("_", "-"), "output": Path("pipeline-root")})
    tfx = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image=image, default_commands=list(COMMAND), use_pipeline_spec_2_1=True
        )
    )
    compiled = tfx.run(create_pipeline(named, inputs, run_fn), write_out=False)["pipelineSpec"]
    spec = json.loads(json.dumps(compiled))
    if settings.pipeline_root:
        spec["defaultPipelineRoot"] = settings.pipeline_root
    _declare_parameters(spec, _defaults(config, inputs))
    _refuse_unknown_tasks(settings, spec["root"]["dag"]["tasks"])
    for name, task in spec["root"]["dag"]["tasks"].items():
        component = spec["components"][task["componentRef"]["name"]]
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        runtime = _feed(name, task, component)
        if name == "ImportSchemaGen":
            runtime["curated_schema"] = {
                "context_columns": inputs.source.context_columns,
                "views": config.resolved_attribution().views,
            }
        if name == "RunReport":
            runtime["keep_page"] = True
        container["args"] += [
            "--json_serialized_outputs_spec_args",
            _text(component.get("outputDefinitions", {})),
        ]
        container["args"] += ["--runtime", _text(runtime)]
        container["env"] = [{"name": key, "value": value} for key, value in ENVIRONMENT.items()]
        container["resources"] = _limits(settings, name)
        task["cachingOptions"] = {} if name in READS_SERVING_DIR else {"enableCache": True}
        if settings.retries and name not in GATES:
            task["retryPolicy"] = {
                "maxRetryCount": settings.retries,
                "backoffDuration": "30s",
                "backoffFactor": 2.0,
                "backoffMaxDuration": "600s",
            }
    return Compiled(spec, _volumes(spec, settings) if target == "oss" else None)


def _inputs(config: Config, image: str) -> RunInputs:
    """What `create_pipeline` is told when logs and versions are on the cluster: nothing is looked at."""
    if config.data is None:
        store = config.output / "store"
        source = LogSource(
            events=[str(store / "events" / "*.parquet")],
            catalog=str(store / "catalog.parquet"),
            context_columns=["channel", "device", "country"],
        )
        windows = config.split or last_days(config.store, config.label_days(), config.model.needs_holdout)
    else:
        source = config.data
        if config.split is None:
            raise InputError("split.eval_start is missing: name the first evaluation day of your logs")
        windows = config.split
    key = run_key(config, RUN_TIME)
    return RunInputs(
        source=source,
        windows=windows,
        fingerprint=RUN_TIME,
        run_key=key,
        schema_file=Path("schema.pbtxt"),
        serving_dir=PurePosixPath(config.kubeflow.serving_dir, config.name),
        baseline_state=RUN_TIME,
        push_state=RUN_TIME,
        lineage=Lineage(
            run_key=key, config_hash=config.digest(), git_commit=git_commit(), image=image, **_days(windows)
        ),
    )


def _days(windows: SplitWindows) -> dict[str, str | None]:
    start, end = windows.train_start, windows.eval_end
    boundary = windows.eval_start.isoformat()
    return {
        "train_start": start and start.isoformat(),
        "train_end": boundary,
        "eval_start": boundary,
        "eval_end": end and end.isoformat(),
    }


def _defaults(config: Config, inputs: RunInputs) -> Json:
    """Default of every parameter; the data fingerprint has none: a default would hide changed data."""

    def text(day: date | None) -> str:
        return day.isoformat() if day else ""

    trained = config.model.model_dump(mode="json")
    if isinstance(config.model.lambda_cabb, str):
        raise InputError(
            f"model.lambda_cabb {config.model.lambda_cabb}: lambda is a number among a compiled pipeline's "
            "parameters; learn it with `cabb run` and compile with the value it reached"
        )
    return {
        "events": list(inputs.source.events),
        "catalog": inputs.source.catalog or "",
        "train_start": text(inputs.windows.train_start),
        "eval_start": text(inputs.windows.eval_start),
        "eval_end": text(inputs.windows.eval_end),
        "serving_dir": str(inputs.serving_dir),
        **{name: trained[name] for name in ("model", "lambda_cabb", "epochs", "batch_size", "seed")},
    }


def _declare_parameters(spec: Json, defaults: Mapping[str, Any]) -> None:
    declared = spec["root"].setdefault("inputDefinitions", {}).setdefault("parameters", {})
    for each in PARAMETERS:
        declared[each.name] = {"parameterType": each.kind, "description": each.description}
        if each.name != FINGERPRINT:
            declared[each.name]["defaultValue"] = defaults[each.name]


def _feed(name: str, task: Json, component: Json) -> Json:
    """Connects one task with the pipeline's parameters; returns what its entry point has to do with them."""
    fills: dict[str, str] = {}
    carried: dict[str, Parameter] = {}
    for parameter, path in of_task(name):
        fills[path] = parameter.name
        carried[parameter.name] = parameter
    keys, arguments = (
        [target.partition(".")[2] for target in targets if target.startswith(f"{name}.")]
        for targets in (RUN_KEY_IN, ARGUMENTS_IN)
    )
    if keys:
        carried |= {each.name: each for each in PARAMETERS if each.decisive or name == "RunReport"}
    inputs = task.setdefault("inputs", {}).setdefault("parameters", {})
    declared = component.setdefault("inputDefinitions", {}).setdefault("parameters", {})
    for each in carried.values():
        inputs[PREFIX + each.name] = {"componentInputParameter": each.name}
        declared[PREFIX + each.name] = {"parameterType": each.kind}
    for target in RUN_ID_IN:
        if target.startswith(f"{name}."):
            fills[target.partition(".")[2]] = RUN_ID
            inputs[PREFIX + RUN_ID] = {"runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}}
            declared[PREFIX + RUN_ID] = {"parameterType": "STRING"}
    optional = sorted(each.name for each in carried.values() if each.optional)
    if not carried:
        return {}
    return {"fills": fills, "run_key": keys, "arguments": arguments, "optional": optional}


def _refuse_unknown_tasks(settings: KubeflowSettings, tasks: Collection[str]) -> None:
    known = {*tasks, *DEFAULTS, "default"}
    for name in settings.resources.keys() - known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
        raise InputError(f"kubeflow.resources.{name}: no such task; {hint}")


def _limits(settings: KubeflowSettings, name: str) -> Json:
    """The quantities as text, which new backends read, and as numbers, which all do."""
    wanted = settings.resources_of(name)
    cpu, memory = cores(wanted.cpu), gigabytes(wanted.memory)
    return {
        "cpuLimit": cpu,
        "cpuRequest": cpu,
        "memoryLimit": memory,
        "memoryRequest": memory,
        "resourceCpuLimit": wanted.cpu,
        "resourceCpuRequest": wanted.cpu,
        "resourceMemoryLimit": wanted.memory,
        "resourceMemoryRequest": wanted.memory,
    }


def _volumes(spec: Json, settings: KubeflowSettings) -> Json | None:
    if not settings.volumes:
        return None
    mounts = [{"constant": claim, "mountPath": path} for claim, path in settings.volumes.items()]
    executors = {label: {"pvcMount": mounts} for label in spec["deploymentSpec"]["executors"]}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
