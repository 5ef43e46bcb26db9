"""Predict requests from columns: one tensor per feature, never a row at a time.

A column is a list, a NumPy array, an Arrow array or one value for all rows. One value travels once: a tensor
with fewer values than its shape repeats the last one wherever TensorFlow reads it. Sequences (the user's
recent items) are ragged lists, padded with "" to the model's length; one list of strings stands for all rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import InputError
from serving import wire

DESCRIPTION_FILE = Path("assets.extra", "cabb.json")
SIGNATURE = "raw"
SEQUENCE_LENGTH = 20
SEQUENCES = frozenset({"recent_items", "recent_leaves"})
_TYPES = {"string": wire.DT_STRING, "float32": wire.DT_FLOAT, "int64": wire.DT_INT64}
_NUMPY = {wire.DT_FLOAT: np.dtype("<f4"), wire.DT_INT64: np.dtype("<i8")}


@dataclass(frozen=True)
class Feature:
    """A raw feature that the model reads: its TensorFlow type, and whether a row holds a list of it."""

    dtype: int
    sequence: bool = False
    length: int = SEQUENCE_LENGTH
    """Of every sequence that is sent. Servers that batch requests need one length, and would pad shorter ones
    with their first value."""


Features = Mapping[str, Feature]


def features_of_export(path: str | Path) -> Features:
    """The features of a pushed version, from its description.

    Args:
        path: the version's folder, or its cabb.json.

    Raises:
        InputError: no readable description.
    """
    path = Path(path)
    file = path / DESCRIPTION_FILE if path.is_dir() else path
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        types, length = description["raw_features"], description["sequence_length"]
        return {n: Feature(_TYPES[kind], n in SEQUENCES, length) for n, kind in sorted(types.items())}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: not the description of a pushed version ({type(error).__name__}: {error})"
        ) from None


def features_of_metadata(response: Any) -> Features:
    """The features of a served version, from its GetModelMetadata answer.

    Raises:
        InputError: the model has no `raw` signature.
    """
    signatures = wire.SignatureMap.FromString(response.metadata["signature_def"].value).signature_def
    if SIGNATURE not in signatures:
        known = ", ".join(sorted(signatures)) or "none"
        raise InputError(f"the served model has no signature {SIGNATURE!r} (it has: {known})")
    inputs = signatures[SIGNATURE].inputs
    return {
        name: Feature(inputs[name].dtype, len(inputs[name].tensor_shape.dim) == 2) for name in sorted(inputs)
    }


def predict_request(
    features: Features,
    columns: Any,
    model: str,
    *,
    version: int | None = None,
    label: str | None = None,
    outputs: Sequence[str] = (),
) -> Any:
    """A PredictRequest of the `raw` signature.

    Args:
        features: what the model reads.
        columns: mapping of column to values, or an Arrow table or record batch. Other columns are ignored.
        model: its name.
        version: or `label`; neither is the newest.
        label: as in the server's configuration.
        outputs: which to compute; none is all.

    Raises:
        InputError: a missing column, columns of different lengths, or a value of the wrong kind.
    """
    given = _mapping(columns)
    missing = [name for name in features if name not in given]
    if missing:
        raise InputError(
            f"the request lacks {len(missing)} of {len(features)} features: {', '.join(missing)}"
        )
    rows = _rows(features, given)
    request = wire.PredictRequest()
    spec = request.model_spec
    spec.name, spec.signature_name = model, SIGNATURE
    if version is not None:
        spec.version.value = version
    elif label is not None:
        spec.version_label = label
    request.output_filter.extend(outputs)
    for name, feature in features.items():
        tensor = request.inputs[name]
        tensor.dtype = feature.dtype
        tensor.tensor_shape.dim.add(size=rows)
        _fill(tensor, name, feature, given[name], rows)
    return request


def ranking_columns(features: Features, user: Mapping[str, Any], candidates: Any) -> dict[str, Any]:
    """Columns that score N candidates for one user: the user's values once, a column per candidate feature.

    Args:
        features: what the model reads.
        user: value by feature: of the user, the session and the request; sequences are lists.
        candidates: columns of N rows, as for `predict_request`.

    Raises:
        InputError: a feature that both give.
    """
    columns = dict(_mapping(candidates))
    both = sorted(columns.keys() & user.keys() & features.keys())
    if both:
        raise InputError(f"{', '.join(both)}: given for the user and for the candidates; give each once")
    return {**columns, **user}


def scores(response: Any) -> dict[str, np.ndarray]:
    """Outputs by name, each [rows], float32."""
    return {name: _floats(tensor) for name, tensor in sorted(response.outputs.items())}


def _floats(tensor: Any) -> np.ndarray:
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, "<f4")
    return np.array(tensor.float_val, np.float32)


def _mapping(columns: Any) -> Mapping[str, Any]:
    if isinstance(columns, Mapping):
        return columns
    if hasattr(columns, "schema") and hasattr(columns, "column"):  # Arrow, without importing it
        return {name: columns.column(number) for number, name in enumerate(columns.schema.names)}
    raise InputError(f"columns are a mapping or an Arrow table, not {type(columns).__name__}")


def _rows(features: Features, given: Mapping[str, Any]) -> int:
    several = [name for name, feature in features.items() if not _is_one_value(given[name], feature)]
    for name in several:
        if not hasattr(given[name], "__len__"):
            raise InputError(f"column {name}: expected a value or a column, got {_shown(given[name])}")
    lengths = {name: len(given[name]) for name in several}
    sizes = set(lengths.values())
    if len(sizes) > 1:
        usual = max(sizes, key=list(lengths.values()).count)
        odd = next(name for name, size in lengths.items() if size != usual)
        raise InputError(f"column {odd} has {lengths[odd]} rows, the others {usual}")
    return sizes.pop() if sizes else 1


def _is_one_value(values: Any, feature: Feature) -> bool:
    if feature.sequence:
        return isinstance(values, list | tuple) and bool(values) and isinstance(values[0], str | bytes)
    return isinstance(values, str | bytes | int | float | np.generic)


def _fill(tensor: Any, name: str, feature: Feature, values: Any, rows: int) -> None:
    if feature.sequence:
        tensor.tensor_shape.dim.add(size=feature.length)
        tensor.string_val.extend(_padded(name, values, feature, rows))
    elif feature.dtype == wire.DT_STRING:
        one = _is_one_value(values, feature)
        tensor.string_val.extend(_bytes(name, [values] if one else values))
    elif _is_one_value(values, feature):
        array = _numbers(name, [values], feature.dtype)
        field = tensor.float_val if feature.dtype == wire.DT_FLOAT else tensor.int64_val
        field.append(array[0].item())
    else:
        tensor.tensor_content = _numbers(name, values, feature.dtype).tobytes()


def _numbers(name: str, values: Any, dtype: int) -> np.ndarray:
    if getattr(values, "null_count", 0):
        raise InputError(f"column {name}: {values.null_count} null values; unknown numbers are -1")
    if hasattr(values, "to_numpy") and not isinstance(values, np.ndarray):
        values = values.to_numpy()
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.array("uneven")
    kinds = "iufb" if dtype == wire.DT_FLOAT else "iub"
    if array.ndim != 1 or (array.size and array.dtype.kind not in kinds):
        kind = "numbers" if dtype == wire.DT_FLOAT else "whole numbers"
        raise InputError(f"column {name}: expected one of {kind} per row, got {_shown(values)}")
    with np.errstate(over="ignore"):
        array = array.astype(_NUMPY[dtype], copy=False)
        # A dot product is finite only if every value is: one pass for the usual case.
        suspect = dtype == wire.DT_FLOAT and not math.isfinite(np.dot(array, array))
    if suspect and not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise InputError(f"column {name}: row {row} is {array[row]}; unknown numbers are -1")
    return array


def _bytes(name: str, values: Iterable[Any]) -> list[bytes]:
    if hasattr(values, "to_pylist"):
        values = values.to_pylist()
    elif isinstance(values, np.ndarray):
        values = values.tolist()
    try:
        return [v if type(v) is bytes else v.encode() for v in values]
    except (AttributeError, UnicodeEncodeError):
        bad = next(v for v in values if not isinstance(v, str | bytes) or _unencodable(v))
        raise InputError(f"column {name}: expected text, got {_shown(bad)}") from None


def _padded(name: str, values: Any, feature: Feature, rows: int) -> list[bytes]:
    """Values row after row, every row cut or padded to the model's length: the model reads no further."""
    length = feature.length
    if _is_one_value(values, feature):
        return (_bytes(name, values[:length]) + [b""] * (length - len(values))) * rows
    if hasattr(values, "to_pylist"):
        values = values.to_pylist()
    elif isinstance(values, np.ndarray):
        values = values.tolist()
    lists = [each or () for each in values]
    if any(isinstance(each, str | bytes) or not hasattr(each, "__len__") for each in lists):
        raise InputError(f"column {name}: expected a list of texts per row, got {_shown(lists[0])}")
    padding = (b"",) * length
    padded = (chain(each[:length], padding[len(each) :]) for each in lists)
    return _bytes(name, list(chain.from_iterable(padded)))


def _unencodable(value: Any) -> bool:
    try:
        return isinstance(value, str) and not isinstance(value.encode(), bytes)
    except UnicodeEncodeError:
        return True


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
