"""A server of the tiny model: the emulator, or the real one that TF_SERVING_ADDR names.

Against a real server:

    TF_SERVING_ADDR       host:port of gRPC
    TF_SERVING_REST_ADDR  host:port of REST
    TF_SERVING_BASE       directory that it polls for the versions of a model called `tiny`
    TF_SERVING_SEES       the same directory as the server sees it (default: the same path)
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from serving.emulator import Emulator
from serving.limits import ServingLimits
from serving.models import single
from tests.serving import tiny_model

MODEL = "tiny"
PATIENCE_S = 30


@dataclass
class Server:
    """Where a server listens and where its versions are put."""

    address: str
    rest_address: str
    base: Path
    seen_base: str
    emulator: Emulator | None = None

    def publish(self, bias: float = 0.0, how: str | None = None) -> int:
        """Puts the next version in place, broken in some way if `how` says so; returns its number."""
        present = [int(p.name) for p in self.base.iterdir() if p.name.isdigit()]
        number = max(present, default=0) + 1
        if how:
            tiny_model.corrupt(self.base / str(number), self.base / str(max(present)), how)
        else:
            tiny_model.save(self.base / str(number), bias)
        return number


def wait_for(condition, what: str):
    """Polls until `condition` returns something true."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE_S} s for {what}")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server with at least one version of `tiny`."""
    if address := os.environ.get("TF_SERVING_ADDR"):
        base = Path(os.environ["TF_SERVING_BASE"])
        seen = os.environ.get("TF_SERVING_SEES", str(base))
        real = Server(address, os.environ["TF_SERVING_REST_ADDR"], base, seen)
        real.publish()
        yield real
        return
    base = tmp_path_factory.mktemp("serving") / MODEL
    base.mkdir()
    tiny_model.save(base / "1")
    limits = ServingLimits(poll_s=0.1, request_timeout_s=5, max_message_bytes=4 << 20)
    with Emulator(single(MODEL, base), limits) as emulator:
        yield Server(emulator.address, emulator.rest_address, base, str(base), emulator)


@pytest.fixture(scope="session")
def channel(server):
    """A channel that sends whatever a test wants to send."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        yield channel
