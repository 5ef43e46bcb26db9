"""Category similarity through Beam: one element per partition in, one artifact out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import apache_beam as beam

from components.category_similarity.co_engagement import CoEngagement, Level
from components.category_similarity.learning import (
    part_sums,
    refuse_empty,
    similarity_table,
    training_parts,
    unseen_leaves,
)
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity import SimilarityTable

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


def _sums(part: str, settings: SimilaritySettings) -> Iterator[tuple[Level, bytes]]:
    for level, sums in part_sums(part, settings).items():
        yield level, sums.to_bytes()


def _save(sums: dict[Level, bytes], unseen: bytes, output: str, settings: SimilaritySettings) -> None:
    sums["leaf"] = _merged([sums["leaf"], unseen])
    whole = {level: CoEngagement.from_bytes(data) for level, data in sums.items()}
    similarity_table(whole, settings).save(output)


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
    parts = [str(part) for part in training_parts(sessions)]
    unseen = unseen_leaves(sessions, settings).to_bytes()
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Partitions" >> beam.Create(parts)
            | "OneByOne" >> beam.Reshuffle()
            | "CoEngagement" >> beam.FlatMap(_sums, settings)
            | "Sum" >> beam.CombinePerKey(SumCoEngagement())
            | "Together" >> beam.combiners.ToDict().without_defaults()
            | "Write" >> beam.Map(_save, unseen, str(output), settings)
        )
    table = SimilarityTable.load(output)
    refuse_empty(table, sessions)
    return table
