"""Training, from transformed examples to a SavedModel that is fit to serve: TFX Trainer's run_fn.

Same inputs, settings and code give the same model: seeds are fixed, batches come in a fixed order, ops are
deterministic. A killed training that is started again with the same inputs and settings goes on from its last
checkpoint and ends with the model it would have had.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from pydantic import ValidationError

from models import features as names
from models import inputs, registry
from models.conversion_model import TOTAL_LOSS, ConversionModel
from models.feature_space import FeatureSpace
from models.optimizers import be_deterministic, optimizers
from models.progress import Progress
from models.settings import ModelSettings
from models.signatures import ServedModel
from schemas.errors import InputError

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

CURVE_FILE = "training.json"
DESCRIPTION_FILE = os.path.join("assets.extra", "cabb.json")


def run_fn(fn_args: FnArgs) -> None:
    """TFX Trainer's entry point.

    `fn_args.custom_config["settings"]` is the JSON of a ModelSettings. Writes the SavedModel to
    `serving_model_dir`, and `training.json` and TensorBoard logs to `model_run_dir`.

    Raises:
      InputError: settings or data that cannot be used, or a training that diverged.
    """
    settings = _settings(fn_args.custom_config or {})
    transform = tft.TFTransformOutput(fn_args.transform_output)
    files = inputs.expand(fn_args.train_files)
    fingerprint = _fingerprint(settings, fn_args, files)
    model, summary = fit(
        settings,
        transform,
        files,
        run_dir=fn_args.model_run_dir,
        resume_dir=os.path.join(os.path.dirname(fn_args.model_run_dir.rstrip("/")), f"resume-{fingerprint}"),
        max_steps=fn_args.train_steps or None,
    )
    export(model, transform, fn_args.serving_model_dir, rows=summary.rows)


def _settings(custom_config) -> ModelSettings:
    try:
        return ModelSettings.model_validate_json(custom_config.get("settings") or "{}")
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"model settings: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _fingerprint(settings: ModelSettings, fn_args: FnArgs, files: list[str]) -> str:
    """Names a training: only one with equal inputs, settings and code may go on from its checkpoint."""
    code = (fn_args.custom_config or {}).get("code_hash", "")
    facts = [settings.model_dump_json(), code, fn_args.transform_output, fn_args.train_steps]
    facts += [(path, tf.io.gfile.stat(path).length) for path in files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def fit(
    settings: ModelSettings,
    transform: tft.TFTransformOutput,
    files: list[str],
    *,
    run_dir: str,
    resume_dir: str | None = None,
    max_steps: int | None = None,
) -> tuple[ConversionModel, inputs.LabelSummary]:
    """Trains a model; returns it with the summary of its training labels.

    Args:
      run_dir: gets `training.json` and `logs/`.
      resume_dir: checkpoints of unfinished trainings; removed at the end. None: no checkpoints.
      max_steps: upper bound of steps; None: `settings.epochs` passes.

    Raises:
      InputError: the data cannot be used, or the loss stopped being finite.
    """
    be_deterministic(settings.seed)
    spec = transform.transformed_feature_spec()
    summary = inputs.summarize_labels(files, spec)
    steps = -(-summary.rows * settings.epochs // settings.batch_size)
    steps = min(steps, max_steps) if max_steps else steps

    def batches(skip):
        return inputs.training_batches(
            files,
            spec,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            shuffle_rows=settings.shuffle_rows,
            seed=settings.seed,
            skip_batches=skip,
        )

    model = registry.create(settings, FeatureSpace.of_transform(transform, summary.base_rate))
    dense, embedding = optimizers(settings, steps)
    model.prepare(next(iter(batches(0).take(1))), dense=dense, embedding=embedding)
    model.compile()
    tf.io.gfile.makedirs(run_dir)
    recorder = _Recorder(model, run_dir, resume_dir, steps, summary.rows * settings.epochs)
    start = recorder.resume()
    if start < steps:
        model.fit(batches(start), steps_per_epoch=steps - start, epochs=1, verbose=0, callbacks=[recorder])
    recorder.finish()
    _refuse_non_finite(model)
    return model, summary


class _Recorder(tf_keras.callbacks.Callback):
    """The training curve, checkpoints and progress; stops a training whose loss is not finite.

    A window is `log_every_steps` steps; its NE is progressive: of predictions made before the update that
    used them, so in one pass it is an honest estimate on unseen rows.
    """

    _supports_tf_logs = True  # spares a copy of every batch's values to Python

    def __init__(self, model: ConversionModel, run_dir: str, resume_dir: str | None, steps: int, rows: int):
        super().__init__()
        self._settings, self._steps, self._rows = model.settings, steps, rows
        self._window = model.settings.log_every_steps
        # A checkpoint falls on the end of a window, so that a resumed curve has the same windows.
        self._save_every = -(-model.settings.checkpoint_every_steps // self._window) * self._window
        self._curve: list[dict] = []
        self._step = 0
        self._path = os.path.join(run_dir, CURVE_FILE)
        self._resume_dir = resume_dir
        self._board = tf.summary.create_file_writer(os.path.join(run_dir, "logs"))
        self._progress = Progress(f"training {model.settings.model}", steps)
        self._checkpoints = None
        if resume_dir:
            state = tf.train.Checkpoint(
                model=model, dense=model.dense_optimizer, embedding=model.embedding_optimizer
            )
            self._checkpoints = tf.train.CheckpointManager(state, resume_dir, max_to_keep=2)

    def resume(self) -> int:
        """Restores the last checkpoint if there is one; returns the steps already done."""
        latest = self._checkpoints.latest_checkpoint if self._checkpoints else None
        if latest:
            self._checkpoints.checkpoint.restore(latest).assert_existing_objects_matched()
            with tf.io.gfile.GFile(f"{latest}.{CURVE_FILE}") as file:
                self._curve = json.load(file)
            self._step = self._curve[-1]["step"]
            self._progress.say(f"going on from step {self._step:,} of {self._steps:,}")
        return self._step

    def on_train_begin(self, logs=None):
        self._progress.start(self._step)

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if self._step % self._window and self._step != self._steps:
            return
        values = {name: float(value) for name, value in logs.items()}
        if not np.isfinite(values[TOTAL_LOSS]):
            self._progress.stop()
            raise InputError(
                _diverged(self._settings, f"the loss was {values[TOTAL_LOSS]} at step {self._step}")
            )
        examples = min(self._step * self._settings.batch_size, self._rows)
        # One class in a window has no NE; JSON has no NaN.
        finite = {name: value if np.isfinite(value) else None for name, value in values.items()}
        self._curve.append({"step": self._step, "examples": examples, **finite})
        self.model.reset_metrics()
        with self._board.as_default(step=self._step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._progress.update(self._step, {name: v for name, v in values.items() if v == v})
        if self._checkpoints and self._step % self._save_every == 0 and self._step < self._steps:
            self._save()

    def _save(self):
        tf.io.gfile.makedirs(self._resume_dir)
        # The curve first: a checkpoint that can be found must have its curve.
        _write_json(os.path.join(self._resume_dir, f"ckpt-{self._step}.{CURVE_FILE}"), self._curve)
        self._checkpoints.save(checkpoint_number=self._step)

    def finish(self):
        """Writes the curve and removes the checkpoints."""
        self._progress.stop()
        self._board.close()
        _write_json(self._path, self._curve)
        if self._resume_dir and tf.io.gfile.exists(self._resume_dir):
            tf.io.gfile.rmtree(self._resume_dir)


def export(model: ConversionModel, transform: tft.TFTransformOutput, directory: str, *, rows: int) -> None:
    """Writes the SavedModel with its signatures, and a description of it beside.

    Raises:
      InputError: a variable is not finite.
    """
    _refuse_non_finite(model)
    served = ServedModel(model, transform)
    served.save(directory)
    description = {
        "model": model.settings.model,
        "settings": model.settings.model_dump(mode="json"),
        "outputs": list(names.LABEL_OF_OUTPUT),
        "labels": model.settings.label_of_output(),
        "raw_features": {name: spec.dtype.name for name, spec in served.raw_signature().items()},
        "cardinality": model.space.cardinality,
        "numeric": list(model.space.numeric),
        "sequence_length": model.space.sequence_length,
        "training_rows": rows,
        "base_rate": model.space.base_rate,
    }
    tf.io.gfile.makedirs(os.path.join(directory, os.path.dirname(DESCRIPTION_FILE)))
    _write_json(os.path.join(directory, DESCRIPTION_FILE), description)


def _refuse_non_finite(model: ConversionModel) -> None:
    for variable in model.variables:
        if variable.dtype.is_floating and not np.isfinite(variable.numpy()).all():
            raise InputError(_diverged(model.settings, f"variable {variable.name} is not finite"))


def _diverged(settings: ModelSettings, what: str) -> str:
    return (
        f"training diverged: {what}; lower dense_learning_rate (now {settings.dense_learning_rate:g}) or "
        f"embedding_learning_rate (now {settings.embedding_learning_rate:g})"
    )


def _write_json(path: str, value) -> None:
    temporary = f"{path}.tmp"
    with tf.io.gfile.GFile(temporary, "w") as file:
        file.write(json.dumps(value, indent=1, allow_nan=False) + "\n")
    tf.io.gfile.rename(temporary, path, overwrite=True)
