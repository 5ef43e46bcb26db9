"""Scores from a TensorFlow Serving API, without TensorFlow: protobuf, gRPC and NumPy are all it imports.

    with Client("127.0.0.1:8500", "merchandise") as client:
        scores = client.score(columns)              # a dict of columns, or an Arrow table
        scores = client.rank(user, candidates)      # N candidates for one user
        scores["p_conversion"]                      # [rows], float32

A client keeps one connection and may be shared by threads; `AsyncClient` is the same for asyncio. Every call
has a deadline. A call is repeated only if the server said UNAVAILABLE, and only within its deadline.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from schemas.errors import InputError
from serving import wire
from serving.requests import (
    Features,
    features_of_metadata,
    predict_request,
    ranking_columns,
    scores,
)

DEADLINE_S = 1.0
MAX_MESSAGE_BYTES = 64 << 20
_RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": wire.SERVICE}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.02s",
                "maxBackoff": "0.2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_OPTIONS = [
    ("grpc.service_config", json.dumps(_RETRIES)),
    ("grpc.enable_retries", 1),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 60_000),
]


class ScoringError(RuntimeError):
    """A call that got no scores: the server's status code and words."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(f"{code.name}: {message}")
        self.code = code


class _Calls:
    """What both clients share: a channel, and requests of one model."""

    def __init__(
        self,
        channel: Any,
        model: str,
        features: Features | None,
        deadline_s: float,
        version: int | None,
        label: str | None,
    ):
        if version is not None and label is not None:
            raise InputError("a client asks for a version or a label, not both")
        self._channel = channel
        self._model, self._version, self._label = model, version, label
        self._features = features
        self._deadline_s = deadline_s
        self._predict = channel.unary_unary(
            wire.PREDICT, wire.PredictRequest.SerializeToString, wire.PredictResponse.FromString
        )
        self._metadata = channel.unary_unary(
            wire.GET_MODEL_METADATA,
            wire.MetadataRequest.SerializeToString,
            wire.MetadataResponse.FromString,
        )

    def _metadata_request(self) -> Any:
        request = wire.MetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model
        if self._version is not None:
            request.model_spec.version.value = self._version
        if self._label is not None:
            request.model_spec.version_label = self._label
        return request

    def _request(self, features: Features, columns: Any, outputs: Sequence[str]) -> Any:
        return predict_request(
            features, columns, self._model, version=self._version, label=self._label, outputs=outputs
        )


class Client(_Calls):
    """Scores of one model.

    Args:
        address: host:port of gRPC.
        model: its name on the server.
        features: what it reads, from `features_of_export`; None asks the server once.
        deadline_s: seconds for one call, repetitions included.
        version: a version, or `label`; neither is the newest.
        label: a version's label in the server's configuration.
    """

    def __init__(
        self,
        address: str,
        model: str,
        features: Features | None = None,
        deadline_s: float = DEADLINE_S,
        version: int | None = None,
        label: str | None = None,
    ):
        channel = grpc.insecure_channel(address, _OPTIONS)
        super().__init__(channel, model, features, deadline_s, version, label)

    @property
    def features(self) -> Features:
        """What the model reads.

        Raises:
            ScoringError: the server does not tell.
        """
        if self._features is None:
            try:
                answer = self._metadata(self._metadata_request(), timeout=self._deadline_s)
            except grpc.RpcError as error:
                raise _scoring_error(error) from None
            self._features = features_of_metadata(answer)
        return self._features

    def score(
        self, columns: Any, outputs: Sequence[str] = (), deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Outputs by name, each [rows].

        Args:
            columns: raw features by name, or an Arrow table; see `predict_request`.
            outputs: which to compute; none is all.
            deadline_s: instead of the client's.

        Raises:
            InputError: the columns do not fit the model.
            ScoringError: the server refused, or did not answer in time.
        """
        request = self._request(self.features, columns, outputs)
        try:
            return scores(self._predict(request, timeout=deadline_s or self._deadline_s))
        except grpc.RpcError as error:
            raise _scoring_error(error) from None

    def rank(
        self,
        user: Mapping[str, Any],
        candidates: Any,
        outputs: Sequence[str] = (),
        deadline_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Outputs by name, each [candidates]; the user's features are sent once.

        Args:
            user: value by feature.
            candidates: columns, or an Arrow table, of the features that differ between candidates.
            outputs: which to compute; none is all.
            deadline_s: instead of the client's.
        """
        return self.score(ranking_columns(self.features, user, candidates), outputs, deadline_s)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Calls):
    """`Client` for asyncio; make it inside the event loop that uses it."""

    def __init__(
        self,
        address: str,
        model: str,
        features: Features | None = None,
        deadline_s: float = DEADLINE_S,
        version: int | None = None,
        label: str | None = None,
    ):
        channel = grpc.aio.insecure_channel(address, _OPTIONS)
        super().__init__(channel, model, features, deadline_s, version, label)

    async def features(self) -> Features:
        """What the model reads; see `Client.features`."""
        if self._features is None:
            try:
                answer = await self._metadata(self._metadata_request(), timeout=self._deadline_s)
            except grpc.RpcError as error:
                raise _scoring_error(error) from None
            self._features = features_of_metadata(answer)
        return self._features

    async def score(
        self, columns: Any, outputs: Sequence[str] = (), deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Outputs by name; see `Client.score`."""
        request = self._request(await self.features(), columns, outputs)
        try:
            return scores(await self._predict(request, timeout=deadline_s or self._deadline_s))
        except grpc.RpcError as error:
            raise _scoring_error(error) from None

    async def rank(
        self,
        user: Mapping[str, Any],
        candidates: Any,
        outputs: Sequence[str] = (),
        deadline_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Outputs by name, each [candidates]; see `Client.rank`."""
        return await self.score(ranking_columns(await self.features(), user, candidates), outputs, deadline_s)

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _scoring_error(error: grpc.RpcError) -> ScoringError:
    return ScoringError(error.code(), error.details() or "no details")
