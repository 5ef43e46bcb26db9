"""What a person sees while the pipeline runs: a line per finished node, and how far the running one is."""

import re
import time
from contextlib import AbstractContextManager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipeline.local_runner import NodeEnd

_STEP = re.compile(rb"step [\d,]+ of [\d,]+")
_TAIL_BYTES = 4096


class RunProgress(AbstractContextManager):
    """Prints nodes as they end; the line below them names the running one, its seconds and its last step.

    Args:
        console: where to.
        log: the run's log, in which the trainer reports its steps.
    """

    def __init__(self, console: Console, log: Path) -> None:
        self.node = ""
        self._console = console
        self._log = log
        self._began = time.monotonic()
        self._read_from = 0
        self._status = console.status(self)

    def __enter__(self) -> "RunProgress":
        self._status.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._status.stop()

    def starts(self, node: str) -> None:
        """A node begins."""
        self.node, self._began = node, time.monotonic()
        self._read_from = self._log.stat().st_size

    def ends(self, node: NodeEnd) -> None:
        """A node is done."""
        took = "cached" if node.cached else f"{node.seconds:6.1f} s"
        self._console.print(f"  {node.name:<22}{took}", highlight=False)

    def __rich__(self) -> Text:
        seconds = time.monotonic() - self._began
        return Text(f"{self.node}  {seconds:.0f} s  {self._last_step()}")

    def _last_step(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(self._read_from, self._log.stat().st_size - _TAIL_BYTES))
            steps = _STEP.findall(log.read())
        return steps[-1].decode() if steps else ""
