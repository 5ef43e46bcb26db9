"""How much the feature state keeps, and where its live copy is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.settings import Settings

EMBEDDED = "sqlite"


class FeatureStateSettings(Settings):
    """Of the live copy that serving reads and events update."""

    store: Annotated[str, Field(pattern=r"^(sqlite|rediss?://.+)$")] = EMBEDDED
    """`sqlite`: a file beside the pushed versions; or the URL of a Redis server, as in redis://host:6379/0."""
    max_events: Annotated[int, Field(ge=100, le=1_000_000)] = 2000
    """Newest events kept of a user. Features are exact for users with no more; of others, older events are
    forgotten."""
