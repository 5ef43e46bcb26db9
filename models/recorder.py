"""What a training leaves behind while it runs: the curve, checkpoints and progress."""

from __future__ import annotations

import json
import os

import numpy as np
import tensorflow as tf

from models.fit import Training
from models.progress import Progress
from models.settings import ModelSettings

_CURVE = "curve.json"


class Recorder:
    """The training curve, checkpoints and progress.

    A window is `log_every_steps` steps; its NE is progressive: of predictions made before the update that
    used them, so in one pass it is an honest estimate on unseen rows.
    """

    def __init__(
        self,
        training: Training,
        settings: ModelSettings,
        curve_file: str,
        resume_dir: str | None,
        examples: int,
        title: str,
    ):
        self._settings, self._steps, self._examples = settings, training.steps, examples
        # A checkpoint falls on the end of a window, so that a resumed curve has the same windows.
        window = settings.log_every_steps
        self._save_every = -(-settings.checkpoint_every_steps // window) * window
        self._curve: list[dict] = []
        self._path = curve_file
        self._resume_dir = resume_dir
        self._board = tf.summary.create_file_writer(os.path.join(os.path.dirname(curve_file), "logs"))
        self._progress = Progress(title, training.steps)
        self._checkpoints = None
        if resume_dir:
            self._checkpoints = tf.train.CheckpointManager(training.state(), resume_dir, max_to_keep=2)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *error) -> None:
        self._progress.stop()
        self._board.close()

    def resume(self) -> int:
        """Restores the last checkpoint if there is one; returns the steps already done."""
        latest = self._checkpoints.latest_checkpoint if self._checkpoints else None
        step = 0
        if latest:
            self._checkpoints.checkpoint.restore(latest).assert_existing_objects_matched()
            with tf.io.gfile.GFile(f"{latest}.{_CURVE}") as file:
                self._curve = json.load(file)
            step = self._curve[-1]["step"]
            self._progress.say(f"going on from step {step:,} of {self._steps:,}")
        self._progress.start(step)
        return step

    def window(self, step: int, values: dict[str, float]) -> None:
        """Notes the figures of the window that ended with `step`."""
        examples = min(step * self._settings.batch_size, self._examples)
        # One class in a window has no NE; JSON has no NaN.
        finite = {name: value if np.isfinite(value) else None for name, value in values.items()}
        self._curve.append({"step": step, "examples": examples, **finite})
        with self._board.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._progress.update(step, {name: v for name, v in values.items() if v == v})
        if self._checkpoints and step % self._save_every == 0 and step < self._steps:
            self._save(step)

    def _save(self, step: int) -> None:
        tf.io.gfile.makedirs(self._resume_dir)
        # The curve first: a checkpoint that can be found must have its curve.
        write_json(os.path.join(self._resume_dir, f"ckpt-{step}.{_CURVE}"), self._curve)
        self._checkpoints.save(checkpoint_number=step)

    def finish(self) -> None:
        """Writes the curve and removes the checkpoints."""
        write_json(self._path, self._curve)
        if self._resume_dir and tf.io.gfile.exists(self._resume_dir):
            tf.io.gfile.rmtree(self._resume_dir)


def write_json(path: str, value) -> None:
    """Writes a JSON file whole or not at all."""
    temporary = f"{path}.tmp"
    with tf.io.gfile.GFile(temporary, "w") as file:
        file.write(json.dumps(value, indent=1, allow_nan=False) + "\n")
    tf.io.gfile.rename(temporary, path, overwrite=True)
