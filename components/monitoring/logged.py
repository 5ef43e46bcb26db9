"""Scored rows, read back from a score log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from schemas.errors import InputError
from schemas.tfrecord import records
from serving import wire
from serving.score_log import PATTERN


def read_log(folder: Path) -> list[bytes]:
    """Serialised tf.Examples of a score log, oldest first.

    Raises:
        InputError: there are none.
    """
    found = [record for path in sorted(folder.glob(PATTERN)) for record in records(path)]
    if not found:
        raise InputError(f"{folder}: no scored rows; give a client a ScoreLog, or `cabb score` --log")
    return found


def columns_of(examples: Iterable[bytes], names: Sequence[str]) -> pl.DataFrame:
    """Single values of some features, a row per example; null where an example has none."""
    rows = []
    for each in examples:
        feature = wire.Example.FromString(each).features.feature
        rows.append([_value(feature[name]) if name in feature else None for name in names])
    return pl.DataFrame(rows, list(names), orient="row", infer_schema_length=None)


def _value(feature) -> str | float | int | None:
    if feature.HasField("bytes_list"):
        return feature.bytes_list.value[0].decode("utf-8", "replace") if feature.bytes_list.value else None
    found = feature.int64_list.value if feature.HasField("int64_list") else feature.float_list.value
    return found[0] if found else None
