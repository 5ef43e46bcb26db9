"""Baseline 2 of CABB 4.1: one conversion model that sees purchases of the clicked item only."""

from models import features
from models.single_task import SingleTask


class CabaOnly(SingleTask):
    """Trains on the CABA label."""

    label = features.Y_CABA


MODEL = CabaOnly
