"""From a name to a model: a file of models/ that ends in `MODEL = <a ConversionModel>`.

A new one is added to `MODELS` in models/settings.py.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from models.ensemble import Ensemble
from models.settings import ModelSettings

if TYPE_CHECKING:
    from models.conversion_model import ConversionModel
    from models.feature_space import FeatureSpace


def create(settings: ModelSettings, space: FeatureSpace) -> ConversionModel:
    """The model that `settings.model` names, unbuilt; of more than one member an ensemble."""
    kind = importlib.import_module(f"models.{settings.model}").MODEL
    members = [kind(settings, space) for _ in range(settings.members)]
    return members[0] if len(members) == 1 else Ensemble(members)
