"""The standing reference of the tables: one conversion model that counts a purchase of any item."""

from models.single_task import SingleTask

MODEL = SingleTask
