"""The base of every configuration model."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Day = Annotated[date, Field(ge=date(1900, 1, 1), le=date(2199, 12, 31))]
"""A day of a log, far enough from the ends of the calendar to count back and forth from."""
MOST_DAYS = 3650
"""Bound of everything that is counted in days."""
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""Of a random generator; NumPy and TensorFlow take no others."""


class Settings(BaseModel):
    """Immutable settings that refuse unknown keys and numbers that are not finite; units are in the names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
