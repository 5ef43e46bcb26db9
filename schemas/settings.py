"""The base of every configuration model."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Immutable settings that refuse unknown keys; field names are the field's terms, units are in the name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
