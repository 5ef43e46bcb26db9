"""Baseline 1 of CABB 4.1: one conversion model that gives every purchase to the last clicked item."""

from models import features
from models.single_task import SingleTask


class LastClick(SingleTask):
    """Trains on last-click credit."""

    label = features.LAST_CLICK_CREDIT


MODEL = LastClick
