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
SIGNATURE, RANKING_SIGNATURE = "raw", "rank"
OUTPUTS = ("p_caba", "p_cabb", "p_conversion")
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
    of_candidate: bool = False
    """Whether `rank` takes a value per candidate of it; it takes one value per user of all others."""


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
        of_candidate = set(description.get("of_candidate", ()))
        return {
            name: Feature(_TYPES[kind], name in SEQUENCES, length, name in of_candidate)
            for name, kind in sorted(types.items())
        }
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
    inputs, ranking = signatures[SIGNATURE].inputs, signatures[RANKING_SIGNATURE].inputs
    found = {}
    for name in sorted(inputs):
        sequence = len(inputs[name].tensor_shape.dim) == 2
        of_candidate = not sequence and len(ranking[name].tensor_shape.dim) == 2
        found[name] = Feature(inputs[name].dtype, sequence, of_candidate=of_candidate)
    return found


@dataclass(frozen=True)
class Requests:
    """Builds the requests for one model.

    Attributes:
        features: what the model reads.
        model: its name on the server.
        version: or `label`; neither is the newest.
        label: as in the server's configuration.
    """

    features: Features
    model: str
    version: int | None = None
    label: str | None = None

    def score(self, columns: Any, outputs: Sequence[str] = ()) -> Any:
        """A PredictRequest of the `raw` signature.

        Args:
            columns: mapping of column to values, or an Arrow table or record batch. Other columns are
                ignored.
            outputs: which to compute; none is all.

        Raises:
            InputError: a missing column, columns of different lengths, or a value of the wrong kind.
        """
        given = self._complete(as_columns(columns))
        rows = _rows(self.features, given)
        request = self._request(SIGNATURE, outputs)
        for name, feature in self.features.items():
            _fill(request.inputs[name], name, feature, given[name], [rows])
        return request

    def rank(self, user: Mapping[str, Any], candidates: Any, outputs: Sequence[str] = ()) -> Any:
        """A PredictRequest of the `rank` signature: N candidates of one user, whose features travel once.

        Args:
            user: value by feature: of the user, the session and the request; sequences are lists.
            candidates: columns of N rows, as for `score`; a feature of candidates that `user` gives is the
                same for all of them.
            outputs: which to compute; none is every score.

        Raises:
            InputError: see `score`; a feature that both give; a feature of the user that is not one value.
        """
        columns = as_columns(candidates)
        both = sorted(columns.keys() & user.keys() & self.features.keys())
        if both:
            raise InputError(f"{', '.join(both)}: given for the user and for the candidates; give each once")
        given = self._complete({**columns, **user})
        if not any(feature.of_candidate for feature in self.features.values()):
            return self.score(given, outputs)  # a version without the signature
        for name, feature in self.features.items():
            value = given[name]
            alone = _is_one_value(value, feature) or (feature.sequence and len(value) == 0)
            if not feature.of_candidate and not alone:
                raise InputError(f"{name} is the user's: give it in `user`, one value for all candidates")
        rows = _rows({n: f for n, f in self.features.items() if f.of_candidate}, given)
        # Fewer outputs than the signature has: servers then do not batch the request with others, whose
        # numbers of candidates would differ.
        request = self._request(RANKING_SIGNATURE, outputs or OUTPUTS)
        for name, feature in self.features.items():
            _fill(
                request.inputs[name], name, feature, given[name], [1, rows] if feature.of_candidate else [1]
            )
        return request

    def _complete(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        missing = [name for name in self.features if name not in given]
        if missing:
            raise InputError(
                f"the request lacks {len(missing)} of {len(self.features)} features: {', '.join(missing)}"
            )
        return given

    def _request(self, signature: str, outputs: Sequence[str]) -> Any:
        request = wire.PredictRequest()
        spec = request.model_spec
        spec.name, spec.signature_name = self.model, signature
        if self.version is not None:
            spec.version.value = self.version
        elif self.label is not None:
            spec.version_label = self.label
        request.output_filter.extend(outputs)
        return request


def scores(response: Any) -> dict[str, np.ndarray]:
    """Outputs by name, each [rows], float32 (`order`: int32)."""
    return {name: _values(tensor) for name, tensor in sorted(response.outputs.items())}


def _values(tensor: Any) -> np.ndarray:
    whole = tensor.dtype == wire.DT_INT32
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, "<i4" if whole else "<f4")
    return np.array(tensor.int_val, np.int32) if whole else np.array(tensor.float_val, np.float32)


def as_columns(columns: Any) -> Mapping[str, Any]:
    """Columns by name of a mapping or an Arrow table.

    Raises:
        InputError: it is neither.
    """
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


def _fill(tensor: Any, name: str, feature: Feature, values: Any, shape: list[int]) -> None:
    tensor.dtype = feature.dtype
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    if feature.sequence:
        tensor.tensor_shape.dim.add(size=feature.length)
        tensor.string_val.extend(_padded(name, values, feature, shape[0]))
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
    if isinstance(values, np.ndarray) and values.shape[1:] == (length,):
        return _bytes(name, values.ravel())
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
