"""A small compiled pipeline for tests, made by hand so that no test has to import TFX."""

from __future__ import annotations

import copy
import json
from typing import Any

from pipeline.kubeflow.spec import CompiledPipeline

IMAGE = "registry.example/cabb@sha256:" + "a" * 64
_SESSIONS = {"artifactType": {"instanceSchema": "title: components.Sessions\ntype: object\n"}}
_MODEL = {"artifactType": {"instanceSchema": "title: tfx.Model\ntype: object\n"}}
TRAINER = {"settings": "{}"}
SOURCE = {"events": ["logs/*.parquet"], "catalog": None}
WINDOWS = {"train_start": None, "eval_start": "2016-10-01", "eval_end": None}


def _container(executor: str, inputs: dict[str, Any], runtime: dict[str, Any]) -> dict[str, Any]:
    return {
        "container": {
            "image": IMAGE,
            "command": ["python", "-m", "pipeline.kubeflow.task"],
            "args": [
                "--executor_class_path",
                executor,
                "--json_serialized_invocation_args",
                "{{$}}",
                "--json_serialized_inputs_spec_args",
                json.dumps(inputs),
                "--runtime",
                json.dumps(runtime),
            ],
            "resources": {"resourceCpuLimit": "2", "resourceCpuRequest": "2", "resourceMemoryLimit": "8G"},
        }
    }


def _document() -> dict[str, Any]:
    reader = {
        "parameters": {
            "source": {"parameterType": "STRING"},
            "windows": {"parameterType": "STRING"},
            "runtime_data_fingerprint": {"parameterType": "STRING"},
        }
    }
    trainer = {
        "artifacts": {"sessions": _SESSIONS},
        "parameters": {
            "run_fn": {"parameterType": "STRING"},
            "custom_config": {"parameterType": "STRING"},
        },
    }
    return {
        "pipelineInfo": {"name": "cabb"},
        "schemaVersion": "2.1.0",
        "sdkVersion": "tfx-1.21.0",
        "defaultPipelineRoot": "s3://bucket/cabb",
        "components": {
            "SessionExampleGen": {
                "executorLabel": "SessionExampleGen_executor",
                "inputDefinitions": reader,
                "outputDefinitions": {"artifacts": {"sessions": _SESSIONS}},
            },
            "Trainer": {
                "executorLabel": "Trainer_executor",
                "inputDefinitions": trainer,
                "outputDefinitions": {"artifacts": {"model": _MODEL}},
            },
        },
        "deploymentSpec": {
            "executors": {
                "SessionExampleGen_executor": _container(
                    "components.session_example_gen.executor.Executor",
                    reader,
                    {"fills": {"fingerprint": "data_fingerprint"}},
                ),
                "Trainer_executor": _container(
                    "tfx.components.trainer.executor.GenericExecutor", trainer, {}
                ),
            }
        },
        "root": {
            "inputDefinitions": {
                "parameters": {
                    "data_fingerprint": {"parameterType": "STRING"},
                    "events": {"parameterType": "LIST", "defaultValue": ["logs/*.parquet"]},
                    "catalog": {"parameterType": "STRING", "defaultValue": ""},
                    "train_start": {"parameterType": "STRING", "defaultValue": ""},
                    "eval_start": {"parameterType": "STRING", "defaultValue": "2016-10-01"},
                    "lambda_cabb": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.75},
                    "model": {"parameterType": "STRING", "defaultValue": "cabb"},
                    "epochs": {"parameterType": "NUMBER_INTEGER", "defaultValue": 3},
                    "seed": {"parameterType": "NUMBER_INTEGER", "defaultValue": 1},
                }
            },
            "dag": {
                "tasks": {
                    "Trainer": {
                        "componentRef": {"name": "Trainer"},
                        "taskInfo": {"name": "Trainer"},
                        "cachingOptions": {"enableCache": True},
                        "inputs": {
                            "artifacts": {
                                "sessions": {
                                    "taskOutputArtifact": {
                                        "producerTask": "SessionExampleGen",
                                        "outputArtifactKey": "sessions",
                                    }
                                }
                            },
                            "parameters": {
                                "run_fn": {"runtimeValue": {"constant": "models.trainer.run_fn"}},
                                "custom_config": {"runtimeValue": {"constant": json.dumps(TRAINER)}},
                            },
                        },
                    },
                    "SessionExampleGen": {
                        "componentRef": {"name": "SessionExampleGen"},
                        "taskInfo": {"name": "SessionExampleGen"},
                        "cachingOptions": {"enableCache": True},
                        "inputs": {
                            "parameters": {
                                "source": {"runtimeValue": {"constant": json.dumps(SOURCE)}},
                                "windows": {"runtimeValue": {"constant": json.dumps(WINDOWS)}},
                                "runtime_data_fingerprint": {"componentInputParameter": "data_fingerprint"},
                            }
                        },
                    },
                }
            },
        },
    }


def document() -> dict[str, Any]:
    """The pipeline as JSON, the caller's own."""
    return copy.deepcopy(_document())


def pipeline(changed: dict[str, Any] | None = None) -> CompiledPipeline:
    """The pipeline, or a changed document of it."""
    return CompiledPipeline(changed or document(), {})
