"""An emulator of TensorFlow Serving: its gRPC and REST API over SavedModels, on loopback only.

It is for trying a pushed model, for tests and for checking an export before it is pushed. It keeps what
clients can see of the real server (versions, labels, warm-up, status codes and their words); it is not made
for production.
"""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from schemas.errors import InputError
from serving.answers import Answers
from serving.errors import ServingError
from serving.grpc_service import grpc_server
from serving.limits import ServingLimits
from serving.models import Config, Models
from serving.rest import RestServer
from serving.servable import Servable

LOOPBACK = "127.0.0.1"
_DRAIN_S = 2.0


class Emulator:
    """A server of one configuration; use it as a context manager.

        with Emulator(single("merchandise", Path("serving/merchandise"))) as server:
            Client(server.address, "merchandise")

    Args:
        config: TensorFlow Serving's model configuration; `base_path` are directories of this machine.
        limits: bounds on what it takes on.
        port: of gRPC; 0 takes a free one.
        rest_port: of REST; 0 takes a free one.

    Raises:
        InputError: a port that is taken, or a configuration that cannot be used.
    """

    def __init__(
        self, config: Config, limits: ServingLimits | None = None, port: int = 0, rest_port: int = 0
    ):
        self.limits = limits or ServingLimits()
        self.models = Models(partial(_load, limits=self.limits))
        answers = Answers(self.models)
        self._grpc = grpc_server(answers, self.limits)
        try:
            self.port = self._grpc.add_insecure_port(f"{LOOPBACK}:{port}")
            self._rest = RestServer((LOOPBACK, rest_port), answers, self.limits)
        except (RuntimeError, OSError) as error:
            raise InputError(f"ports {port} and {rest_port}: {error}; choose others") from None
        try:
            self.models.configure(config)
        except ServingError as error:
            self._rest.server_close()
            raise InputError(f"model configuration: {error.message}") from None
        self._thread = threading.Thread(target=self._rest.serve_forever, args=[0.1], daemon=True)

    @property
    def address(self) -> str:
        """host:port of gRPC."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def rest_address(self) -> str:
        """host:port of REST."""
        return f"{LOOPBACK}:{self._rest.server_address[1]}"

    def start(self) -> Emulator:
        """Answers from now on."""
        self._grpc.start()
        self._thread.start()
        self.models.start(self.limits.poll_s)
        return self

    def close(self) -> None:
        """Lets running requests end, then closes ports and models."""
        self._grpc.stop(_DRAIN_S).wait()
        if self._thread.is_alive():
            self._rest.shutdown()
        self._rest.server_close()
        self.models.close()

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def _load(path: Path, limits: ServingLimits) -> Servable:
    return Servable(path, limits)
