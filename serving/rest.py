"""The REST side: /v1/models/NAME[/versions/N|/labels/L][/metadata|:predict]."""

from __future__ import annotations

import logging
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from serving import json_tensors
from serving.answers import SIGNATURE_DEF, Answers
from serving.errors import HTTP_STATUS, ServingError, invalid
from serving.limits import ServingLimits
from serving.servable import DEFAULT_SIGNATURE

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE
)
_STATUS = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.IGNORECASE)
_MAX_VERSION = 2**63 - 1


class RestServer(ThreadingHTTPServer):
    """HTTP/1.1 with kept connections, one thread each, and no more of them than the limits allow."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], answers: Answers, limits: ServingLimits):
        super().__init__(address, _Handler)
        self.answers = answers
        self.limits = limits
        self.computing = threading.BoundedSemaphore(limits.workers)
        self._connections = threading.BoundedSemaphore(limits.max_requests)

    def process_request(self, request: socket.socket, client_address: Any) -> None:
        """A thread for the connection; 503 when there are too many."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        body = b'{"error":"Too many connections"}'
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        try:
            request.settimeout(0.1)
            request.sendall(head.encode() + body)
        except OSError:
            pass
        self.shutdown_request(request)

    def process_request_thread(self, request: socket.socket, client_address: Any) -> None:
        """The connection's thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: socket.socket, client_address: Any) -> None:
        """A client that went away is no error."""
        logging.debug("REST connection ended", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: RestServer

    def setup(self) -> None:
        self.timeout = self.server.limits.request_timeout_s
        super().setup()

    def do_GET(self) -> None:
        self._reply(self._get)

    def do_POST(self) -> None:
        self._reply(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        logging.debug(format, *args)

    def _reply(self, work: Any) -> None:
        try:
            status, body = 200, work()
        except ServingError as error:
            status, body = HTTP_STATUS.get(error.code, 500), json_tensors.error_body(error)
        except TimeoutError:
            self.close_connection = True
            late = ServingError(
                grpc.StatusCode.DEADLINE_EXCEEDED, "the request's body did not arrive in time"
            )
            status, body = 408, json_tensors.error_body(late)
        except Exception as error:  # a defect must not end the connection without a status
            logging.exception("request failed")
            defect = ServingError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
            status, body = 500, json_tensors.error_body(defect)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _get(self) -> bytes:
        match = _STATUS.fullmatch(urlsplit(self.path).path)
        if match is None:
            raise invalid(f"Malformed request: GET {self.path[:200]}")
        if not match["name"]:
            raise invalid("Missing model name in request.")
        if match["metadata"]:
            request = get_model_metadata_pb2.GetModelMetadataRequest(
                model_spec=_spec(match), metadata_field=[SIGNATURE_DEF]
            )
            return _metadata_json(self.server.answers.metadata(request))
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=_spec(match))
        return _json(self.server.answers.status(request))

    def _post(self) -> bytes:
        body = self._body()
        match = _PREDICTION.fullmatch(urlsplit(self.path).path)
        if match is None:
            raise invalid(f"Malformed request: POST {self.path[:200]}")
        if match["method"].lower() != "predict":
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"{match['method']} is not served; use predict")
        document = json_tensors.parse(body)
        name = document.get("signature_name") or DEFAULT_SIGNATURE
        with self.server.answers.models.use(_spec(match)) as (_, servable):
            signature = servable.signature(name)
            if signature is None:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            form, arrays = json_tensors.arrays(document, signature, self.server.limits)
            with self.server.computing:
                outputs = servable.run(name, arrays)
        return json_tensors.response(outputs, form)

    def _body(self) -> bytes:
        """The request's body, read only if its announced length is within the limits."""
        length = self.headers.get("Content-Length", "")
        limit = self.server.limits.max_message_bytes
        if not length.isdigit():
            self.close_connection = True
            raise invalid("a POST needs a Content-Length")
        if int(length) > limit:
            self.close_connection = True
            raise ServingError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"Request of {length} bytes; this server takes {limit}"
            )
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            raise invalid(f"Request ended after {len(body)} of {length} bytes")
        return body


def _spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(match["name"]))
    if match["version"]:
        if int(match["version"]) > _MAX_VERSION:
            raise invalid(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = int(match["version"])
    if match["label"]:
        spec.version_label = unquote(match["label"])
    return spec


def _json(message: Any) -> bytes:
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    ).encode()


def _metadata_json(response: get_model_metadata_pb2.GetModelMetadataResponse) -> bytes:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[SIGNATURE_DEF].Unpack(signatures)
    return b'{"model_spec":%s,"metadata":{"signature_def":%s}}' % (
        _json(response.model_spec),
        _json(signatures),
    )
