"""Model names. A model is a file of models/ that ends in `MODEL = <a ConversionModel>`; add its name here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from models.settings import ModelSettings
from schemas.errors import InputError

if TYPE_CHECKING:
    from models.conversion_model import ConversionModel
    from models.feature_space import FeatureSpace

MODELS = ("cabb", "last_click", "caba_only")


def create(settings: ModelSettings, space: FeatureSpace) -> ConversionModel:
    """The model that `settings.model` names, unbuilt.

    Raises:
      InputError: no such model.
    """
    if settings.model not in MODELS:
        raise InputError(f"unknown model {settings.model!r}: choose one of {', '.join(MODELS)}")
    return importlib.import_module(f"models.{settings.model}").MODEL(settings, space)
