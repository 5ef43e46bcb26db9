"""Training, from transformed examples to a SavedModel that is fit to serve: TFX Trainer's run_fn.

Same inputs, settings and code give the same model: seeds are fixed, batches come in a fixed order, ops are
deterministic. A killed training that is started again with the same inputs and settings goes on from its last
checkpoint and ends with the model it would have had.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import TYPE_CHECKING

import tensorflow as tf
import tensorflow_transform as tft
from pydantic import ValidationError

from models import features as names
from models import inputs
from models.balance import BILEVEL
from models.calibration import MonotoneMap, fit_maps
from models.conversion_model import ConversionModel
from models.feature_space import FeatureSpace
from models.fit import Training, predict, refuse_non_finite, with_learned_lambda
from models.recorder import Recorder, write_json
from models.settings import ModelSettings
from models.signatures import ServedModel
from schemas.errors import InputError

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

CURVE_FILE = "training.json"
INSIDE_FILE = "inside.json"
_INSPECTED_ROWS = 8192
FIRST_CURVE_FILE = "training_before_held_out_days.json"
HELD_OUT_FILE = "held_out.json"
DESCRIPTION_FILE = os.path.join("assets.extra", "cabb.json")


def run_fn(fn_args: FnArgs) -> None:
    """TFX Trainer's entry point.

    `fn_args.custom_config["settings"]` is the JSON of a ModelSettings; with `custom_config["holdout"]` the
    eval files are the held-out days. Writes the SavedModel to `serving_model_dir`, and `training.json`,
    `inside.json` and TensorBoard logs to `model_run_dir`.

    Raises:
      InputError: settings or data that cannot be used, or a training that diverged.
    """
    custom = fn_args.custom_config or {}
    settings = _settings(custom)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    files = inputs.expand(fn_args.train_files)
    held_out = inputs.expand(fn_args.eval_files) if custom.get("holdout") else None
    fingerprint = _fingerprint(settings, fn_args, [*files, *(held_out or [])])
    trained = fit(
        settings,
        transform,
        files,
        held_out,
        run_dir=fn_args.model_run_dir,
        resume_dir=os.path.join(os.path.dirname(fn_args.model_run_dir.rstrip("/")), f"resume-{fingerprint}"),
        max_steps=fn_args.train_steps or None,
    )
    export(trained, transform, fn_args.serving_model_dir)


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


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model that is ready to be exported.

    Attributes:
      calibration: map of every served output; empty: scores are served as they are.
      rows: how many it learned from.
    """

    model: ConversionModel
    calibration: dict[str, MonotoneMap]
    rows: int


def fit(
    settings: ModelSettings,
    transform: tft.TFTransformOutput,
    files: list[str],
    held_out: list[str] | None = None,
    *,
    run_dir: str,
    resume_dir: str | None = None,
    max_steps: int | None = None,
) -> Trained:
    """Trains a model; with held-out days first without them, to learn calibration and a bilevel lambda from
    them, and then (`settings.refit`) once more with them.

    Args:
      files, held_out: transformed examples of the training days, and of later ones that are held out.
      run_dir: gets `training.json`, of what is exported, `inside.json` (`ConversionModel.inspect` on the
        first rows, and the lambda that held-out days chose) and `logs/`.
      resume_dir: checkpoints of unfinished trainings; removed at the end. None: no checkpoints.
      max_steps: upper bound of steps; None: `settings.epochs` passes.

    Raises:
      InputError: the data cannot be used, or the loss stopped being finite.
    """
    spec, space = transform.transformed_feature_spec(), FeatureSpace.of_transform(transform)
    label = settings.conversion_label()
    tf.io.gfile.makedirs(run_dir)

    def train(settings, files, held=None, curve=CURVE_FILE, **known) -> Trained:
        rows = inputs.TrainingRows.of_files(files, spec, label)
        training = Training(settings, space, rows, held, max_steps)
        title = f"training {settings.model}" + (" before the held-out days" if curve != CURVE_FILE else "")
        checkpoints = os.path.join(resume_dir, curve) if resume_dir else None
        path, seen = os.path.join(run_dir, curve), rows.rows * settings.epochs
        with Recorder(training, settings, path, checkpoints, seen, title) as recorder:
            model = training.run(recorder.window, first=recorder.resume())
            recorder.finish()
        sample = next(iter(rows.batches(_INSPECTED_ROWS, epochs=1, seed=settings.seed)))
        write_json(os.path.join(run_dir, INSIDE_FILE), {**model.inspect(*sample), **known})
        return Trained(model, {}, rows.rows)

    if settings.needs_holdout:
        if not held_out:
            raise InputError("calibration and a bilevel lambda need held-out days; set split.holdout_days")
        lesson = os.path.join(resume_dir, HELD_OUT_FILE) if resume_dir else None
        learned = _Learned.load(lesson) if lesson and tf.io.gfile.exists(lesson) else None
        if learned is None:
            held = inputs.TrainingRows.of_files(held_out, spec, label)
            trained = train(settings, files, held, FIRST_CURVE_FILE if settings.refit else CURVE_FILE)
            learned = _Learned.of(trained.model, held)
        if settings.refit:
            if lesson:
                tf.io.gfile.makedirs(resume_dir)
                learned.save(lesson)
            chosen = {"lambda_cabb": learned.lambda_cabb}
            known = chosen if settings.lambda_cabb == BILEVEL else {}
            trained = train(settings.model_copy(update=chosen), [*files, *held_out], **known)
        trained = dataclasses.replace(trained, calibration=learned.calibration)
    else:
        trained = train(settings, [*files, *(held_out or [])] if settings.refit else files)
    if resume_dir and tf.io.gfile.exists(resume_dir):
        tf.io.gfile.rmtree(resume_dir)
    return trained


@dataclasses.dataclass(frozen=True)
class _Learned:
    """What the held-out days taught: maps by served output, and the lambda to train on with."""

    calibration: dict[str, MonotoneMap]
    lambda_cabb: float | str

    @classmethod
    def of(cls, model: ConversionModel, held: inputs.TrainingRows) -> _Learned:
        settings = model.settings
        maps = {}
        if settings.calibration != "none":
            p, labels = predict(model, held)
            maps = fit_maps(
                settings.calibration, settings.label_of_output(), labels, p, labels[names.ROW_WEIGHT]
            )
        return cls(maps, with_learned_lambda(settings, model).lambda_cabb)

    def save(self, path: str) -> None:
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: str) -> _Learned:
        with tf.io.gfile.GFile(path) as file:
            read = json.load(file)
        maps = {output: MonotoneMap(**fields) for output, fields in read["calibration"].items()}
        return cls(maps, read["lambda_cabb"])


def export(trained: Trained, transform: tft.TFTransformOutput, directory: str) -> None:
    """Writes the SavedModel with its signatures, and a description of it beside.

    Raises:
      InputError: a variable is not finite.
    """
    model = trained.model
    refuse_non_finite(model)
    served = ServedModel(model, transform, trained.calibration)
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
        "training_rows": trained.rows,
        "base_rate": model.space.statistics.base_rate,
        "calibration": {output: dataclasses.asdict(each) for output, each in trained.calibration.items()},
    }
    tf.io.gfile.makedirs(os.path.join(directory, os.path.dirname(DESCRIPTION_FILE)))
    write_json(os.path.join(directory, DESCRIPTION_FILE), description)
