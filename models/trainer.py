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
from pydantic import ValidationError

from models import features as names
from models import inputs
from models.conversion_model import ConversionModel
from models.feature_space import FeatureSpace
from models.fit import Training, refuse_non_finite
from models.progress import Progress
from models.settings import ModelSettings
from models.signatures import ServedModel
from schemas.errors import InputError

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

CURVE_FILE = "training.json"
INSIDE_FILE = "inside.json"
_INSPECTED_ROWS = 8192
DESCRIPTION_FILE = os.path.join("assets.extra", "cabb.json")


def run_fn(fn_args: FnArgs) -> None:
    """TFX Trainer's entry point.

    `fn_args.custom_config["settings"]` is the JSON of a ModelSettings. Writes the SavedModel to
    `serving_model_dir`, and `training.json`, `inside.json` and TensorBoard logs to `model_run_dir`.

    Raises:
      InputError: settings or data that cannot be used, or a training that diverged.
    """
    settings = _settings(fn_args.custom_config or {})
    transform = tft.TFTransformOutput(fn_args.transform_output)
    files = inputs.expand(fn_args.train_files)
    fingerprint = _fingerprint(settings, fn_args, files)
    model, rows = fit(
        settings,
        transform,
        files,
        run_dir=fn_args.model_run_dir,
        resume_dir=os.path.join(os.path.dirname(fn_args.model_run_dir.rstrip("/")), f"resume-{fingerprint}"),
        max_steps=fn_args.train_steps or None,
    )
    export(model, transform, fn_args.serving_model_dir, rows=rows)


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
) -> tuple[ConversionModel, int]:
    """Trains a model; returns it with the number of its training rows.

    Args:
      run_dir: gets `training.json`, `inside.json` (`ConversionModel.inspect` on the first rows) and `logs/`.
      resume_dir: checkpoints of unfinished trainings; removed at the end. None: no checkpoints.
      max_steps: upper bound of steps; None: `settings.epochs` passes.

    Raises:
      InputError: the data cannot be used, or the loss stopped being finite.
    """
    rows = inputs.TrainingRows.of_files(files, transform.transformed_feature_spec())
    training = Training(settings, FeatureSpace.of_transform(transform), rows, max_steps)
    tf.io.gfile.makedirs(run_dir)
    with _Recorder(training, settings, run_dir, resume_dir, rows.rows * settings.epochs) as recorder:
        model = training.run(recorder.window, first=recorder.resume())
        recorder.finish()
    sample = next(iter(rows.batches(_INSPECTED_ROWS, epochs=1, seed=settings.seed)))
    _write_json(os.path.join(run_dir, INSIDE_FILE), model.inspect(*sample))
    return model, rows.rows


class _Recorder:
    """The training curve, checkpoints and progress.

    A window is `log_every_steps` steps; its NE is progressive: of predictions made before the update that
    used them, so in one pass it is an honest estimate on unseen rows.
    """

    def __init__(
        self, training: Training, settings: ModelSettings, run_dir: str, resume_dir: str | None, examples: int
    ):
        self._settings, self._steps, self._examples = settings, training.steps, examples
        # A checkpoint falls on the end of a window, so that a resumed curve has the same windows.
        window = settings.log_every_steps
        self._save_every = -(-settings.checkpoint_every_steps // window) * window
        self._curve: list[dict] = []
        self._path = os.path.join(run_dir, CURVE_FILE)
        self._resume_dir = resume_dir
        self._board = tf.summary.create_file_writer(os.path.join(run_dir, "logs"))
        self._progress = Progress(f"training {settings.model}", training.steps)
        self._checkpoints = None
        if resume_dir:
            self._checkpoints = tf.train.CheckpointManager(training.state(), resume_dir, max_to_keep=2)

    def __enter__(self) -> _Recorder:
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
            with tf.io.gfile.GFile(f"{latest}.{CURVE_FILE}") as file:
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
        _write_json(os.path.join(self._resume_dir, f"ckpt-{step}.{CURVE_FILE}"), self._curve)
        self._checkpoints.save(checkpoint_number=step)

    def finish(self) -> None:
        """Writes the curve and removes the checkpoints."""
        _write_json(self._path, self._curve)
        if self._resume_dir and tf.io.gfile.exists(self._resume_dir):
            tf.io.gfile.rmtree(self._resume_dir)


def export(model: ConversionModel, transform: tft.TFTransformOutput, directory: str, *, rows: int) -> None:
    """Writes the SavedModel with its signatures, and a description of it beside.

    Raises:
      InputError: a variable is not finite.
    """
    refuse_non_finite(model)
    served = ServedModel(model, transform)
    served.save(directory)
    description = {
        "model": model.settings.model,
        "settings": model.settings.model_dump(mode="json"),
        "outputs": list(names.LABEL_OF_OUTPUT),
        "labels": model.settings.label_of_output(),
        "raw_features": {name: spec.dtype.name for name, spec in served.raw_signature().items()},
        "of_candidate": [name for name in served.raw_signature() if name in names.OF_CANDIDATE],
        "cardinality": model.space.cardinality,
        "numeric": list(model.space.numeric),
        "sequence_length": model.space.sequence_length,
        "training_rows": rows,
        "base_rate": model.space.base_rate,
    }
    tf.io.gfile.makedirs(os.path.join(directory, os.path.dirname(DESCRIPTION_FILE)))
    _write_json(os.path.join(directory, DESCRIPTION_FILE), description)


def _write_json(path: str, value) -> None:
    temporary = f"{path}.tmp"
    with tf.io.gfile.GFile(temporary, "w") as file:
        file.write(json.dumps(value, indent=1, allow_nan=False) + "\n")
    tf.io.gfile.rename(temporary, path, overwrite=True)
