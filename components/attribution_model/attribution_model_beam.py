"""Journeys of all partitions through Beam, and the model fitted on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam

from components.attribution_model.journeys import Journeys, concat
from components.attribution_model.mta import Mta, fit_mta
from components.attribution_model.session_journeys import training_journeys
from components.category_similarity.similarity import SimilarityTable
from components.similarity_transform.attribution_views import AttributionSettings
from components.similarity_transform.click_examples_beam import last_event, list_parts
from components.similarity_transform.timeline import read_timeline
from schemas.errors import InputError


def build_mta(
    sessions: str | Path,
    similarity: str | Path,
    output: str | Path,
    settings: AttributionSettings,
    session_gap_minutes: float,
    make_pipeline: Callable[[], beam.Pipeline],
) -> Mta:
    """Fits the data-driven view on the training split and saves it to `output`.

    Args:
        sessions: a Sessions artifact.
        similarity: a saved SimilarityTable.
        session_gap_minutes: inactivity that ends a session.
        make_pipeline: a new Beam pipeline.

    Raises:
        InputError: too few journeys of either kind.
    """
    work = Path(output, ".journeys")
    work.mkdir(parents=True, exist_ok=True)
    paths = [
        (part.train, str(work / f"{number:05d}.npz"))
        for number, part in enumerate(list_parts(Path(sessions)))
        if Path(part.train).exists()
    ]
    if not paths:
        raise InputError(f"{sessions}: no training session to learn the mta view of; check the split's dates")
    gap = round(session_gap_minutes * 60e6)
    end = max(last_event(path) for path, _ in paths)
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Partitions" >> beam.Create(paths)
            | "OneByOne" >> beam.Reshuffle()
            | "Journeys" >> beam.ParDo(WriteJourneys(str(similarity), settings, gap, end))
        )
    mta = fit_mta(concat([Journeys.load(path) for _, path in paths]), settings.mta)
    shutil.rmtree(work)
    mta.save(output)
    return mta


class WriteJourneys(beam.DoFn):
    """(session rows of a partition, where its journeys go) -> nothing."""

    def __init__(self, similarity: str, settings: AttributionSettings, session_gap: int, end: int):
        self._home, self._settings = similarity, settings
        self._session_gap, self._end = session_gap, end

    def setup(self) -> None:
        self._similarity = SimilarityTable.load(self._home)

    def process(self, paths: tuple[str, str]) -> None:
        rows, output = paths
        events = read_timeline(Path(rows), None, "UTC")
        training_journeys(
            events,
            self._similarity,
            self._settings,
            self._settings.mta.channel,
            self._session_gap,
            self._end,
        ).save(output)
