"""The base of every configuration model."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Immutable settings that refuse unknown keys; units are in the names."""

    model_config = ConfigDict(extra="forbid", frozen=True)
