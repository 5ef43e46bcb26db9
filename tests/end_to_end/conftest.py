"""The run that the files of this folder share: made once, by whichever of pytest's processes is first."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from pipeline.config import Config
from pipeline.local_run import Outcome, RunResult
from schemas.lineage import Lineage, production
from tests.end_to_end.small_runs import SETTINGS, config_at, pushed_versions, run

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class GoodRun:
    """A run that was killed in the middle, started again, and pushed its model.

    Attributes:
        config: its settings.
        result: of the second start.
        printed: by the second start.
        pushed_before: versions that the killed start had published.
        lineage: of the version that the second one published.
    """

    config: Config
    result: RunResult
    printed: str
    pushed_before: list[str]
    lineage: Lineage


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all of pytest's processes."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def good(shared: Path) -> GoodRun:
    kept, form = shared / "good.json", TypeAdapter(GoodRun)
    with (shared / "good.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(form.dump_json(_killed_and_resumed(shared / "good")))
    return form.validate_json(kept.read_bytes())


def _killed_and_resumed(output: Path) -> GoodRun:
    config = config_at(output)
    output.mkdir()
    _start_and_kill(output)
    pushed = pushed_versions(config)
    result, printed = run(config)
    assert result.outcome is Outcome.PUSHED, f"{result.message}\n{printed}"
    version = production(output / "serving" / config.name)
    assert version is not None and version.lineage is not None
    return GoodRun(config, result, printed, pushed, version.lineage)


def _start_and_kill(output: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "run", "--output", str(output)]
    for key, value in SETTINGS.items():
        command += ["--set", f"{key}={value}"]
    said = output / "stdout.txt"
    with said.open("w") as stdout:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 300
        statistics = output / "artifacts/StatisticsGen/statistics"
        while not list(statistics.glob("*/Split-*/*")) and time.monotonic() < deadline:
            assert process.poll() is None, said.read_text()
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
