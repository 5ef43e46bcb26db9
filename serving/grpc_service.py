"""The gRPC side: PredictionService and ModelService over the models of a server.

Predict, GetModelMetadata, GetModelStatus and HandleReloadConfigRequest are answered; Classify, Regress and
MultiInference are UNIMPLEMENTED.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import tensors
from serving.answers import Answers
from serving.errors import CODE_OF_NUMBER, ServingError
from serving.limits import ServingLimits
from serving.receiving import BoundedReceiving
from serving.servable import DEFAULT_SIGNATURE


def grpc_server(answers: Answers, limits: ServingLimits) -> grpc.Server:
    """A server without a port that refuses with RESOURCE_EXHAUSTED what is beyond its limits."""
    server = grpc.server(
        ThreadPoolExecutor(limits.max_requests, thread_name_prefix="predict"),
        interceptors=[BoundedReceiving(limits)],
        maximum_concurrent_rpcs=limits.max_requests,
        options=[
            ("grpc.max_receive_message_length", limits.max_message_bytes),
            ("grpc.max_send_message_length", limits.max_message_bytes),
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(answers), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(answers), server)
    return server


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predictions and metadata."""

    def __init__(self, answers: Answers):
        self._answers = answers

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Outputs of one signature for one batch."""
        return _answer(context, lambda: self._predict(request))

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Signatures of a version."""
        return _answer(context, lambda: self._answers.metadata(request))

    def _predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        version, outputs = self._answers.predict(request)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.model_spec.signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        for name, (dtype, array) in outputs.items():
            response.outputs[name].CopyFrom(tensors.to_proto(array, dtype))
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Status of versions, and a new configuration at run time."""

    def __init__(self, answers: Answers):
        self._answers = answers

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """State and error of versions."""
        return _answer(context, lambda: self._answers.status(request))

    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces models, version policies and labels; the answer holds the error."""
        response = model_management_pb2.ReloadConfigResponse()
        try:
            self._answers.models.configure(request.config)
        except ServingError as error:
            response.status.error_code = error.code.value[0]
            response.status.error_message = error.message
        return response


def _answer(context: grpc.ServicerContext, work: Callable[[], Any]) -> Any:
    """The result of `work`, or its error as the call's status; late calls are not computed."""
    remaining = context.time_remaining()
    if remaining is not None and remaining <= 0:
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    try:
        return work()
    except ServingError as error:
        code, message = error.code, error.message
    except Exception as error:  # a defect must not end the connection without a status
        logging.exception("request failed")
        code, message = CODE_OF_NUMBER[13], f"{type(error).__name__}: {error}"
    return context.abort(code, message)
