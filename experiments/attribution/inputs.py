"""Sessions, similarity and attribution model: made of logs, or those that a run left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.attribution_model.mta import META_FILE, Mta
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity import SimilarityTable
from components.session_example_gen.splits import SplitWindows
from components.similarity_transform.attribution_views import AttributionSettings
from schemas.errors import InputError
from schemas.events import LogSource


@dataclass(frozen=True)
class Inputs:
    """What the credits of a store are computed from; `mta` only if the views hold it."""

    sessions: Path
    similarity: SimilarityTable
    mta: Mta | None


def of_logs(
    source: LogSource,
    windows: SplitWindows,
    similarity: SimilaritySettings,
    attribution: AttributionSettings,
    partitions: int,
    work: Path,
    say: Callable[[str], None],
) -> Inputs:
    """Makes them below `work`.

    Args:
        say: told what is being done.

    Raises:
        InputError: the logs cannot be used.
    """
    from components.category_similarity.similarity_beam import build_similarity
    from components.session_example_gen.sessions_beam import build_sessions

    say("reading logs")
    build_sessions(source, windows, str(work / "sessions"), partitions, _make_pipeline)
    say("relating categories")
    table = build_similarity(work / "sessions", work / "similarity", similarity, _make_pipeline)
    mta = _fitted(work / "sessions", work / "similarity", attribution, source, work, say)
    return Inputs(work / "sessions", table, mta)


def of_run(
    run: Path, attribution: AttributionSettings, source: LogSource, work: Path, say: Callable[[str], None]
) -> Inputs:
    """The newest below a run's output folder; a model of other settings is fitted anew below `work`.

    Raises:
        InputError: the run left none.
    """
    sessions = _newest(run, "SessionExampleGen/sessions", "Split-train")
    similarity = _newest(run, "CategorySimilarity/similarity", "meta.json")
    mta = None
    if "mta" in (attribution.views or ()):
        left = sorted(run.glob(f"**/AttributionModel/attribution/*/{META_FILE}"), key=_execution)
        mta = Mta.load(left[-1].parent) if left else None
        if mta is None or mta.settings != attribution.mta:
            mta = _fitted(sessions, similarity, attribution, source, work, say)
    return Inputs(sessions, SimilarityTable.load(similarity), mta)


def _fitted(
    sessions: Path,
    similarity: Path,
    attribution: AttributionSettings,
    source: LogSource,
    work: Path,
    say: Callable[[str], None],
) -> Mta | None:
    if "mta" not in (attribution.views or ()):
        return None
    from components.attribution_model.attribution_model_beam import build_mta

    say("learning what touches add")
    gap = source.session_gap_minutes
    return build_mta(sessions, similarity, work / "mta", attribution, gap, _make_pipeline)


def _newest(run: Path, kind: str, content: str) -> Path:
    found = sorted(run.glob(f"**/{kind}/*/{content}"), key=_execution)
    if not found:
        raise InputError(f"{run}: no run has left sessions here; run `cabb run` first or pass --config")
    return found[-1].parent


def _execution(content: Path) -> tuple[int, str]:
    name = content.parent.name
    return (int(name) if name.isdigit() else -1, name)


def _make_pipeline():
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    return beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))
