"""What was scored, for later: a sample of rows as tf.Examples, in files that do not grow without end.

    log = ScoreLog(Path("logs/scores"), share=0.01)
    with Client("127.0.0.1:8500", "cabb", log=log) as client:
        client.score(columns)

A row holds the features, every further column that was given (user_id and the like, which later labels are
found by), the scores, `model_version` and `scored_at_us`. TensorFlow Serving has no request log of its own,
and does not see the keys; a client does.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from schemas.tfrecord import framed
from serving import wire

PATTERN = "scores-*.tfrecord"
VERSION, MOMENT = "model_version", "scored_at_us"


class ScoreLog:
    """Writes scored rows; may be shared by threads.

    Args:
        folder: is made if it is not there.
        share: of the requests, in [0, 1], drawn at random.
        max_rows: of one request, spread evenly over it.
        max_mb: of one file (10^6 bytes), which then is closed and followed by another.
        files: that are kept; the oldest go first.
        seed: of the draws; None differs from process to process.
    """

    def __init__(
        self,
        folder: Path,
        share: float = 0.01,
        max_rows: int = 20,
        max_mb: float = 64.0,
        files: int = 16,
        seed: int | None = None,
    ):
        self._folder, self._share, self._max_rows = folder, share, max_rows
        self._max_bytes, self._files = max_mb * 1e6, files
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._written = 0
        self._failing = False

    def write(self, columns: Mapping[str, Any], scores: Mapping[str, np.ndarray], version: int) -> None:
        """Keeps some rows of a request, or none. What cannot be written is lost, and said once.

        Args:
            columns: what was asked, a column or one value each.
            scores: by output, each [rows].
        """
        if self._random.random() >= self._share or not scores:
            return
        rows = len(next(iter(scores.values())))
        chosen = np.unique(np.linspace(0, rows - 1, min(rows, self._max_rows)).astype(int)).tolist()
        more = {VERSION: version, MOMENT: time.time_ns() // 1000}
        data = framed(_example(columns, scores, more, row, rows) for row in chosen)
        with self._lock:
            try:
                self._append(data)
                self._failing = False
            except OSError as error:
                if not self._failing:
                    logging.warning("scores are not logged: %s", error)
                self._failing = True

    def _append(self, data: bytes) -> None:
        if self._path is None or self._written + len(data) > self._max_bytes:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path, self._written = self._new_path(), 0
            for old in sorted(self._folder.glob(PATTERN))[: -self._files + 1 or None]:
                old.unlink(missing_ok=True)
        with self._path.open("ab") as file:
            file.write(data)
        self._written += len(data)

    def _new_path(self) -> Path:
        moment = time.time_ns()
        return self._folder / PATTERN.replace("*", f"{moment:020d}-{os.getpid()}")


def _example(
    columns: Mapping[str, Any], scores: Mapping[str, np.ndarray], more: Mapping[str, int], row: int, rows: int
) -> bytes:
    example = wire.Example()
    values = {name: _value(each, row, rows) for name, each in columns.items()}
    for name, value in {**values, **{n: s[row] for n, s in scores.items()}, **more}.items():
        if value is not None:
            _put(example.features.feature[name], value)
    return example.SerializeToString()


def _value(values: Any, row: int, rows: int) -> Any:
    """A row's value of a column, of one value for all rows, or of one list for all rows."""
    if isinstance(values, str | bytes | int | float | np.generic):
        return values
    if len(values) != rows or (
        rows == 1 and isinstance(values, list) and values and isinstance(values[0], str)
    ):
        return list(values)
    value = values[row]
    return value.as_py() if hasattr(value, "as_py") else value


def _put(feature: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    several = list(value) if isinstance(value, list | tuple) else [value]
    if all(isinstance(each, str | bytes) for each in several):
        text = [each.encode() if isinstance(each, str) else each for each in several]
        feature.bytes_list.value.extend(each for each in text if each or len(text) == 1)
    elif all(isinstance(each, int | np.integer) for each in several):
        feature.int64_list.value.extend(map(int, several))
    else:
        feature.float_list.value.extend(map(float, several))
