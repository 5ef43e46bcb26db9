"""Imports all that a task of any model kind names, inside an image (`scripts/image_check.py`)."""

from __future__ import annotations

import os
import tempfile
from importlib import import_module
from pathlib import Path

from models.settings import MODELS
from pipeline.config import load_config
from pipeline.kubeflow import rules, spec

IMAGE = "none@sha256:" + "0" * 64


def main() -> None:
    """Compiles every model kind, checks it, and imports its executors, functions and metrics.

    Raises:
        ImportError, AttributeError: one of them is not in this environment.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    from pipeline.kubeflow.runner import compile_pipeline

    paths: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            kubeflow = {"pipeline_root": "s3://bucket/cabb", "volumes": {"cabb": "/mnt/cabb"}}
            config = load_config(None, {"model": model, "output": "/mnt/cabb/run", "kubeflow": kubeflow})
            file = Path(folder, f"{model}.yaml")
            file.write_text(compile_pipeline(config, IMAGE, "oss").to_yaml())
            pipeline = spec.load(file)
            for finding in rules.check(pipeline, "oss"):
                raise ImportError(f"{model}: {finding.where}: {finding.reason}")
            paths |= {path for _, _, path in rules.named_in(pipeline)} | {f"models.{model}.MODEL"}
    for path in sorted(paths):
        module, _, name = path.rpartition(".")
        getattr(import_module(module), name)
        print(f"imported {path}")


if __name__ == "__main__":
    main()
