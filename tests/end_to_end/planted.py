"""Trainer entry points that export models no gate may let through."""

from pathlib import Path

import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from models.features import LABEL_OF_OUTPUT


class _Planted(tf.Module):
    """Scores every example with a constant, or with noise that depends on the bytes alone."""

    def __init__(self, constant: float | None) -> None:
        super().__init__()
        self._constant = constant

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        if self._constant is None:
            buckets = tf.strings.to_hash_bucket_fast(examples, 1000)
            scores = tf.cast(buckets, tf.float32) / 1000.0
        else:
            scores = tf.fill([tf.size(examples)], self._constant)
        return {name: scores[:, tf.newaxis] for name in LABEL_OF_OUTPUT}


def _export(constant: float | None, fn_args: FnArgs) -> None:
    module = _Planted(constant)
    tf.saved_model.save(module, fn_args.serving_model_dir, signatures={"serving_default": module.serve})
    run_dir = Path(fn_args.model_run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "training.json").write_text("[]")
    (run_dir / "inside.json").write_text("{}")


def noise_run_fn(fn_args: FnArgs) -> None:
    """A model whose scores say nothing about the click."""
    _export(None, fn_args)


def nan_run_fn(fn_args: FnArgs) -> None:
    """A model that answers NaN to everything."""
    _export(float("nan"), fn_args)
