"""Reads what the other components left behind, scores the eval clicks, and writes the page."""

import json
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.category_similarity.similarity import SimilarityTable
from components.evaluator.verdict import verdict
from components.run_report.judgement import ReportSettings
from components.run_report.page import render
from components.run_report.results import (
    PAGE_FILE,
    Baseline,
    Push,
    RunRecord,
    compose,
    save_results,
)
from components.run_report.scores import score_clicks
from models.settings import ModelSettings
from schemas.errors import InputError
from schemas.output import write_whole

_LINEAGE_WORDS = {
    "run_key": "Run key",
    "data_fingerprint": "Data fingerprint",
    "config_hash": "Settings hash",
    "code_hash": "Code hash",
    "git_commit": "Commit",
    "train_start": "Training starts",
    "train_end": "Training ends before",
    "eval_start": "Evaluation starts",
    "eval_end": "Evaluation ends before",
}


class Executor(base_executor.BaseExecutor):
    """Writes `report.html` and `results.json`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Fills `page`.

        Raises:
            InputError: settings that cannot be read, or a model or examples that cannot be scored.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        artifact = {key: artifact_utils.get_single_instance(found) for key, found in input_dict.items()}
        configuration = yaml.safe_load(exec_properties["settings"]) or {}
        settings = _report_settings(configuration)
        eval_files = fileio.glob(
            io_utils.all_files_pattern(artifact_utils.get_split_uri(input_dict["examples"], "eval"))
        )
        clicks = score_clicks(
            sorted(eval_files),
            _model_settings(configuration).label_of_output(),
            candidate=path_utils.serving_model_path(artifact["model"].uri),
            baseline=path_utils.serving_model_path(artifact["baseline"].uri),
        )
        lineage = json.loads(exec_properties.get("lineage") or "{}")
        record = RunRecord(
            session_counts=_read_json(artifact["sessions"], "counts.json"),
            label_counts=_read_json(artifact["examples"], "label_counts.json"),
            similarity=SimilarityTable.load(artifact["similarity"].uri),
            training=_read_json(artifact["model_run"], "training.json"),
            inside=_read_json(artifact["model_run"], "inside.json"),
            anomalies=_read_json(artifact["anomalies"], "anomalies.json"),
            verdict=verdict(artifact["evaluation"].uri),
            serving=json.loads(artifact["infra_blessing"].get_string_custom_property("reasons") or "[]"),
            push=_push(artifact["pushed_model"]),
            baseline=_baseline(artifact["baseline"]),
            configuration=configuration,
            lineage=_lineage(lineage, artifact),
            run_key=lineage.get("run_key"),
            time_zone=(configuration.get("data") or {}).get("time_zone", "UTC"),
        )
        results = compose(record, clicks, settings)
        folder = artifact_utils.get_single_uri(output_dict["page"])
        save_results(results, folder)
        write_whole(Path(folder) / PAGE_FILE, render(results))


def _report_settings(configuration: dict[str, Any]) -> ReportSettings:
    try:
        return ReportSettings.model_validate(configuration.get("report") or {})
    except ValidationError as error:
        problem = error.errors()[0]
        raise InputError(f"report.{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None


def _model_settings(configuration: dict[str, Any]) -> ModelSettings:
    return ModelSettings.model_validate(configuration.get("model") or {})


def _read_json(artifact: types.Artifact, name: str) -> Any:
    path = Path(artifact.uri, name)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run the step that writes it again") from None


def _push(pushed: types.Artifact) -> Push:
    if not pushed.get_int_custom_property("pushed"):
        return Push()
    return Push(
        version=int(pushed.get_string_custom_property("pushed_version")),
        path=pushed.get_string_custom_property("pushed_destination"),
    )


def _baseline(model: types.Artifact) -> Baseline:
    if model.get_string_custom_property("kind") != "production":
        return Baseline()
    return Baseline(
        kind="production",
        version=model.get_int_custom_property("version"),
        train_start=model.get_string_custom_property("train_start") or None,
        train_end=model.get_string_custom_property("train_end") or None,
    )


def _lineage(lineage: dict[str, Any], artifact: dict[str, types.Artifact]) -> list[tuple[str, str]]:
    """What identifies the run, then the folder of every part, in the order of the inputs."""
    known = [(words, str(lineage[key])) for key, words in _LINEAGE_WORDS.items() if lineage.get(key)]
    pushed = _push(artifact["pushed_model"])
    if pushed.path:
        known.append(("Pushed to", pushed.path))
    parts = [
        (key.replace("_", " ").capitalize(), os.path.normpath(found.uri)) for key, found in artifact.items()
    ]
    return known + sorted(parts)
