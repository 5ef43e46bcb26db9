"""Uploads a compiled pipeline to a KFP installation, runs it, follows it and prints the verdict."""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.kubeflow.task import RUNS
from schemas.errors import InputError

EXIT_FAILED = 1
POLL_SECONDS = 10.0
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")


@dataclass(frozen=True)
class Submission:
    """What is submitted.

    Attributes:
        file: the compiled pipeline.
        name: of the pipeline; every content of the file is a version of it.
        arguments: value of every runtime parameter.
        pipeline_root: where artifacts are kept.
        experiment: the group that the run appears in.
        namespace: of a multi-user installation, else None.
    """

    file: Path
    name: str
    arguments: Mapping[str, Any]
    pipeline_root: str
    experiment: str
    namespace: str | None = None


def submit_and_wait(
    submission: Submission, host: str, console: Console, timeout: float, poll: float = POLL_SECONDS
) -> int:
    """Runs a submission; returns the exit code of its verdict (0 when it was not waited for).

    Args:
        submission: what to run.
        host: address of the KFP API.
        console: where progress goes.
        timeout: seconds to wait for the end; 0: do not wait.
        poll: seconds between two looks.

    Raises:
        InputError: nobody answers at `host`, or the installation refuses the pipeline.
    """
    import kfp_server_api
    import urllib3

    try:
        client = _client(host, submission.namespace)
        run_id = _start(client, submission)
        console.print(f"run {run_id}: {host}/#/runs/details/{run_id}", soft_wrap=True, highlight=False)
        if not timeout:
            return 0
        run = _follow(client, run_id, console, time.monotonic() + timeout, poll)
    except kfp_server_api.ApiException as error:
        body = " ".join(str(error.body or error.reason).split())
        raise InputError(f"{host} refused ({error.status}): {body[:500]}") from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise InputError(
            f"{host}: no KFP API answers there ({type(error).__name__}); correct --host"
        ) from None
    if run is None:
        console.print(f"still running after {timeout / 3600:g} h; the run goes on", highlight=False)
        return EXIT_FAILED
    if run.state != "SUCCEEDED":
        for task in _tasks(run):
            if task.state == "FAILED":
                why = task.error.message if task.error else "see its pod's log"
                console.print(f"[bold red]Failed[/] {task.display_name}: {why}", soft_wrap=True)
        console.print(f"run {run_id}: {run.state}", highlight=False)
        return EXIT_FAILED
    return _verdict(submission, run_id, console)


def _client(host: str, namespace: str | None) -> Any:
    import kfp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kfp.Client(host=host, namespace=namespace or "kubeflow")


def _start(client: Any, submission: Submission) -> str:
    """Uploads what is not there yet and creates the run; the SDK's own prints are kept off the console."""
    digest = hashlib.sha256(submission.file.read_bytes()).hexdigest()[:12]
    version_name = f"{submission.name}-{digest}"
    with contextlib.redirect_stdout(io.StringIO()):
        pipeline_id = client.get_pipeline_id(submission.name)
        if pipeline_id is None:
            uploaded = client.upload_pipeline(
                str(submission.file), submission.name, namespace=submission.namespace
            )
            pipeline_id = uploaded.pipeline_id
        found = client.list_pipeline_versions(pipeline_id, page_size=100, sort_by="created_at desc")
        versions = {each.display_name: each for each in found.pipeline_versions or []}
        version = versions.get(version_name) or client.upload_pipeline_version(
            str(submission.file), version_name, pipeline_id=pipeline_id
        )
        experiment = client.create_experiment(submission.experiment, namespace=submission.namespace)
        run = client.run_pipeline(
            experiment_id=experiment.experiment_id,
            job_name=f"{submission.name} {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())}",
            pipeline_id=pipeline_id,
            version_id=version.pipeline_version_id,
            params=dict(submission.arguments),
            pipeline_root=submission.pipeline_root,
        )
    return run.run_id


def _follow(client: Any, run_id: str, console: Console, until: float, poll: float) -> Any | None:
    """Prints every task as it ends; returns the run, None when time is up."""
    said: set[str] = set()
    with console.status("waiting") as status:
        while True:
            run = client.get_run(run_id)
            running = []
            for task in _tasks(run):
                if task.state == "RUNNING":
                    running.append(task.display_name)
                elif task.state in ENDED and task.task_id not in said:
                    said.add(task.task_id)
                    console.print(f"  {task.display_name:<22}{_took(task)}", highlight=False)
            status.update(f"{', '.join(running) or (run.state or 'pending').lower()} ...")
            if run.state in ENDED:
                return run
            if time.monotonic() > until:
                return None
            time.sleep(poll)


def _tasks(run: Any) -> list[Any]:
    """Tasks of the pipeline: the backend lists drivers and the root as well."""
    details = run.run_details.task_details if run.run_details else None
    hidden = ("root", "executor", "driver")
    return [
        each
        for each in details or []
        if each.display_name and not each.display_name.endswith(hidden) and each.state
    ]


def _took(task: Any) -> str:
    if task.state != "SUCCEEDED" or not (task.start_time and task.end_time):
        return task.state.lower()
    return f"{(task.end_time - task.start_time).total_seconds():6.0f} s"


def _verdict(submission: Submission, run_id: str, console: Console) -> int:
    """The verdict from the page beside the published versions, if that folder is mounted here."""
    page = Path(str(submission.arguments["serving_dir"])) / RUNS / run_id
    if not page.is_dir():
        console.print(
            f"the run ended well; its verdict is in {page}, which is not mounted here: "
            "open the page of RunReport in the KFP UI",
            soft_wrap=True,
            highlight=False,
        )
        return 0
    from pipeline.commands.kubeflow import print_verdict

    return print_verdict(page, console)
