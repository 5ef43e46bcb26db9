"""JSON bodies of the REST API: `instances` (rows) or `inputs` (columns) in, predictions or outputs out."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving import tensors
from serving.errors import ServingError, invalid
from serving.limits import ServingLimits

ROWS, COLUMNS = "instances", "inputs"
_DEBUG_CHARACTERS = 256
_BYTES_SUFFIX = "_bytes"


def parse(body: bytes) -> dict[str, Any]:
    """A request's JSON object.

    Raises:
        ServingError: INVALID_ARGUMENT with the parser's words.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise invalid(f"JSON Parse error: {type(error).__name__}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_shown(document)} is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise invalid(
            f"JSON Value: {_shown(document)} not formatted correctly. 'signature_name' key must be a string "
            "value."
        )
    return document


def arrays(
    document: dict[str, Any], signature: meta_graph_pb2.SignatureDef, limits: ServingLimits
) -> tuple[str, dict[str, np.ndarray]]:
    """The format of a request, ROWS or COLUMNS, and the inputs of a signature.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the input or the element.
    """
    inputs = dict(signature.inputs)
    if ROWS in document and COLUMNS in document:
        raise invalid(
            f"JSON Value: {_shown(document)} Not formatted correctly expecting only one of '{COLUMNS}' or "
            f"'{ROWS}' keys to exist "
        )
    if ROWS in document:
        columns = _columns_of_rows(document, inputs, limits)
    elif COLUMNS in document:
        columns = _columns(document[COLUMNS], inputs)
    else:
        raise invalid(f"Missing '{COLUMNS}' or '{ROWS}' key")
    made = {name: _array(name, columns[name], inputs[name], limits) for name in inputs}
    return (ROWS if ROWS in document else COLUMNS), made


def response(outputs: dict[str, tuple[int, np.ndarray]], form: str) -> bytes:
    """The body that answers a request of one form; several outputs make objects, one makes plain values.

    Raises:
        ServingError: outputs without a common batch size cannot be written as rows.
    """
    values = {name: _values(name, dtype, array) for name, (dtype, array) in outputs.items()}
    if form == COLUMNS:
        return _dump({"outputs": values if len(values) > 1 else next(iter(values.values()))})
    sizes = {array.shape[0] if array.ndim else None for _, array in outputs.values()}
    if len(sizes) != 1 or None in sizes:
        raise invalid("Tensor outputs have no common batch size; ask for them by 'inputs'")
    if len(values) == 1:
        return _dump({"predictions": next(iter(values.values()))})
    rows = zip(*values.values(), strict=True)
    return _dump({"predictions": [dict(zip(values, row, strict=True)) for row in rows]})


def error_body(error: ServingError) -> bytes:
    """What a refused request gets."""
    return json.dumps({"error": error.message}).encode()


def _dump(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


def _columns_of_rows(document: dict, inputs: dict, limits: ServingLimits) -> dict[str, list]:
    rows = document[ROWS]
    if not isinstance(rows, list):
        raise invalid(f"JSON Value: {_shown(document)} Expecting '{ROWS}' to be an list/array")
    if not rows:
        raise invalid(f"JSON Value: {_shown(document)} No values in '{ROWS}' array")
    if len(rows) > limits.max_rows:
        raise invalid(f"Task size {len(rows)} is larger than maximum input batch size {limits.max_rows}")
    named = _is_object(rows[0])
    if not named and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    if not named:
        for number, row in enumerate(rows):
            if _is_object(row):
                raise invalid(f"Expecting value/list but got object at item {number} of input list")
        return {next(iter(inputs)): rows}
    for number, row in enumerate(rows):
        if not _is_object(row):
            raise invalid(f"Expecting object but got list at item {number} of input list")
        if row.keys() != inputs.keys():
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: {_shown(row)} "
                f"keys must be equal to: {','.join(sorted(inputs))}"
            )
    return {name: [row[name] for row in rows] for name in inputs}


def _columns(value: Any, inputs: dict) -> dict[str, Any]:
    if not _is_object(value):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        return {next(iter(inputs)): value}
    for name in sorted(inputs):
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return value


def _array(name: str, value: Any, info: meta_graph_pb2.TensorInfo, limits: ServingLimits) -> np.ndarray:
    if info.dtype not in tensors.NUMPY_OF:
        raise invalid(f'input "{name}" is of a type that JSON cannot carry')
    if info.dtype == types_pb2.DT_STRING:
        shape, flat = _strings(name, value)
        array = np.empty(len(flat), object)
        array[:] = flat
    else:
        shape, array = _numbers(name, value, info.dtype)
    tensors.check_shape(name, shape, tensors.input_spec(info), limits)
    return array.reshape(shape)


def _numbers(name: str, value: Any, dtype: int) -> tuple[tuple[int, ...], np.ndarray]:
    try:
        found = np.array(value)
    except (ValueError, TypeError):
        raise invalid(f'input "{name}": Expecting values of one shape but got: {_shown(value)}') from None
    kinds = {types_pb2.DT_BOOL: "b", types_pb2.DT_INT32: "iu", types_pb2.DT_INT64: "iu"}.get(dtype, "iuf")
    if found.size and found.dtype.kind not in kinds:
        raise invalid(
            f'input "{name}": JSON Value: {_shown(value)} Type: {found.dtype} is not of expected type: '
            f"{tensors.dtype_name(dtype)}"
        )
    target = tensors.NUMPY_OF[dtype]
    if target.kind == "i" and found.size:
        bounds = np.iinfo(target)
        if int(found.max()) > bounds.max or int(found.min()) < bounds.min:
            raise invalid(f'input "{name}": a value does not fit into {tensors.dtype_name(dtype)}')
    with np.errstate(over="ignore"):
        return found.shape, found.astype(target).ravel()


def _strings(name: str, value: Any) -> tuple[tuple[int, ...], list[bytes]]:
    if isinstance(value, list):
        if not value:
            return (0,), []
        parts = [_strings(name, each) for each in value]
        shapes = {shape for shape, _ in parts}
        if len(shapes) > 1:
            first, other = sorted(shapes, key=lambda s: s != parts[0][0])[:2]
            raise invalid(f'input "{name}": Expecting shape {list(first)} but got: {list(other)}')
        return (len(value), *parts[0][0]), [each for _, flat in parts for each in flat]
    if isinstance(value, str):
        return (), [value.encode("utf-8", "surrogatepass")]
    if _is_base64(value):
        try:
            return (), [base64.b64decode(value["b64"], validate=True)]
        except (binascii.Error, ValueError, TypeError):
            raise invalid(
                f'input "{name}": JSON Value: {_shown(value)} not formatted correctly for base64 data'
            ) from None
    raise invalid(
        f'input "{name}": JSON Value: {_shown(value)} Type: {type(value).__name__} '
        "is not of expected type: string"
    )


def _values(name: str, dtype: int, array: np.ndarray) -> Any:
    if dtype != types_pb2.DT_STRING:
        return array.tolist()
    if name.endswith(_BYTES_SUFFIX):
        return _map(array.tolist(), lambda v: {"b64": base64.b64encode(v).decode()})
    return _map(array.tolist(), lambda v: v.decode("utf-8", "replace"))


def _map(tree: Any, leaf: Any) -> Any:
    return [_map(each, leaf) for each in tree] if isinstance(tree, list) else leaf(tree)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        return "<unprintable>"
    return text if len(text) <= _DEBUG_CHARACTERS else text[:_DEBUG_CHARACTERS] + "..."
