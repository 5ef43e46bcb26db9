"""Category similarity through Beam: one element per partition in, one artifact out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import apache_beam as beam
import polars as pl

from components.category_similarity.schemes import SimilaritySettings, similarity_table
from components.category_similarity.similarity import SESSION_COLUMNS_READ, CoEngagement, SimilarityTable
from schemas.errors import InputError

_COMPACT_AT = 32


class SumCoEngagement(beam.CombineFn):
    """Adds up CoEngagement sums, which travel as Arrow bytes."""

    def create_accumulator(self) -> list[bytes]:
        return []

    def add_input(self, accumulator: list[bytes], element: bytes) -> list[bytes]:
        accumulator.append(element)
        return accumulator if len(accumulator) < _COMPACT_AT else [_merged(accumulator)]

    def merge_accumulators(self, accumulators: Iterable[list[bytes]]) -> list[bytes]:
        return [_merged([part for accumulator in accumulators for part in accumulator])]

    def extract_output(self, accumulator: list[bytes]) -> bytes:
        return _merged(accumulator)


def _merged(parts: list[bytes]) -> bytes:
    # Sorted, so that weights that are not whole numbers add up in one order too.
    return CoEngagement.merge([CoEngagement.from_bytes(part) for part in sorted(parts)]).to_bytes()


def _sums(path: str, settings: SimilaritySettings) -> bytes:
    rows = pl.read_parquet(path, columns=list(SESSION_COLUMNS_READ))
    return CoEngagement.of(rows, settings.unit, settings.event_weights).to_bytes()


def _save(sums: bytes, output: str, settings: SimilaritySettings) -> None:
    similarity_table(CoEngagement.from_bytes(sums), settings).save(output)


def build_similarity(
    sessions: str | Path,
    output: str | Path,
    settings: SimilaritySettings,
    make_pipeline: Callable[[], beam.Pipeline],
) -> SimilarityTable:
    """Computes S from the training split of `sessions` and writes it to `output`.

    Args:
        sessions: a Sessions artifact: Split-train/part-*.parquet, users whole within a part.
        make_pipeline: a new Beam pipeline.

    Raises:
        InputError: there are no training sessions, or none of their events has a category and a weight.
    """
    parts = sorted(str(path) for path in Path(sessions).glob("Split-train/part-*.parquet"))
    if not parts:
        raise InputError(
            f"{sessions}: no training sessions; check the split's dates against those of the log"
        )
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Partitions" >> beam.Create(parts)
            | "OneByOne" >> beam.Reshuffle()
            | "CoEngagement" >> beam.Map(_sums, settings)
            | "Sum" >> beam.CombineGlobally(SumCoEngagement())
            | "Write" >> beam.Map(_save, str(output), settings)
        )
    table = SimilarityTable.load(output)
    if not len(table.leaves) and settings.scheme != "static":
        raise InputError(
            f"{sessions}: no training event has both a category and a weight; check category_path "
            "in the catalog and similarity.event_weights, or set similarity.scheme to static"
        )
    return table
