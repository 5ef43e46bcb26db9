"""Entry point of every task's container: `python -m pipeline.kubeflow.task`.

Makes up for what the backend leaves out (`pipeline.kubeflow.open_source`), runs the executor, and reports as
the backend wants to read it.
"""

import argparse
import copy
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.kubeflow import open_source
from pipeline.kubeflow.execute import execute
from pipeline.kubeflow.parameters import PREFIX, RUN_ID

RUNS = ".runs"
"""Beside the published versions: the page of every run. TensorFlow Serving ignores it."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one task.

    Raises:
        SystemExit: with 1 and one line when the input cannot be used, with a traceback for anything else.
    """
    from schemas.errors import InputError

    ours, theirs = _parser().parse_known_args(argv)
    runtime = json.loads(ours.runtime)
    given = json.loads(ours.json_serialized_invocation_args)
    inputs_spec = json.loads(ours.json_serialized_inputs_spec_args)
    outputs_spec = json.loads(ours.json_serialized_outputs_spec_args)
    executor_input = prepared(given, inputs_spec, outputs_spec, runtime)
    for found in executor_input.get("outputs", {}).get("artifacts", {}).values():
        for artifact in found["artifacts"]:
            os.makedirs(artifact["uri"], exist_ok=True)
    try:
        output = execute(ours.executor_class_path, executor_input, inputs_spec, theirs)
    except InputError as error:
        sys.exit(f"{type(error).__name__}: {error}")

    open_source.for_backend(output, given)
    file = Path(given["outputs"]["outputFile"])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(output))
    if runtime.get("keep_page"):
        values = given["inputs"]["parameterValues"]
        keep_page(executor_input, values[f"{PREFIX}serving_dir"], values[f"{PREFIX}{RUN_ID}"])


def prepared(given: dict, inputs_spec: dict, outputs_spec: dict, runtime: dict) -> dict:
    """The ExecutorInput that TFX understands, from the one that the backend gave.

    Args:
        given: the backend's.
        inputs_spec, outputs_spec: what the component declares.
        runtime: `fills`, `run_key`, `arguments`, `optional` (see `open_source.with_parameters`) and
            `curated_schema`, a mapping of what `write_schema` takes.
    """
    executor_input = copy.deepcopy(given)
    open_source.with_types(executor_input, inputs_spec, outputs_spec)
    open_source.with_names(executor_input)
    open_source.with_local_paths(executor_input)
    open_source.with_parameters(
        executor_input,
        runtime.get("fills", {}),
        runtime.get("run_key", ()),
        runtime.get("arguments", ()),
        runtime.get("optional", ()),
    )
    if "curated_schema" in runtime:
        open_source.with_curated_schema(executor_input, runtime["curated_schema"])
    return executor_input


def keep_page(executor_input: dict, serving_dir: str, run_id: str) -> None:
    """Copies the run's page beside the published versions, where `cabb kubeflow submit` finds the verdict."""
    page = Path(executor_input["outputs"]["artifacts"]["page"]["artifacts"][0]["uri"])
    folder = Path(serving_dir) / RUNS / run_id
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("report.html", "results.json"):
        draft = folder / f".{name}"
        shutil.copyfile(page / name, draft)
        draft.replace(folder / name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", default="{}")
    parser.add_argument("--json_serialized_outputs_spec_args", default="{}")
    parser.add_argument("--runtime", default="{}", help="JSON: what `prepared` and `main` do with parameters")
    return parser


if __name__ == "__main__":
    main()
