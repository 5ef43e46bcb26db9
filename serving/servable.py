"""One loaded version: a SavedModel in a session of its own, warmed up with the requests that came with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving import tensors
from serving.batching import Batcher
from serving.errors import CODE_OF_NUMBER, ServingError, invalid
from serving.limits import ServingLimits

DEFAULT_SIGNATURE = "serving_default"
WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MAX_WARMUP_RECORDS = 1000
_PREDICT = "tensorflow/serving/predict"


class Servable:
    """A SavedModel that answers Predict requests.

    Like TensorFlow Serving it runs the graph in a session, so a filtered output costs only what it needs.

    Args:
        path: the version's folder.
        limits: of the server.

    Raises:
        ServingError: the SavedModel cannot be loaded, or one of its warm-up requests fails.
    """

    def __init__(self, path: Path, limits: ServingLimits):
        self._limits = limits
        self._batcher = Batcher(limits.max_rows, limits.batch_wait_ms / 1e3) if limits.batch_wait_ms else None
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                meta = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
            self.signatures: dict[str, meta_graph_pb2.SignatureDef] = {
                name: each for name, each in meta.signature_def.items() if each.method_name == _PREDICT
            }
            self._specs = {
                name: {each: tensors.input_spec(info) for each, info in signature.inputs.items()}
                for name, signature in self.signatures.items()
            }
            self._calls: dict[tuple[str, tuple[str, ...]], Any] = {}
            self._warm_up(path / WARMUP_FILE)
        except tf.errors.OpError as error:
            self._session.close()
            raise _of_tensorflow(error) from None
        except (OSError, ValueError, RuntimeError, DecodeError) as error:
            self._session.close()
            raise ServingError(
                grpc.StatusCode.NOT_FOUND, f"Could not load SavedModel at {path}: {error}"
            ) from None
        except ServingError:
            self._session.close()
            raise

    def close(self) -> None:
        """Frees the session."""
        self._session.close()

    def signature(self, name: str) -> meta_graph_pb2.SignatureDef | None:
        """A signature by name; the empty name is the default."""
        return self.signatures.get(name or DEFAULT_SIGNATURE)

    def predict(self, request: predict_pb2.PredictRequest) -> dict[str, tuple[int, np.ndarray]]:
        """Outputs by name, each with its TensorFlow type.

        Raises:
            ServingError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for anything else
                that is wrong with the request, and whatever the graph raises.
        """
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = self.signature(name)
        if signature is None:
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
            )
        _check_names(signature.inputs, request.inputs)
        outputs = _chosen(signature, request.output_filter)
        specs = self._specs[name]
        arrays = {
            each: tensors.to_array(each, proto, specs[each], self._limits)
            for each, proto in request.inputs.items()
        }
        return self.run(name, arrays, outputs)

    def run(
        self, name: str, arrays: dict[str, np.ndarray], outputs: Sequence[str] = ()
    ) -> dict[str, tuple[int, np.ndarray]]:
        """Outputs of a known signature for arrays of the right names, types and ranks."""
        signature = self.signatures[name]
        outputs = tuple(outputs) or tuple(sorted(signature.outputs))
        sizes = {len(array) for array in arrays.values() if array.ndim}
        if len(sizes) > 1:
            rows = ", ".join(f"{n} {len(a)}" for n, a in sorted(arrays.items()) if a.ndim)
            raise invalid(f"Batching Run() input tensors must have equal 0th-dimension size: {rows}")
        # As in TensorFlow Serving, only requests for all outputs of a signature are computed together.
        if self._batcher and len(sizes) == 1 and len(outputs) == len(signature.outputs):
            values = self._batcher.run(
                (name, outputs), arrays, lambda whole: self._compute(name, whole, outputs)
            )
        else:
            values = self._compute(name, arrays, outputs)
        return {each: (signature.outputs[each].dtype, value) for each, value in values.items()}

    def _compute(
        self, name: str, arrays: dict[str, np.ndarray], outputs: tuple[str, ...]
    ) -> dict[str, np.ndarray]:
        """Runs the graph."""
        call = self._call(name, outputs)
        try:
            values = call(*(arrays[each] for each in sorted(arrays)))
        except tf.errors.OpError as error:
            raise _of_tensorflow(error) from None
        except (TypeError, ValueError, UnicodeError) as error:
            raise invalid(str(error)) from None
        return dict(zip(outputs, values, strict=True))

    def _call(self, name: str, outputs: tuple[str, ...]) -> Any:
        """The compiled call of a signature for some outputs."""
        call = self._calls.get((name, outputs))
        if call is None:
            signature = self.signatures[name]
            options = config_pb2.CallableOptions()
            options.feed.extend(signature.inputs[each].name for each in sorted(signature.inputs))
            options.fetch.extend(signature.outputs[each].name for each in outputs)
            options.run_options.timeout_in_ms = int(self._limits.request_timeout_s * 1000)
            call = self._calls[name, outputs] = self._session._make_callable_from_options(options)
        return call

    def _warm_up(self, file: Path) -> None:
        if not file.is_file():
            return
        for number, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(file))):
            if number >= MAX_WARMUP_RECORDS:
                raise invalid(
                    f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS}) at {file}"
                )
            log = prediction_log_pb2.PredictionLog()
            try:
                log.ParseFromString(record)
            except DecodeError:
                raise invalid(f"Failed to parse warmup record: {number} from {file}") from None
            if log.WhichOneof("log_type") != "predict_log":
                raise ServingError(
                    grpc.StatusCode.UNIMPLEMENTED,
                    f"Unsupported log_type for warmup: record {number} of {file}",
                )
            self.predict(log.predict_log.request)


def _check_names(expected: Any, given: Any) -> None:
    want, got = sorted(expected), sorted(given)
    extra, missing = sorted(set(got) - set(want)), sorted(set(want) - set(got))
    if len(want) != len(got):
        raise invalid(
            f"input size does not match signature: {len(got)}!={len(want)} len({{{','.join(got)}}}) != "
            f"len({{{','.join(want)}}}). Sent extra: {{{','.join(extra)}}}. Missing but required: "
            f"{{{','.join(missing)}}}."
        )
    if extra:
        raise invalid(
            f"input tensor alias not found in signature: {extra[0]}. Inputs expected to be in the set "
            f"{{{','.join(want)}}}."
        )


def _chosen(signature: meta_graph_pb2.SignatureDef, output_filter: Sequence[str]) -> tuple[str, ...]:
    for number, name in enumerate(output_filter):
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                f"{{{','.join(sorted(signature.outputs))}}}."
            )
        if name in output_filter[:number]:
            raise invalid(f"duplicate output tensor alias: {name}")
    return tuple(sorted(output_filter))


def _of_tensorflow(error: tf.errors.OpError) -> ServingError:
    code = CODE_OF_NUMBER.get(error.error_code, grpc.StatusCode.UNKNOWN)
    # Python may put the operation's own history before what went wrong; the node's name comes after it.
    lines = error.message.partition("\n\t [[")[0].split("\n")
    said = lines[-1] if lines[0] == "Graph execution error:" else lines[0]
    return ServingError(code, said.strip() or code.name)
