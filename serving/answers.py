"""What a server answers, whichever protocol asked."""

from __future__ import annotations

import grpc
import numpy as np
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from serving.errors import ServingError, invalid
from serving.models import Models

SIGNATURE_DEF = "signature_def"


class Answers:
    """Predictions, metadata and status of the models of a server."""

    def __init__(self, models: Models):
        self.models = models

    def predict(self, request: predict_pb2.PredictRequest) -> tuple[int, dict[str, tuple[int, np.ndarray]]]:
        """The version that answered, and its outputs with their TensorFlow types.

        Raises:
            ServingError: the request cannot be answered.
        """
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        with self.models.use(request.model_spec) as (version, servable):
            return version, servable.predict(request)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Signatures of the version that the request names.

        Raises:
            ServingError: an unknown model or version, or another field than `signature_def`.
        """
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise invalid(f"Metadata field {field} is not supported")
        with self.models.use(request.model_spec) as (version, servable):
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """State and error of the versions that the request names.

        Raises:
            ServingError: NOT_FOUND for a model or version that was never seen.
        """
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        model = self.models.model(spec.name)
        states = model.states() if model else {}
        if spec.HasField("version"):
            if spec.version.value not in states:
                raise _unseen(f"Could not find version {spec.version.value} of model {spec.name}")
            states = {spec.version.value: states[spec.version.value]}
        if not states:
            raise _unseen(f"Could not find any versions of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, (state, error) in states.items():
            entry = response.model_version_status.add(version=version, state=int(state))
            entry.status.error_code = error.code.value[0] if error else 0
            entry.status.error_message = error.message if error else ""
        return response


def _unseen(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.NOT_FOUND, message)
