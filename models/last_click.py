"""Baseline 1 of CABB 4.1: one conversion model that gives every purchase to the last clicked item."""

from models.single_task import SingleTask

MODEL = SingleTask
