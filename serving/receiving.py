"""How gRPC calls wait for their requests: gRPC hands a call to a thread before its request has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from serving.limits import ServingLimits


class BoundedReceiving(grpc.ServerInterceptor):
    """Only calls whose request is here are computed, `limits.workers` at once.

    A call whose request did not come within `limits.request_timeout_s` is cancelled when the next call comes.
    """

    def __init__(self, limits: ServingLimits):
        self._limit_s = limits.request_timeout_s
        self._computing = threading.BoundedSemaphore(limits.workers)
        self._waiting: dict[grpc.ServicerContext, float] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """The handler of a call, which waits for the request itself."""
        late = time.monotonic() - self._limit_s
        for context, since in list(self._waiting.items()):
            if since < late:
                context.cancel()
        handler = continuation(handler_call_details)
        if handler is None:
            return None

        def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            self._waiting[context] = time.monotonic()
            try:
                request = next(requests, None)
            finally:
                del self._waiting[context]
            if request is None:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call ended without a request")
            with self._computing:
                return handler.unary_unary(request, context)

        return grpc.stream_unary_rpc_method_handler(
            answer, handler.request_deserializer, handler.response_serializer
        )
