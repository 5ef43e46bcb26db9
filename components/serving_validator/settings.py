"""What is asked of a candidate before it may be pushed; free of TensorFlow, as configurations are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.settings import Settings


class ServingCheckSettings(Settings):
    """What is asked of a candidate before it may be pushed."""

    rows: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Eval examples that are replayed, and compared one by one."""
    batch: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Rows of a timed request."""
    requests: Annotated[int, Field(ge=1)] = 200
    """Timed requests."""
    warmup_sizes: list[Annotated[int, Field(ge=1, le=10_000)]] = [1, 100]
    """Rows of the warm-up requests that travel with the pushed model."""
    tolerance: Annotated[float, Field(ge=0)] = 1e-5
    """Largest difference to the prediction made in process."""
    max_p99_ms: Annotated[float, Field(gt=0)] = 250.0
    """99th percentile of the timed requests, milliseconds: wide, as the machine trains models too."""
    max_memory_mb: Annotated[float, Field(gt=0)] = 4000.0
    """Peak resident memory of the server, TensorFlow included."""
    start_s: Annotated[float, Field(gt=0)] = 300.0
    """Until the server answers."""
