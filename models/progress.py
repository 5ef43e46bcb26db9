"""How far a training is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Reports steps of `total` on stderr."""

    def __init__(self, title: str, total: int):
        self._title, self._total = title, total
        self._console = Console(stderr=True)
        self._bar: Bar | None = None
        self._last_line = 0.0

    def start(self, step: int = 0) -> None:
        if self._console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[values]}"),
                console=self._console,
            )
            self._task = self._bar.add_task(self._title, total=self._total, completed=step, values="")
            self._bar.start()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        text = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        if self._bar:
            self._bar.update(self._task, completed=step, values=text)
        elif step >= self._total or time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.say(f"step {step:,} of {self._total:,}  {text}")

    def say(self, text: str) -> None:
        """One line, whatever the output is."""
        self._console.print(f"{self._title}: {text}", markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
