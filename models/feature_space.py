"""What a transformed click example looks like: names, shapes and sizes, read back from a transform graph."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from models import features
from models.row_statistics import RowStatistics

if TYPE_CHECKING:
    import tensorflow_transform as tft

NUMERIC = "numeric"
"""All numeric inputs of a row as one float32 vector [n_numeric], in the order of `numeric_names()`."""

PADDING_ID = 0
"""Id of an absent sequence entry; real values start at 1."""

MAY_BE_UNKNOWN = ("list_position", *features.DURATIONS, *features.AMOUNTS)
"""Numeric features that can be NEVER; each has a 0/1 flag `known_<name>` beside its value."""


def numeric_names() -> tuple[str, ...]:
    """Names of the columns of the NUMERIC vector, in order."""
    return (*features.NUMERIC, *(f"known_{name}" for name in MAY_BE_UNKNOWN))


@dataclasses.dataclass(frozen=True)
class FeatureSpace:
    """Inputs of a model.

    Attributes:
      cardinality: ids of each categorical input, padding and out-of-vocabulary ids included.
      numeric: names of the columns of the NUMERIC vector.
      sequences: sequence input -> categorical input whose ids it shares.
      sequence_length: entries of a sequence, padded with PADDING_ID at the end.
      statistics: of the training rows; None: not known yet.
    """

    cardinality: dict[str, int]
    numeric: tuple[str, ...]
    sequences: dict[str, str]
    sequence_length: int = features.SEQUENCE_LENGTH
    statistics: RowStatistics | None = None

    def base_rate(self, label: str) -> float:
        """Mean training label, the starting point of a head's bias; 1/2 if it is not known."""
        return self.statistics.base_rate.get(label, 0.5) if self.statistics else 0.5

    def over(self, statistics: RowStatistics) -> FeatureSpace:
        """The same inputs of rows with these statistics."""
        return dataclasses.replace(self, statistics=statistics)

    @classmethod
    def of_transform(cls, transform: tft.TFTransformOutput) -> FeatureSpace:
        """The space of a transform graph made by models.preprocessing."""
        cardinality = {}
        for name in sorted(transform.transformed_feature_spec()):
            if name in features.CATEGORICAL or features.is_context(name):
                cardinality[name] = int(transform.num_buckets_for_transformed_feature(name))
        cardinality.update({name: size + 1 for name, size in features.CALENDAR.items()})
        return cls(
            cardinality=cardinality,
            numeric=numeric_names(),
            sequences=dict(features.SEQUENCES),
        )
