"""What open-source Kubeflow Pipelines leaves out, and what stands in for it here.

| elsewhere                          | open-source KFP                | here                             |
|------------------------------------|--------------------------------|----------------------------------|
| a Resolver finds production        | no resolver                    | BaselineModel reads the versions |
| ExampleGen's driver sees new input | no driver                      | `data_fingerprint`               |
| input artifacts arrive typed       | the type is empty              | `with_types`, from declarations  |
| artifact types have PROPERTIES     | the format drops them          | custom properties only           |
| URIs open as they are              | files are at /s3, /minio, /gcs | `with_local_paths`, and back     |
| every artifact has a unique name   | names can be empty             | `with_names`: the URI            |
| parameters have defaults           | TFX's compiler drops them      | `runner.py` adds them            |
| null metadata is ignored           | a null ends the task           | `for_backend` leaves it out      |

Everything here rewrites the JSON that a task is started with, or that it leaves; nothing imports TFX.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.kubeflow.parameters import NOT_DECISIVE, PREFIX, fill, run_key, value_at

MOUNTS = {"s3://": "/s3/", "minio://": "/minio/", "gs://": "/gcs/"}
"""Where KFP's launcher keeps a task's copy of an object store; Vertex AI mounts /gcs likewise."""

Json = dict[str, Any]


def with_types(executor_input: Json, inputs_spec: Json, outputs_spec: Json) -> None:
    """Gives every artifact without a type the one its component declares, in place."""
    for side, spec in (("inputs", inputs_spec), ("outputs", outputs_spec)):
        declared = spec.get("artifacts", {})
        for key, artifact in _artifacts(executor_input, side):
            if not artifact.get("type") and key in declared:
                artifact["type"] = declared[key]["artifactType"]


def with_names(executor_input: Json) -> None:
    """Names every nameless artifact after its URI, in place: the Evaluator tells two models by name."""
    for side in ("inputs", "outputs"):
        for _, artifact in _artifacts(executor_input, side):
            artifact["name"] = artifact.get("name") or artifact["uri"]


def with_local_paths(executor_input: Json) -> None:
    """Points every artifact to the task's own copy of it, in place."""
    for side in ("inputs", "outputs"):
        for _, artifact in _artifacts(executor_input, side):
            artifact["uri"] = local_path(artifact["uri"])


def local_path(uri: str) -> str:
    """Where the launcher has put, or will look for, what a URI names; other URIs are returned as they are."""
    for scheme, mount in MOUNTS.items():
        if uri.startswith(scheme):
            return mount + uri[len(scheme) :]
    return uri


def for_backend(executor_output: Json, executor_input: Json) -> None:
    """Gives output artifacts back the URIs that the backend knows, and leaves nulls out, in place."""
    known = {artifact_key: each["uri"] for artifact_key, each in _artifacts(executor_input, "outputs")}
    for key, found in executor_output.get("artifacts", {}).items():
        for artifact in found.get("artifacts", []):
            artifact["uri"] = known.get(key, artifact.get("uri", ""))
            metadata = artifact.get("metadata", {})
            artifact["metadata"] = {name: value for name, value in metadata.items() if value is not None}


def with_parameters(
    executor_input: Json,
    fills: Mapping[str, str],
    run_key_paths: Sequence[str],
    argument_paths: Sequence[str],
    optional: Sequence[str],
) -> None:
    """Puts runtime parameters into the execution properties they belong to, in place.

    Args:
        executor_input: its parameter values lose every entry that only carried a value here.
        fills: path inside the execution properties -> name of the parameter.
        run_key_paths: where the key of this run goes.
        argument_paths: where all decisive values go, by name.
        optional: parameters whose empty value means none.
    """
    properties = executor_input.get("inputs", {}).get("parameterValues", {})
    carried = [name for name in properties if name.startswith(PREFIX)]
    values = {name.removeprefix(PREFIX): properties.pop(name) for name in carried}
    for path, name in fills.items():
        value = values[name]
        fill(properties, path, None if name in optional and value == "" else value)
    decisive = {name: each for name, each in values.items() if name not in NOT_DECISIVE}
    for path in run_key_paths:
        fill(properties, path, run_key(str(value_at(properties, path)), decisive))
    for path in argument_paths:
        fill(properties, path, decisive)


def with_curated_schema(executor_input: Json, columns: Mapping[str, Sequence[str]]) -> None:
    """Writes the curated schema where ImportSchemaGen will read it: the image brings it, no volume has to.

    Args:
        columns: keyword arguments of `write_schema`.
    """
    from schemas.curated import write_schema

    path = Path(tempfile.mkdtemp(prefix="curated-schema-")) / "schema.pbtxt"
    write_schema(path, **columns)
    executor_input["inputs"]["parameterValues"]["schema_file"] = str(path)


def blank_like_open_source(executor_input: Json) -> None:
    """What the open-source driver does to a task's inputs, in place: types are lost, names are numbers.

    For rehearsals: `cabb kubeflow run-local --oss`.
    """
    for number, (_, artifact) in enumerate(_artifacts(executor_input, "inputs"), start=1):
        artifact.pop("type", None)
        artifact["name"] = str(number)
    for _, artifact in _artifacts(executor_input, "outputs"):
        artifact.pop("name", None)


def _artifacts(executor_input: Json, side: str) -> Iterator[tuple[str, Json]]:
    for key, found in executor_input.get(side, {}).get("artifacts", {}).items():
        for artifact in found.get("artifacts", []):
            yield key, artifact
