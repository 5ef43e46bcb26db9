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
from serving.requests import Features, Requests, as_columns, features_of_metadata, scores
from serving.score_log import ScoreLog

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
    """What both clients share: a channel, and the requests of one model.

    Args:
        address: host:port of gRPC.
        model: its name on the server.
        features: what it reads, from `features_of_export`; None asks the server once.
        deadline_s: seconds for one call, repetitions included.
        version: a version, or `label`; neither is the newest.
        label: a version's label in the server's configuration.
        log: keeps a sample of what is scored.
    """

    _open: Any

    def __init__(
        self,
        address: str,
        model: str,
        features: Features | None = None,
        deadline_s: float = DEADLINE_S,
        version: int | None = None,
        label: str | None = None,
        log: ScoreLog | None = None,
    ):
        if version is not None and label is not None:
            raise InputError("a client asks for a version or a label, not both")
        self._channel = self._open(address, _OPTIONS)
        self._model, self._version, self._label = model, version, label
        self._requests = self._requests_of(features) if features is not None else None
        self._deadline_s, self._log = deadline_s, log
        self._predict = self._channel.unary_unary(
            wire.PREDICT, wire.PredictRequest.SerializeToString, wire.PredictResponse.FromString
        )
        self._metadata = self._channel.unary_unary(
            wire.GET_MODEL_METADATA,
            wire.MetadataRequest.SerializeToString,
            wire.MetadataResponse.FromString,
        )

    def _requests_of(self, features: Features) -> Requests:
        return Requests(features, self._model, self._version, self._label)

    def _scores(self, response: Any, *columns: Any) -> dict[str, np.ndarray]:
        found = scores(response)
        if self._log is not None:
            given = {name: each for part in columns for name, each in as_columns(part).items()}
            self._log.write(given, found, response.model_spec.version.value)
        return found

    def _metadata_request(self) -> Any:
        request = wire.MetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model
        if self._version is not None:
            request.model_spec.version.value = self._version
        if self._label is not None:
            request.model_spec.version_label = self._label
        return request


class Client(_Calls):
    """Scores of one model."""

    _open = staticmethod(grpc.insecure_channel)

    @property
    def features(self) -> Features:
        """What the model reads.

        Raises:
            ScoringError: the server does not tell.
        """
        if self._requests is None:
            answer = self._ask(self._metadata, self._metadata_request())
            self._requests = self._requests_of(features_of_metadata(answer))
        return self._requests.features

    def score(
        self, columns: Any, outputs: Sequence[str] = (), deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Outputs by name, each [rows].

        Args:
            columns: raw features by name, or an Arrow table; see `Requests.score`.
            outputs: which to compute; none is all.
            deadline_s: instead of the client's.

        Raises:
            InputError: the columns do not fit the model.
            ScoringError: the server refused, or did not answer in time.
        """
        request = self._ready().score(columns, outputs)
        return self._scores(self._ask(self._predict, request, deadline_s), columns)

    def rank(
        self,
        user: Mapping[str, Any],
        candidates: Any,
        outputs: Sequence[str] = (),
        deadline_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Outputs by name, each [candidates]; the user's features are sent and looked up once.

        Args:
            user: value by feature.
            candidates: columns, or an Arrow table, of the features that differ between candidates.
            outputs: which to compute, `order` among them; none is every score.
            deadline_s: instead of the client's.

        Raises: as `score`.
        """
        request = self._ready().rank(user, candidates, outputs)
        return self._scores(self._ask(self._predict, request, deadline_s), user, candidates)

    def _ready(self) -> Requests:
        _ = self.features
        return self._requests

    def _ask(self, call: Any, request: Any, deadline_s: float | None = None) -> Any:
        try:
            return call(request, timeout=deadline_s or self._deadline_s)
        except grpc.RpcError as error:
            raise _scoring_error(error) from None

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Calls):
    """`Client` for asyncio; make it inside the event loop that uses it."""

    _open = staticmethod(grpc.aio.insecure_channel)

    async def features(self) -> Features:
        """What the model reads; see `Client.features`."""
        if self._requests is None:
            answer = await self._ask(self._metadata, self._metadata_request())
            self._requests = self._requests_of(features_of_metadata(answer))
        return self._requests.features

    async def score(
        self, columns: Any, outputs: Sequence[str] = (), deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Outputs by name; see `Client.score`."""
        request = (await self._ready()).score(columns, outputs)
        return self._scores(await self._ask(self._predict, request, deadline_s), columns)

    async def rank(
        self,
        user: Mapping[str, Any],
        candidates: Any,
        outputs: Sequence[str] = (),
        deadline_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Outputs by name, each [candidates]; see `Client.rank`."""
        request = (await self._ready()).rank(user, candidates, outputs)
        return self._scores(await self._ask(self._predict, request, deadline_s), user, candidates)

    async def _ready(self) -> Requests:
        await self.features()
        return self._requests

    async def _ask(self, call: Any, request: Any, deadline_s: float | None = None) -> Any:
        try:
            return await call(request, timeout=deadline_s or self._deadline_s)
        except grpc.RpcError as error:
            raise _scoring_error(error) from None

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _scoring_error(error: grpc.RpcError) -> ScoringError:
    return ScoringError(error.code(), error.details() or "no details")
