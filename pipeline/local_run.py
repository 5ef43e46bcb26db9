"""One run on this machine, start to verdict: progress on the console, everything else in the run's log."""

import json
import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from pipeline.config import Config
from pipeline.run_inputs import RunInputs, resolve
from schemas.errors import InputError
from schemas.output import writable

LOG_FILE = "log.txt"
HISTORY_FILE = "metadata.sqlite"
_SQLITE_MAGIC = b"SQLite format 3\0"


class Outcome(Enum):
    """How a run ended."""

    PUSHED = "pushed"
    BLOCKED = "blocked"
    ANOMALIES = "anomalies"
    FAILED = "failed"


@dataclass(frozen=True)
class RunResult:
    """What a run leaves to say.

    Attributes:
        outcome: how it ended.
        directory: config.yaml, log.txt and, after a verdict, report.html and results.json.
        results: the report's numbers; empty when there was no verdict.
        node: the node that failed, empty when none did.
        message: why it failed or what was anomalous.
    """

    outcome: Outcome
    directory: Path
    results: dict[str, Any]
    node: str = ""
    message: str = ""

    @property
    def log(self) -> Path:
        """Full log of the run."""
        return self.directory / LOG_FILE

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.directory / "report.html"


def run_locally(config: Config, console: Console, run_fn: str | None = None) -> RunResult:
    """Runs the pipeline; an identical earlier run answers from the cache.

    Args:
        config: the resolved configuration.
        console: where progress goes.
        run_fn: import path of another trainer's entry.

    Raises:
        InputError: the configuration or the logs cannot be used.
    """
    console.print(
        Text.assemble(("cabb run", "bold"), f" {config.name}  results: {config.output}"), soft_wrap=True
    )
    _refuse_unusable(config.output)
    inputs = _resolve_with_progress(config, console)
    directory = _new_directory(config.output / "runs", inputs.run_key)
    (directory / "config.yaml").write_text(f"# config_hash: {config.digest()}\n{config.to_yaml()}")
    with _log_to(directory / LOG_FILE):
        result = _run_nodes(config, inputs, directory, console, run_fn, directory.name)
        if result.outcome is Outcome.PUSHED and not Path(result.results["verdict"]["path"]).is_dir():
            # The cache remembers a push into a serving directory that was removed or restored since.
            run_id = f"{directory.name}-again"
            inputs = replace(inputs, push_state=f"{inputs.push_state}, in {run_id}")
            result = _run_nodes(config, inputs, directory, console, run_fn, run_id)
        return result


def _refuse_unusable(output: Path) -> None:
    writable(output)
    history, artifacts = output / HISTORY_FILE, output / "artifacts"
    if not history.is_file() and artifacts.is_dir() and any(artifacts.iterdir()):
        raise InputError(
            f"{history} is gone, but the results it described are there; restore it or remove {artifacts}"
        )
    if history.is_file() and history.stat().st_size:
        with history.open("rb") as file:
            if file.read(len(_SQLITE_MAGIC)) != _SQLITE_MAGIC:
                raise InputError(
                    f"{history} is not a run history; restore it or remove it together with {artifacts}"
                )


def _new_directory(runs: Path, run_key: str) -> Path:
    """A folder of its own for this run, named after the second it began in (UTC) and its key."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{run_key[:8]}"
    number = 1
    while (directory := runs / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    directory.mkdir(parents=True)
    return directory


def _resolve_with_progress(config: Config, console: Console) -> RunInputs:
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("simulated store", total=None, visible=config.data is None)
        return resolve(config, lambda done, total: bar.update(task, completed=done, total=total))


def _run_nodes(
    config: Config, inputs: RunInputs, directory: Path, console: Console, run_fn: str | None, run_id: str
) -> RunResult:
    with console.status("loading TFX"):
        from tfx.orchestration.metadata import sqlite_metadata_connection_config

        from components.anomaly_gate.anomalies import DataAnomalies
        from pipeline.local_runner import LocalRunner
        from pipeline.pipeline import TRAINER, create_pipeline
        from pipeline.progress import RunProgress

    pipeline = create_pipeline(config, inputs, run_fn or TRAINER)
    pipeline.metadata_connection_config = sqlite_metadata_connection_config(str(config.output / HISTORY_FILE))
    with RunProgress(console, directory / LOG_FILE) as progress:
        try:
            outputs = LocalRunner(run_id, progress.starts, progress.ends).run(pipeline)
        except Exception as error:
            logging.getLogger("cabb").exception("%s failed", progress.node)
            if (cause := _cause(error, InputError)) is not None:
                raise cause from None
            if (cause := _cause(error, DataAnomalies)) is not None:
                return RunResult(Outcome.ANOMALIES, directory, {}, progress.node, str(cause))
            return RunResult(Outcome.FAILED, directory, {}, progress.node, _last_line(error))

    page = Path(outputs["RunReport"]["page"])
    for name in ("report.html", "results.json"):
        shutil.copyfile(page / name, directory / name)
    results = json.loads((directory / "results.json").read_text())
    _point_latest_to(directory)
    return RunResult(Outcome.PUSHED if results["verdict"]["pushed"] else Outcome.BLOCKED, directory, results)


def _point_latest_to(directory: Path) -> None:
    """Makes `latest` beside the runs name this one, in one step."""
    draft = directory.parent / f".latest-{directory.name}"
    draft.symlink_to(directory.name)
    draft.replace(directory.parent / "latest")


def _cause(error: BaseException | None, kind: type[Exception]) -> Exception | None:
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None


def _last_line(error: Exception) -> str:
    lines = [each for each in str(error).splitlines() if each.strip()]
    return f"{type(error).__name__}: {lines[-1].strip() if lines else 'no message'}"


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Sends Python logging, warnings and everything written to standard error to a file."""
    sys.stderr.flush()
    saved = os.dup(2)
    with path.open("a", buffering=1) as log:
        os.dup2(log.fileno(), 2)
        handler = logging.StreamHandler(log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
        logging.captureWarnings(True)
        warnings.simplefilter("default")
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            root.handlers[:] = before
            root.setLevel(level)
            logging.captureWarnings(False)
