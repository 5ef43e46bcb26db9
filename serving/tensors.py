"""Tensors of requests and responses: TensorProto to NumPy and back, within bounds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.errors import invalid
from serving.limits import ServingLimits

NUMPY_OF = {
    types_pb2.DT_FLOAT: np.dtype(np.float32),
    types_pb2.DT_DOUBLE: np.dtype(np.float64),
    types_pb2.DT_INT32: np.dtype(np.int32),
    types_pb2.DT_INT64: np.dtype(np.int64),
    types_pb2.DT_BOOL: np.dtype(np.bool_),
    types_pb2.DT_STRING: np.dtype(object),
}
_FIELD_OF = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}


class InputSpec(NamedTuple):
    """What a signature says of an input: its type, and its shape with -1 for any size; None is any shape."""

    dtype: int
    shape: tuple[int, ...] | None


def input_spec(info: meta_graph_pb2.TensorInfo) -> InputSpec:
    """The spec of a signature's input."""
    shape = info.tensor_shape
    return InputSpec(info.dtype, None if shape.unknown_rank else tuple(dim.size for dim in shape.dim))


def dtype_name(dtype: int) -> str:
    """`float`, `string`, ... as TensorFlow's messages say it."""
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower() if dtype in NUMPY_OF else str(dtype)


def to_array(name: str, proto: tensor_pb2.TensorProto, spec: InputSpec, limits: ServingLimits) -> np.ndarray:
    """The input `name` of a request as an array.

    A tensor with fewer values than its shape repeats the last one, as everywhere in TensorFlow.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the input.
    """
    if proto.dtype != spec.dtype:
        raise invalid(
            f'input "{name}" is {dtype_name(proto.dtype)}, but the signature expects {dtype_name(spec.dtype)}'
        )
    if proto.dtype not in NUMPY_OF:
        raise invalid(f"tensor parsing error: {name}")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise invalid(f"tensor parsing error: {name}")
    check_shape(name, shape, spec, limits)
    count, dtype = math.prod(shape), NUMPY_OF[proto.dtype]
    if proto.tensor_content:
        if dtype.kind == "O" or len(proto.tensor_content) != count * dtype.itemsize:
            raise invalid(f"tensor parsing error: {name}")
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    given = getattr(proto, _FIELD_OF[proto.dtype])
    values = np.empty(count, dtype)
    if len(given) == 0:
        values[:] = b"" if dtype.kind == "O" else 0
    elif len(given) >= count:
        values[:] = given if len(given) == count else given[:count]
    else:
        values[: len(given)] = given
        values[len(given) :] = given[-1]
    return values.reshape(shape)


def check_shape(name: str, shape: tuple[int, ...], spec: InputSpec, limits: ServingLimits) -> None:
    """Refuses what the signature does not take, and what is larger than the limits.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the input.
    """
    expected = spec.shape
    if expected is not None and (
        len(shape) != len(expected)
        or any(want not in (-1, got) for want, got in zip(expected, shape, strict=True))
    ):
        wanted = ",".join("?" if size < 0 else str(size) for size in expected)
        got = ",".join(map(str, shape))
        raise invalid(f'input "{name}" has shape [{got}], but the signature expects [{wanted}]')
    # The second dimension of numbers are candidates, which become rows; that of strings may be a history.
    rows = math.prod(shape if spec.dtype != types_pb2.DT_STRING else shape[:1])
    if rows > limits.max_rows:
        raise invalid(f"Task size {rows} is larger than maximum input batch size {limits.max_rows}")
    if math.prod(shape) > limits.max_elements:
        raise invalid(
            f'input "{name}" has {math.prod(shape)} values; this server takes at most {limits.max_elements}'
        )


def to_proto(array: np.ndarray, dtype: int) -> tensor_pb2.TensorProto:
    """An output as TensorFlow Serving sends it: values in the field of their type."""
    proto = tensor_pb2.TensorProto(dtype=dtype)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, _FIELD_OF[dtype]).extend(array.ravel().tolist())
    return proto
