"""The standing reference of the tables: one conversion model that counts a purchase of any item."""

from models import features
from models.single_task import SingleTask


class AnyConversion(SingleTask):
    """Trains on "any conversion": what the overall score is judged on, without knowing A from B."""

    label = features.Y_ANY


MODEL = AnyConversion
