"""What a run on Kubeflow can be given at submission, and which settings of which task each value fills.

TFX can make a whole execution property a runtime parameter. Ours are JSON documents, so a parameter names
paths inside them: a dotted path walks through mappings and through text that is JSON itself. The task's entry
point (`pipeline.kubeflow.task`) puts the values in before TFX sees them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "runtime_"
"""Of the task inputs that carry a parameter's value into a JSON document."""
FINGERPRINT = "data_fingerprint"
RUN_ID = "run_id"


@dataclass(frozen=True)
class Parameter:
    """One runtime parameter.

    Attributes:
        name: as it is given at submission.
        kind: KFP's type: STRING, LIST, NUMBER_INTEGER or NUMBER_DOUBLE.
        description: for people, shown in KFP's form.
        fills: `<task>.<execution property>[.<path>]`.
        decisive: another value makes another model, so it is part of the run key.
        optional: an empty value means none (null).
    """

    name: str
    kind: str
    description: str
    fills: tuple[str, ...]
    decisive: bool = True
    optional: bool = False


def _in(tasks: str, path: str) -> tuple[str, ...]:
    return tuple(f"{task}.{path}" for task in tasks.split())


_LOGS = "SessionExampleGen SimilarityTransform"
_SOURCE = f"{_LOGS} FeatureStateGen"
_LINEAGE = "VersionedPusher RunReport"


def _model(name: str) -> tuple[str, ...]:
    return (f"Trainer.custom_config.settings.{name}", f"RunReport.settings.model.{name}")


PARAMETERS = (
    Parameter(
        FINGERPRINT,
        "STRING",
        "Changes when the logs or the catalog change; the cache depends on it. "
        "`cabb kubeflow submit` computes it.",
        ("SessionExampleGen.fingerprint", *_in(_LINEAGE, "lineage.data_fingerprint")),
    ),
    Parameter(
        "events", "LIST", "Paths or globs of the logs, in a mounted volume.", _in(_SOURCE, "source.events")
    ),
    Parameter(
        "catalog",
        "STRING",
        "Path of the catalog; empty for none.",
        _in(_SOURCE, "source.catalog"),
        optional=True,
    ),
    Parameter(
        "train_start",
        "STRING",
        "First training day, ISO date; empty for the first of the logs.",
        (*_in(_LOGS, "windows.train_start"), *_in(_LINEAGE, "lineage.train_start")),
        optional=True,
    ),
    Parameter(
        "eval_start",
        "STRING",
        "First evaluation day, ISO date: everything before it trains.",
        (
            *_in(_LOGS, "windows.eval_start"),
            "BaselineModel.eval_start",
            *_in(_LINEAGE, "lineage.eval_start"),
            *_in(_LINEAGE, "lineage.train_end"),
        ),
    ),
    Parameter(
        "eval_end",
        "STRING",
        "The day after the last evaluation day; empty for the end of the logs.",
        (*_in(_LOGS, "windows.eval_end"), *_in(_LINEAGE, "lineage.eval_end")),
        optional=True,
    ),
    Parameter(
        "serving_dir",
        "STRING",
        "Where versions are published, in a mounted volume.",
        (
            "AnomalyGate.serving_dir",
            "BaselineModel.serving_dir",
            "VersionedPusher.push_destination.filesystem.base_directory",
        ),
        decisive=False,
    ),
    Parameter("model", "STRING", "a model of models/settings.py.", _model("model")),
    Parameter("lambda_cabb", "NUMBER_DOUBLE", "Weight of L_CABB (CABB eq. 6).", _model("lambda_cabb")),
    Parameter("epochs", "NUMBER_INTEGER", "Passes over the training clicks.", _model("epochs")),
    Parameter("batch_size", "NUMBER_INTEGER", "Clicks per training step.", _model("batch_size")),
    Parameter("seed", "NUMBER_INTEGER", "Of everything random in training.", _model("seed")),
)

RUN_KEY_IN = (*_in("AnomalyGate BaselineModel", "run_key"), *_in(_LINEAGE, "lineage.run_key"))
"""Filled with the compiled key and every decisive value: two runs with one key make the same model."""
ARGUMENTS_IN = _in(_LINEAGE, "lineage.arguments")
"""Filled with every decisive value, by name."""
RUN_ID_IN = _in(_LINEAGE, "lineage.run_id")
READS_SERVING_DIR = ("AnomalyGate", "BaselineModel", "VersionedPusher", "RunReport")
"""What these answer depends on what is published, which no cache key knows: they run every time."""


PATHS = ("events", "catalog", "serving_dir")
"""Parameters that are paths of files, in a mounted volume."""
NOT_DECISIVE = (RUN_ID, *(each.name for each in PARAMETERS if not each.decisive))


def fill(properties: dict[str, Any], path: str, value: Any) -> None:
    """Puts a value at a dotted path of `properties`, in place, through mappings and JSON text.

    Raises:
        KeyError: the path leads nowhere; its last step may be new.
    """
    head, _, rest = path.partition(".")
    if not rest:
        properties[head] = value
        return
    inner = properties[head]
    is_text = isinstance(inner, str)
    tree = json.loads(inner) if is_text else inner
    if not isinstance(tree, dict):
        raise KeyError(f"{head} holds no mapping")
    fill(tree, rest, value)
    properties[head] = json.dumps(tree) if is_text else tree


def value_at(properties: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path.

    Raises:
        KeyError: there is none.
    """
    found: Any = properties
    for step in path.split("."):
        found = json.loads(found) if isinstance(found, str) else found
        found = found[step]
    return found


def run_key(compiled: str, values: Mapping[str, Any]) -> str:
    """The key of a run of one compiled pipeline with these decisive values; 16 hex digits."""
    text = json.dumps([compiled, dict(sorted(values.items()))], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_task(task: str) -> Iterable[tuple[Parameter, str]]:
    """(parameter, path inside the task's execution properties), for every fill of one task."""
    for parameter in PARAMETERS:
        for target in parameter.fills:
            owner, _, path = target.partition(".")
            if owner == task:
                yield parameter, path
