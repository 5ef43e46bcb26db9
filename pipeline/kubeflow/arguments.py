"""The value of every runtime parameter of a run: given, else its default, and one that fits the file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from components.session_example_gen.splits import SplitWindows
from models.settings import ModelSettings
from pipeline.kubeflow.parameters import FINGERPRINT, value_at
from pipeline.kubeflow.spec import CompiledPipeline
from schemas.errors import InputError
from schemas.events import LogSource
from schemas.settings import Settings

S = TypeVar("S", bound=Settings)
_COMPILED: dict[type[Settings], tuple[str, str]] = {
    ModelSettings: ("Trainer", "custom_config.runtimeValue.constant.settings"),
    SplitWindows: ("SessionExampleGen", "windows.runtimeValue.constant"),
    LogSource: ("SessionExampleGen", "source.runtimeValue.constant"),
}
"""Where a file has the settings that parameters of the same names change: a task, a path in its inputs."""
_KINDS: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "LIST": (list,),
    "STRUCT": (dict,),
    "BOOLEAN": (bool,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
}


def parsed(pipeline: CompiledPipeline, written: Iterable[str]) -> dict[str, Any]:
    """Arguments as they are written, NAME=VALUE, by name: text as it stands, other kinds in YAML.

    Raises:
        InputError: one without a name or a value, or a value that is no YAML.
    """
    found = {}
    for each in written:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise InputError(f"--argument {each}: write it as NAME=VALUE, for example lambda_cabb=0.5")
        kind = pipeline.parameters.get(name, {}).get("parameterType", "STRING")
        try:
            value = text if kind == "STRING" else yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(f"--argument {each}: the value is not valid YAML") from None
        found[name] = [value] if kind == "LIST" and isinstance(value, str) else value
    return found


def complete_arguments(pipeline: CompiledPipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """The checked value of every parameter; the fingerprint is computed from the logs.

    Raises:
        InputError: as `checked_arguments` does, or a fingerprint that is not the logs'.
    """
    values = checked_arguments(pipeline, given)
    if FINGERPRINT in pipeline.parameters:
        values[FINGERPRINT] = _fingerprint(pipeline, values)
    return values


def checked_arguments(pipeline: CompiledPipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every parameter that has one: given, else its default.

    Raises:
        InputError: a parameter that does not exist, a value of the wrong kind or that a task would refuse,
            or a model that the file was not compiled for.
    """
    declared = pipeline.parameters
    for name in given:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(declared))}"
            raise InputError(f"no parameter {name!r}; {hint}")
    values = {name: each["defaultValue"] for name, each in declared.items() if "defaultValue" in each} | dict(
        given
    )
    for name, value in values.items():
        kind = declared[name]["parameterType"]
        fits = isinstance(value, _KINDS[kind]) and (kind == "BOOLEAN" or not isinstance(value, bool))
        if not fits:
            raise InputError(f"parameter {name}: {value!r} is no {kind}")
    if FINGERPRINT in declared:  # compiled by `cabb kubeflow compile`
        _settings(pipeline, SplitWindows, values)
        _settings(pipeline, LogSource, values)
        _refuse_other_labels(
            wanted=_settings(pipeline, ModelSettings, values), compiled=_settings(pipeline, ModelSettings, {})
        )
    return values


def _settings(pipeline: CompiledPipeline, kind: type[S], values: Mapping[str, Any]) -> S:
    """The settings that a task will read: those compiled in, with the values of the parameters."""
    task, path = _COMPILED[kind]
    compiled = json.loads(value_at(pipeline.tasks()[task].task["inputs"]["parameters"], path))
    changed = {name: value for name, value in values.items() if name in kind.model_fields}
    try:
        return kind.model_validate(
            compiled | {name: None if value == "" else value for name, value in changed.items()}
        )
    except ValidationError as error:
        problem = error.errors()[0]
        words = problem["msg"].removeprefix("Value error, ")
        blamed = problem["loc"][:1] or tuple(changed)
        if set(blamed) <= changed.keys():
            written = ", ".join(f"{name}={changed[name]}" for name in blamed)
            raise InputError(f"parameter {written}: {words}") from None
        where = ".".join(map(str, problem["loc"]))
        raise InputError(
            f"the pipeline was compiled by another version of cabb ({where}: {words}); compile it again"
        ) from None


def _refuse_other_labels(wanted: ModelSettings, compiled: ModelSettings) -> None:
    """Which labels the clicks carry, and which of them judge a model, is compiled in."""
    same_views = set(wanted.needed_views()) <= set(compiled.needed_views())
    if not same_views or wanted.label_of_output() != compiled.label_of_output():
        raise InputError(
            f"parameter model={wanted.model}: it learns from or is judged by other labels than "
            f"{compiled.model}, for which the pipeline was compiled; compile again with "
            f"--set model={wanted.model}"
        )


def _fingerprint(pipeline: CompiledPipeline, values: Mapping[str, Any]) -> str:
    """The logs' own fingerprint, which a given one has to be."""
    from components.session_example_gen.readers import files_of
    from pipeline.fingerprint import data_fingerprint

    given = values.get(FINGERPRINT)
    source = _settings(pipeline, LogSource, values)
    if given is not None:
        try:
            files_of(source.events)
        except InputError:
            return given  # the logs are on the cluster only
    actual = data_fingerprint(source)
    if given is not None and given != actual:
        raise InputError(
            f"{FINGERPRINT}={given} is not that of the logs, {actual}: the cache would answer for others; "
            f"leave the argument out, or pass {FINGERPRINT}={actual}"
        )
    return actual
