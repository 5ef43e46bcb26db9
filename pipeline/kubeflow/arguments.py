"""The value of every runtime parameter of a run: given, else its default, and one that fits the file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from pipeline.kubeflow.parameters import FINGERPRINT
from pipeline.kubeflow.spec import CompiledPipeline
from schemas.errors import InputError

MODEL = "model"
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
    """The value of every parameter: given, else its default; the fingerprint is computed from the logs.

    Raises:
        InputError: a parameter that does not exist, has no value or one of the wrong kind, a fingerprint that
            is not the logs', or a model that the file was not compiled for.
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
    if MODEL in given:
        _refuse_other_labels(pipeline, given[MODEL])
    if FINGERPRINT in declared:
        values[FINGERPRINT] = _fingerprint(pipeline, values)
    for name, each in declared.items():
        if name not in values and not each.get("isOptional"):
            raise InputError(f"parameter {name} has no default; pass --argument {name}=...")
    return values


def _refuse_other_labels(pipeline: CompiledPipeline, model: str) -> None:
    """Which labels the clicks carry, and which of them judge a model, is compiled in."""
    from pydantic import ValidationError

    from models.settings import ModelSettings

    text = pipeline.tasks()["Trainer"].task["inputs"]["parameters"]["custom_config"]["runtimeValue"][
        "constant"
    ]
    try:
        compiled = ModelSettings.model_validate_json(json.loads(text)["settings"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"the pipeline was compiled by another version of cabb (model.{where}: {first['msg']}); "
            "compile it again"
        ) from None
    try:
        wanted = ModelSettings.model_validate({**compiled.model_dump(), "model": model})
    except ValidationError as error:
        raise InputError(f"parameter {MODEL}: {error.errors()[0]['msg']}") from None
    same_views = set(wanted.needed_views()) <= set(compiled.needed_views())
    if not same_views or wanted.label_of_output() != compiled.label_of_output():
        raise InputError(
            f"parameter {MODEL}: {model} learns from or is judged by other labels than {compiled.model}, for "
            f"which the pipeline was compiled; compile again with --set model={model}"
        )


def _fingerprint(pipeline: CompiledPipeline, values: Mapping[str, Any]) -> str:
    """The logs' own fingerprint, which a given one has to be."""
    from components.session_example_gen.readers import files_of
    from pipeline.fingerprint import data_fingerprint
    from schemas.events import LogSource

    given = values.get(FINGERPRINT)
    text = pipeline.tasks()["SessionExampleGen"].task["inputs"]["parameters"]["source"]["runtimeValue"][
        "constant"
    ]
    source = LogSource.model_validate_json(text).model_copy(
        update={"events": list(values["events"]), "catalog": values["catalog"] or None}
    )
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
