"""A generator that runs in a process of its own and passes on what it yields.

TensorFlow keeps the graph and the rows of every training for as long as its process lives, and its threads
can keep a process from ending by itself: so trainings are given a process, and it is killed after them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from schemas.errors import InputError


class ChildProcess:
    """Runs `work(*args)`, which travels by pickle, until it ends, is killed, or the parent ends.

    Attributes:
        receiver: readable when there is something to hear.
    """

    def __init__(self, work: Callable[..., Iterator[Any]], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(sender, work, *args), daemon=True)
        self._process.start()
        sender.close()

    def hear(self) -> Any:
        """What the generator yields next; waits for it.

        Raises:
            Exception: what the generator raised.
            InputError: the process was killed, as the system does when memory runs out.
        """
        try:
            told = self.receiver.recv()
        except EOFError:
            self._process.join()
            raise InputError(
                f"a training process was killed (exit code {self._process.exitcode}), perhaps for want of "
                "memory; the same command again goes on where it was"
            ) from None
        if isinstance(told, Exception):
            raise told
        return told

    def kill(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.join()


def _run(sender: Connection, work: Callable[..., Iterator[Any]], *args: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process; the parent kills
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        for each in work(*args):
            sender.send(each)
    except Exception as error:
        sender.send(error)


def _end_with_parent() -> None:
    """A parent that was killed could not end its children."""
    multiprocessing.parent_process().join()
    os._exit(1)
