"""Baseline 2 of CABB 4.1: one conversion model that sees purchases of the clicked item only."""

from models.single_task import SingleTask

MODEL = SingleTask
