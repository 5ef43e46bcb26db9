"""The messages of TensorFlow Serving that a client needs, by their public field numbers.

The generated modules of tensorflow-serving-api import TensorFlow, which takes ten seconds and a gigabyte.
Only field numbers and types travel, so equal messages of our own, in a descriptor pool of their own, are
understood by every server and never meet the generated ones.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
SERVICE = "tensorflow.serving.PredictionService"

DT_FLOAT, DT_INT32, DT_STRING, DT_INT64 = 1, 3, 7, 9

_PACKAGE = "cabb.wire"
_MESSAGES = {
    "Int64Value": "int64 value = 1",
    "ModelSpec": "string name = 1; Int64Value version = 2; string signature_name = 3; "
    "string version_label = 4",
    "Dim": "int64 size = 1",
    "TensorShape": "Dim* dim = 2; bool unknown_rank = 3",
    "Tensor": "int32 dtype = 1; TensorShape tensor_shape = 2; bytes tensor_content = 4; "
    "float* float_val = 5; int32* int_val = 7; bytes* string_val = 8; int64* int64_val = 10",
    "PredictRequest": "ModelSpec model_spec = 1; map Tensor inputs = 2; string* output_filter = 3",
    "PredictResponse": "map Tensor outputs = 1; ModelSpec model_spec = 2",
    "Any": "string type_url = 1; bytes value = 2",
    "MetadataRequest": "ModelSpec model_spec = 1; string* metadata_field = 2",
    "MetadataResponse": "ModelSpec model_spec = 1; map Any metadata = 2",
    "TensorInfo": "int32 dtype = 2; TensorShape tensor_shape = 3",
    "Signature": "map TensorInfo inputs = 1; map TensorInfo outputs = 2",
    "BytesList": "bytes* value = 1",
    "FloatList": "float* value = 1",
    "Int64List": "int64* value = 1",
    "ExampleFeature": "BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3",
    "ExampleFeatures": "map ExampleFeature feature = 1",
    "Example": "ExampleFeatures features = 1",
    "SignatureMap": "map Signature signature_def = 1",
}
"""Fields as `type name = number`; `*` repeats, `map T` is a map from string to T."""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in ("int64", "int32", "bool", "float", "string", "bytes")
}


def _add_field(message: descriptor_pb2.DescriptorProto, text: str) -> None:
    declared, number = text.split(" = ")
    *is_map, kind, name = declared.split()
    repeated = bool(is_map) or kind.endswith("*")
    field = message.field.add(name=name, number=int(number))
    field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    if is_map:
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, "string key = 1")
        _add_field(entry, f"{kind} value = 2")
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{message.name}.{entry.name}"
    elif kind.rstrip("*") in _SCALARS:
        field.type = _SCALARS[kind.rstrip("*")]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind.rstrip('*')}"


def _classes() -> dict[str, type]:
    file = descriptor_pb2.FileDescriptorProto(name="cabb/wire.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split("; "):
            _add_field(message, text)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_BUILT = _classes()
Tensor = _BUILT["Tensor"]
PredictRequest = _BUILT["PredictRequest"]
PredictResponse = _BUILT["PredictResponse"]
MetadataRequest = _BUILT["MetadataRequest"]
MetadataResponse = _BUILT["MetadataResponse"]
SignatureMap = _BUILT["SignatureMap"]
Example = _BUILT["Example"]
