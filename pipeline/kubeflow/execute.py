"""Runs one TFX executor on what a backend hands over.

The same steps as TFX's `kubeflow_v2_run_executor`, with its own translation of artifacts; but that module
imports every component of TFX with all they need (TFMA, Keras Tuner, Kubernetes and Google Cloud clients)
before it looks at the one executor it was started for. Here a task loads what its executor asks for.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.deferred_packages import HEAVY, defer

Json = dict[str, Any]


def execute(executor: str, executor_input: Json, inputs_spec: Json, beam_arguments: Sequence[str]) -> Json:
    """Runs an executor; returns the ExecutorOutput as JSON.

    Args:
        executor: import path of a TFX executor class.
        executor_input: with types and local paths (`pipeline.kubeflow.open_source`).
        inputs_spec: what the component declares: types of the execution properties.
        beam_arguments: Beam's command line, for executors that run on Beam.
    """
    load_lightly()
    from absl import logging
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as translation
    from tfx.orchestration.portable import outputs_utils
    from tfx.types import standard_artifacts
    from tfx.utils import import_utils

    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    given = json_format.ParseDict(
        executor_input, pipeline_spec_pb2.ExecutorInput(), ignore_unknown_fields=True
    )
    declared = json_format.ParseDict(inputs_spec, pipeline_spec_pb2.ComponentInputsSpec())
    names: dict[int, str] = {}
    inputs = translation.parse_raw_artifact_dict(given.inputs.artifacts, names)
    outputs = translation.parse_raw_artifact_dict(given.outputs.artifacts, names)
    properties = translation.parse_execution_properties(
        given.inputs.parameter_values, given.inputs.parameters, declared
    )
    if executor.startswith("tfx.components.evaluator."):
        # TFX's package of components, once loaded, adds to TFMA the names that its Evaluator reads.
        _ = import_module("tfx.components").Evaluator
    kind = import_utils.import_class_by_path(executor)
    home = Path(given.outputs.output_file).parent
    runs_on_beam = "beam_pipeline_args" in inspect.signature(kind.Context).parameters
    flags = {"beam_pipeline_args" if runs_on_beam else "extra_flags": list(beam_arguments)}
    context = kind.Context(tmp_dir=str(home / ".temp"), unique_id=home.name, **flags)
    kind(context).Do(inputs, outputs, properties)

    outputs_utils.tag_output_artifacts_with_version(outputs)
    output = pipeline_spec_pb2.ExecutorOutput()
    for (artifact,) in outputs.values():
        if isinstance(artifact, standard_artifacts.ModelBlessing):
            translation.refactor_model_blessing(artifact, names)
    for key, artifacts in translation.translate_executor_output(outputs, names).items():
        output.artifacts[key].CopyFrom(artifacts)
    return json_format.MessageToDict(output)


def load_lightly() -> None:
    """Sets this process up to load of TFX and TensorFlow what is used; before any of them is imported."""
    # All are read once, when the packages are imported.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # KFP's own way to import its formats without its compiler and client.
    os.environ["_KFP_RUNTIME"] = "true"
    defer(*HEAVY)
    # The part of TFMA that TFX's declarations read; its generated code takes the first module for granted.
    for module in ("google.protobuf.wrappers_pb2", "tensorflow_model_analysis.sdk"):
        import_module(module)
