"""How much one emulator takes on: every queue, message and wait has a bound."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.settings import Settings

MIB = 1 << 20


class ServingLimits(Settings):
    """Bounds of one server. Memory held by requests is at most about `max_requests * max_message_bytes`."""

    workers: Annotated[int, Field(ge=1, le=256)] = 8
    """Requests computed at once, per protocol."""
    max_requests: Annotated[int, Field(ge=1)] = 64
    """gRPC requests and REST connections held at once, waiting ones included; more are refused."""
    max_message_bytes: Annotated[int, Field(ge=1024)] = 16 * MIB
    """Largest request or response."""
    max_rows: Annotated[int, Field(ge=1)] = 10_000
    """Rows of one request."""
    max_elements: Annotated[int, Field(ge=1)] = 4_000_000
    """Values of one tensor: a few bytes can announce a tensor of any size."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """How long a request waits for others to be computed with; 0 computes each alone."""
    request_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Longest computation, and how long a request may take to arrive."""
    poll_s: Annotated[float, Field(gt=0)] = 1.0
    """Seconds between two looks at the version directories."""
