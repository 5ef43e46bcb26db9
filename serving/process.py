"""The emulator in a fresh process: nothing of this one helps it to load the model."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from pathlib import Path

from serving.limits import ServingLimits

ROOT = Path(__file__).resolve().parent.parent
_END_S = 10.0


class ServerProcess:
    """A served model, as a context manager.

    Args:
        name: of the model.
        base_path: directory with a folder per version.
        limits: of the server.
        start_s: seconds it may take until it serves.
        log: file for what the server writes; None drops it.

    Attributes:
        address: host:port of gRPC.
        rest_address: host:port of REST.
        errors: message by version that could not be loaded.

    Raises:
        RuntimeError: it ended, or did not serve in time.
    """

    def __init__(
        self,
        name: str,
        base_path: Path,
        limits: ServingLimits | None = None,
        start_s: float = 120.0,
        log: Path | None = None,
    ):
        self._arguments = [name, str(base_path), (limits or ServingLimits()).model_dump_json()]
        self._start_s, self._log = start_s, log
        self.errors: dict[int, str] = {}

    def __enter__(self) -> ServerProcess:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with open(self._log or os.devnull, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path, "TF_USE_LEGACY_KERAS": "1"},
            )
        try:
            told = json.loads(self._first_line())
        except BaseException:
            self.__exit__()
            raise
        self.address, self.rest_address = told["address"], told["rest_address"]
        self.errors = {int(number): message for number, message in told["errors"].items()}
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    @property
    def process_id(self) -> int:
        """Of the server."""
        return self._process.pid

    def peak_memory_mb(self) -> float:
        """Largest resident memory so far, in MB (10^6 bytes)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii", errors="replace")
        kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        return int(kibibytes) * 1024 / 1e6

    def _first_line(self) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(self._start_s):
                raise RuntimeError(f"the server did not start within {self._start_s:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended with code {self._process.wait()} before it served")
        return line
