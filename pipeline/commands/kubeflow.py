"""`cabb kubeflow`: the pipeline on a cluster, from the compiled file to the verdict."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

EXIT_FAILED, EXIT_FINDINGS, EXIT_BLOCKED = 1, 2, 3

_FILE = click.argument("file", type=click.Path(path_type=Path))
_ROOT = click.option("--pipeline-root", default="", help="Where artifacts go, instead of the file's own.")
_ARGUMENTS = click.option(
    "--argument", "arguments", multiple=True, metavar="NAME=VALUE", help="A runtime parameter; may repeat."
)


@click.group()
def kubeflow() -> None:
    """Compile, check, rehearse and submit the pipeline for Kubeflow.

    \b
    Examples:
      cabb kubeflow compile --image registry/cabb@sha256:... --output pipeline.yaml
      cabb kubeflow check pipeline.yaml
      cabb kubeflow run-local pipeline.yaml --pipeline-root runs/rehearsal --oss
      cabb kubeflow submit pipeline.yaml --host http://localhost:8080
    """


@kubeflow.command("compile")
@click.option("--image", required=True, help="Image of every task, with its digest: NAME@sha256:...")
@click.option("--target", type=click.Choice(["oss", "vertex"]), default="oss", show_default=True)
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="YAML settings.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("pipeline.yaml"),
    show_default=True,
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override one setting; may repeat."
)
def compile_command(
    image: str, target: str, config_path: Path | None, output: Path, settings: tuple[str, ...]
) -> None:
    """Write the pipeline in KFP's format, then check it.

    \b
    Examples:
      cabb kubeflow compile --config my-store.yaml --image registry/cabb@sha256:...
      cabb kubeflow compile --target vertex --image ... --set kubeflow.pipeline_root=gs://bucket/cabb
    """
    from pipeline.commands.run import parse_setting
    from pipeline.config import load_config
    from schemas.output import writable, write_whole

    config = load_config(config_path, dict(parse_setting(each) for each in settings))
    writable(output.parent)
    _set_up_tensorflow()
    from pipeline.kubeflow.runner import compile_pipeline

    write_whole(output, compile_pipeline(config, image, target).to_yaml())
    sys.exit(_print_findings(output, target, None, ""))


@kubeflow.command()
@_FILE
@click.option("--target", type=click.Choice(["oss", "vertex"]), default="oss", show_default=True)
@_ROOT
@_ARGUMENTS
def check(file: Path, target: str, pipeline_root: str, arguments: tuple[str, ...]) -> None:
    """Say what a backend would refuse or do wrong, why, and how to mend it. Exit code 2 if anything.

    With --argument or --pipeline-root a submission is judged too.

    \b
    Examples:
      cabb kubeflow check pipeline.yaml
      cabb kubeflow check pipeline.yaml --target vertex
      cabb kubeflow check pipeline.yaml --argument eval_start=2016-10-01
    """
    from pipeline.kubeflow import spec
    from pipeline.kubeflow.arguments import checked_arguments, parsed

    pipeline = spec.load(file)
    given = checked_arguments(pipeline, parsed(pipeline, arguments)) if arguments else None
    sys.exit(_print_findings(file, target, given, pipeline_root))


@kubeflow.command("run-local")
@_FILE
@click.option(
    "--pipeline-root", type=click.Path(path_type=Path), required=True, help="Folder for the run's artifacts."
)
@_ARGUMENTS
@click.option("--oss", is_flag=True, help="Blank what the open-source backend blanks: artifact types, names.")
@click.option("--cache", is_flag=True, help="Answer as KFP's cache would, from earlier runs in this folder.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Tasks at a time.")
def run_local(
    file: Path, pipeline_root: Path, arguments: tuple[str, ...], oss: bool, cache: bool, workers: int
) -> None:
    """Execute a compiled pipeline here, task by task, each as its container would.

    \b
    Examples:
      cabb kubeflow run-local pipeline.yaml --pipeline-root runs/rehearsal
      cabb kubeflow run-local pipeline.yaml --pipeline-root runs/rehearsal --oss --argument lambda_cabb=0.5
    """
    sys.exit(_run_local(file, pipeline_root.resolve(), arguments, oss, cache, workers))


@kubeflow.command()
@_FILE
@click.option("--host", required=True, help="Address of the KFP API, as in http://localhost:8080.")
@click.option("--namespace", help="Of a multi-user installation.")
@click.option("--experiment", default="cabb", show_default=True)
@_ROOT
@_ARGUMENTS
@click.option("--timeout", default=24.0, show_default=True, help="Hours to wait.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the verdict.")
def submit(
    file: Path,
    host: str,
    namespace: str | None,
    experiment: str,
    pipeline_root: str,
    arguments: tuple[str, ...],
    timeout: float,
    wait: bool,
) -> None:
    """Upload a compiled pipeline, run it, wait, and print the verdict.

    The logs' fingerprint is computed where they can be read; elsewhere pass --argument data_fingerprint=...

    \b
    Examples:
      cabb kubeflow submit pipeline.yaml --host http://localhost:8080
      cabb kubeflow submit pipeline.yaml --host http://ml-pipeline:8888 --argument eval_start=2016-10-01
    """
    from rich.console import Console

    from pipeline.kubeflow import rules, spec
    from pipeline.kubeflow.arguments import complete_arguments, parsed
    from pipeline.kubeflow.submission import Submission, submit_and_wait

    console = Console()
    pipeline = spec.load(file)
    given = complete_arguments(pipeline, parsed(pipeline, arguments))
    findings = rules.check(pipeline, "oss", given, pipeline_root)
    if findings:
        _print(findings, file, console)
        sys.exit(EXIT_FINDINGS)
    root = pipeline_root or pipeline.pipeline["defaultPipelineRoot"]
    submission = Submission(file, pipeline.name, given, root, experiment, namespace)
    sys.exit(submit_and_wait(submission, host, console, timeout * 3600 if wait else 0))


def _run_local(file: Path, root: Path, written: tuple[str, ...], oss: bool, cache: bool, workers: int) -> int:
    from rich.console import Console

    from pipeline.kubeflow import rules, spec
    from pipeline.kubeflow.arguments import complete_arguments, parsed
    from pipeline.kubeflow.run_local import LocalExecution, TaskEnd, TaskFailed, new_run_id
    from schemas.output import writable

    console = Console()
    pipeline = spec.load(file)
    arguments = complete_arguments(pipeline, parsed(pipeline, written))
    unusable = [
        each
        for each in rules.check(pipeline, "oss", arguments, "s3://not-used")
        if each.rule not in ("image", "platform", "resources", "volume")
    ]
    if unusable:
        _print(unusable, file, console)
        return EXIT_FINDINGS
    folder = writable(root) / new_run_id()

    def ends(task: TaskEnd) -> None:
        took = task.state
        if task.state == "succeeded":
            took = f"{task.seconds:6.1f} s {task.cpu_seconds:6.1f} CPU-s {task.peak_gigabytes:5.1f} GB"
        console.print(f"  {task.name:<22}{took}", highlight=False)

    console.print(f"[bold]{pipeline.name}[/]  task by task, in {folder}", soft_wrap=True, highlight=False)
    with console.status("starting") as status:
        execution = LocalExecution(
            pipeline,
            folder,
            arguments,
            oss,
            root / ".cache" if cache else None,
            workers,
            lambda name: status.update(f"{name} ..."),
            ends,
        )
        try:
            artifacts = execution.run()
        except TaskFailed as error:
            console.print(str(error), markup=False, highlight=False, soft_wrap=True)
            return EXIT_FAILED
    page = artifacts.get(("RunReport", "page"))
    if not page:
        return 0
    return print_verdict(Path(page[0]["uri"]), console)


def print_verdict(page: Path, console: Any) -> int:
    """Prints the verdict of a run's page; returns the exit code that goes with it."""
    from components.run_report.results import PAGE_FILE, load_results
    from pipeline.commands.report import print_results

    results = load_results(page)
    print_results(results, console)
    console.print(f"report: {page / PAGE_FILE}", soft_wrap=True, highlight=False)
    return 0 if results["verdict"]["pushed"] else EXIT_BLOCKED


