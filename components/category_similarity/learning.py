"""Sessions to S: the sums of each user partition, added up and turned into a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from components.category_similarity.co_engagement import CoEngagement, Level, columns_read
from components.category_similarity.schemes import SCHEMES
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity import SimilarityTable
from schemas.errors import InputError


def training_parts(sessions: str | Path) -> list[Path]:
    """The training split's files of a Sessions artifact; users are whole within a file.

    Raises:
        InputError: there are none.
    """
    parts = sorted(Path(sessions).glob("Split-train/part-*.parquet"))
    if not parts:
        raise InputError(
            f"{sessions}: no training sessions; check the split's dates against those of the log"
        )
    return parts


def part_sums(part: str | Path, settings: SimilaritySettings) -> dict[Level, CoEngagement]:
    """The sums of one file, for each level that the scheme needs."""
    levels = SCHEMES[settings.scheme].levels
    columns = dict.fromkeys(column for level in levels for column in columns_read(level))
    rows = pl.read_parquet(part, columns=list(columns))
    return {level: CoEngagement.of(rows, settings, level) for level in levels}


def unseen_leaves(sessions: str | Path, settings: SimilaritySettings) -> CoEngagement:
    """The leaves that any split names, without counts: what the scheme can relate by their paths alone."""
    if not settings.knows_unseen:
        return CoEngagement.nothing([], settings)
    paths = sorted(str(path) for path in Path(sessions).glob("Split-*/part-*.parquet"))
    names = pl.scan_parquet(paths).select(pl.col("leaf").cast(pl.String).unique()).collect()
    return CoEngagement.nothing(names["leaf"].drop_nulls().to_list(), settings)


def similarity_table(sums: Mapping[Level, CoEngagement], settings: SimilaritySettings) -> SimilarityTable:
    """S by the configured scheme."""
    return SCHEMES[settings.scheme].table(sums, settings)


def learn_similarity(sessions: str | Path, settings: SimilaritySettings) -> SimilarityTable:
    """S of the training split of a Sessions artifact, in this process; the component's result without Beam.

    Raises:
        InputError: no training sessions, or none of their events has a category and a weight.
    """
    parts = [part_sums(part, settings) for part in training_parts(sessions)]
    sums = merged(parts)
    sums["leaf"] = CoEngagement.merge([sums["leaf"], unseen_leaves(sessions, settings)])
    table = similarity_table(sums, settings)
    refuse_empty(table, sessions)
    return table


def merged(parts: Sequence[Mapping[Level, CoEngagement]]) -> dict[Level, CoEngagement]:
    """The sums of all parts, level by level."""
    return {level: CoEngagement.merge([part[level] for part in parts]) for level in parts[0]}


def refuse_empty(table: SimilarityTable, sessions: str | Path) -> None:
    """Checks that something was learned, or that nothing had to be.

    Raises:
        InputError: no training event has both a category and a weight.
    """
    if not table.users.any() and not table.otherwise:
        raise InputError(
            f"{sessions}: no training event has both a category and a weight; check category_path "
            "in the catalog and similarity.event_weights, or set similarity.scheme to static"
        )
