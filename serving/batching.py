"""Concurrent requests computed together: one run of the graph for all that wait.

The first request of a batch waits a moment for others of the same kind (signature, outputs, types and shapes
but for the rows), computes all of them and hands everyone their rows. As in TensorFlow Serving an error of
the run is everyone's error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass
class _Batch:
    parts: list[Arrays] = field(default_factory=list)
    rows: int = 0
    full: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    outputs: Arrays | None = None
    error: BaseException | None = None


class Batcher:
    """Forms batches.

    Args:
        max_rows: a batch is computed at once when the next request would not fit.
        wait_s: how long the first request of a batch waits for others.
    """

    def __init__(self, max_rows: int, wait_s: float):
        self._max_rows, self._wait_s = max_rows, wait_s
        self._lock = threading.Lock()
        self._open: dict[Hashable, _Batch] = {}

    def run(self, kind: Hashable, arrays: Arrays, compute: Callable[[Arrays], Arrays]) -> Arrays:
        """The outputs of one request, [its rows, ...].

        Args:
            kind: requests of one kind may be computed together.
            arrays: inputs by name, [rows, ...].
            compute: outputs by name of any number of rows; outputs have as many rows.
        """
        rows = len(next(iter(arrays.values())))
        kind = (kind, tuple((name, a.dtype.str, a.shape[1:]) for name, a in sorted(arrays.items())))
        with self._lock:
            batch = self._open.get(kind)
            if batch and batch.rows + rows > self._max_rows:
                batch.full.set()
                batch = None
            leads = batch is None
            if leads:
                batch = self._open[kind] = _Batch()
            begin = batch.rows
            batch.parts.append(arrays)
            batch.rows += rows
            if batch.rows >= self._max_rows:
                batch.full.set()
        if leads:
            batch.full.wait(self._wait_s)
            with self._lock:
                if self._open.get(kind) is batch:
                    del self._open[kind]
            self._compute(batch, compute)
        else:
            batch.done.wait()
        if batch.error is not None:
            raise batch.error
        return {name: values[begin : begin + rows] for name, values in batch.outputs.items()}

    def _compute(self, batch: _Batch, compute: Callable[[Arrays], Arrays]) -> None:
        try:
            whole = batch.parts[0]
            if len(batch.parts) > 1:
                whole = {name: np.concatenate([part[name] for part in batch.parts]) for name in whole}
            batch.outputs = compute(whole)
        except BaseException as error:
            batch.error = error
        finally:
            batch.done.set()