def _print_findings(file: Path, target: str, arguments: Mapping[str, Any] | None, root: str) -> int:
    from rich.console import Console

    from pipeline.kubeflow import rules, spec
    from pipeline.kubeflow.parameters import FINGERPRINT

    console = Console()
    pipeline = spec.load(file)
    if arguments is not None:
        arguments = {FINGERPRINT: "computed by submit", **arguments}
    findings = rules.check(pipeline, target, arguments, root)
    _print(findings, file, console)
    for name, each in pipeline.parameters.items():
        if arguments is None and "defaultValue" not in each and name != FINGERPRINT:
            hint = f"{name} has no default: a submission has to pass --argument {name}=..."
            console.print(hint, highlight=False, soft_wrap=True)
    return EXIT_FINDINGS if findings else 0


def _print(findings: list[Any], file: Path, console: Any) -> None:
    for each in findings:
        console.print(f"[bold red]{each.rule}[/]  [bold]{each.where}[/]", highlight=False, soft_wrap=True)
        console.print(f"  why: {each.reason}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"  fix: {each.fix}", markup=False, highlight=False, soft_wrap=True)
    state = f"{len(findings)} to mend" if findings else "nothing to mend"
    console.print(f"{file}: {state}", highlight=False, soft_wrap=True)


def _set_up_tensorflow() -> None:
    # Both are read once, when TensorFlow is imported.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
