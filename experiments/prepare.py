"""Logs -> arrays that every variant of an experiment trains on, made once and kept by what decides them.

The steps and their functions are the pipeline's own: sessions, similarity, labels, features, the Transform
graph. Only what differs between schemes is made more than once: S and the alphas that it gives.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.attribution_model.mta import Mta
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity import SimilarityTable
from components.session_example_gen.splits import SplitWindows
from components.similarity_transform.attribution_views import NO_VIEWS, AttributionSettings, credit_columns
from components.similarity_transform.labels import Labels, LabelSettings
from experiments.model_inputs import model_inputs
from experiments.prepared import Prepared, save
from models import features as names
from models.metrics.sums import user_group
from models.settings import PreprocessingSettings
from schemas.events import LogSource
from schemas.settings import Settings


class Recipe(Settings):
    """What decides the arrays.

    Attributes:
        source: the logs.
        fingerprint: changes when the logs, or the code that prepares them, change.
        windows: training and evaluation days.
        schemes: name -> settings of each similarity whose alpha is wanted.
        labels, preprocessing: as in a run.
        attribution: its views add credit columns; their alphas are of the first scheme.
        partitions: of users, as in a run.
    """

    source: LogSource
    fingerprint: str
    windows: SplitWindows
    schemes: dict[str, SimilaritySettings]
    labels: LabelSettings = LabelSettings()
    attribution: AttributionSettings = NO_VIEWS
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    partitions: int = 16


def prepare(recipe: Recipe, home: Path, say: Callable[[str], None] = lambda _: None) -> Prepared:
    """The arrays of a recipe, from `home` if an earlier call left them there.

    Args:
        home: folder of all prepared data; recipes that differ in days or schemes share what they can.
        say: told what is being done, a few words at a time.

    Raises:
        InputError: the logs cannot be used, or a split is empty.
    """
    sessions = made_once(
        home / f"sessions-{key_of(recipe.fingerprint, recipe.source, recipe.partitions)}",
        lambda work: _all_sessions(recipe, work),
        lambda: say("reading logs"),
    )
    days = made_once(
        home / f"days-{key_of(sessions.name, recipe.windows)}",
        lambda work: _split(sessions, recipe, work),
        lambda: say("cutting days"),
    )
    tables = {
        name: made_once(
            home / f"similarity-{key_of(days.name, settings)}",
            lambda work, settings=settings: _similarity(days, settings, work),
            lambda name=name: say(f"similarity {name}"),
        )
        for name, settings in recipe.schemes.items()
    }
    first = next(iter(tables.values()))
    mta = None
    if "mta" in (recipe.attribution.views or ()):
        mta = made_once(
            home / f"mta-{key_of(days.name, first.name, recipe.attribution)}",
            lambda work: _mta(days, first, recipe, work),
            lambda: say("attribution model"),
        )
    arrays = made_once(
        home / f"arrays-{key_of(recipe)}",
        lambda work: _arrays(days, tables, mta, recipe, work, say),
        lambda: say("labels and features"),
    )
    return Prepared.load(arrays)


def key_of(*parts: Any) -> str:
    """A name for what is made of the parts, settings among them; 16 hex digits."""
    texts = [part.model_dump_json() if isinstance(part, Settings) else str(part) for part in parts]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def made_once(result: Path, make: Callable[[Path], None], announce: Callable[[], None]) -> Path:
    """Makes a folder whole or not at all, unless it is there."""
    if not result.exists():
        announce()
        work = result.with_name(f".{result.name}.{os.getpid()}")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            make(work)
            os.replace(work, result)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return result


def _make_pipeline():
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    return beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))


def _all_sessions(recipe: Recipe, work: Path) -> None:
    """Sessions of the whole log; where they are split does not matter here."""
    from components.session_example_gen.sessions_beam import build_sessions

    anywhere = SplitWindows(eval_start=recipe.windows.eval_start)
    build_sessions(recipe.source, anywhere, str(work), recipe.partitions, _make_pipeline)


def _split(sessions: Path, recipe: Recipe, work: Path) -> None:
    """The same sessions, split at the recipe's days."""
    bounds = recipe.windows.bounds(recipe.source.time_zone)
    for path in sorted((sessions / "Split-train").iterdir()):
        rows = pa.concat_tables(
            [pq.read_table(sessions / split / path.name) for split in ("Split-train", "Split-eval")]
        )
        time = rows["event_time"]
        for name, (first, end) in bounds.items():
            inside = pc.is_valid(time)
            for limit, keep in ((first, pc.greater_equal), (end, pc.less)):
                if limit is not None:
                    inside = pc.and_(inside, keep(time, pa.scalar(limit, time.type)))
            (work / f"Split-{name}").mkdir(exist_ok=True)
            pq.write_table(rows.filter(inside), work / f"Split-{name}" / path.name)


def _similarity(days: Path, settings: SimilaritySettings, work: Path) -> None:
    from components.category_similarity.similarity_beam import build_similarity

    build_similarity(days, work, settings, _make_pipeline)


def _mta(days: Path, similarity: Path, recipe: Recipe, work: Path) -> None:
    from components.attribution_model.attribution_model_beam import build_mta

    gap = recipe.source.session_gap_minutes
    build_mta(days, similarity, work, recipe.attribution, gap, _make_pipeline)


class _Rows(NamedTuple):
    """Raw click examples of one partition and split; alpha by scheme."""

    columns: dict[str, np.ndarray | pa.Array]
    alpha: dict[str, np.ndarray]


def _arrays(
    days: Path,
    tables: dict[str, Path],
    mta: Path | None,
    recipe: Recipe,
    work: Path,
    say: Callable[[str], None],
) -> None:
    loaded = {name: SimilarityTable.load(path) for name, path in tables.items()}
    rows, mean_alpha = _click_examples(days, loaded, mta and Mta.load(mta), recipe)
    say("preprocessing")
    parts = [*rows["train"], *rows["eval"]]
    inputs, space = model_inputs(
        [each.columns for each in rows["train"]], [each.columns for each in parts], recipe.preprocessing
    )
    labels = {
        name: np.concatenate([each.columns[name] for each in parts]).astype(np.float32)
        for name in parts[0].columns
        if _is_label(name)
    }
    strings = pl.DataFrame(
        {
            name: pl.concat([pl.Series(each.columns[name]).cast(pl.String) for each in parts])
            for name in (names.USER_ID, names.SESSION_ID, names.ITEM, names.CATEGORY_TOP)
        }
    )
    n_train = sum(len(each.columns[names.Y_ANY]) for each in rows["train"])
    save(
        work,
        inputs=inputs,
        labels=labels,
        alpha={name: np.concatenate([each.alpha[name] for each in parts]) for name in tables},
        keys={
            names.EVENT_TIME: np.concatenate([each.columns[names.EVENT_TIME] for each in parts]),
            "user_group": user_group(strings[names.USER_ID].to_numpy()),
        },
        strings=strings,
        facts={
            "train_rows": n_train,
            "eval_rows": len(strings) - n_train,
            "eval_users": strings[names.USER_ID][n_train:].n_unique(),
            "mean_alpha": mean_alpha,
            "cardinality": space.cardinality,
            "numeric": space.numeric,
            "sequences": space.sequences,
            "windows": recipe.windows.model_dump(mode="json"),
            "time_zone": recipe.source.time_zone,
            "settings": recipe.model_dump(mode="json", exclude={"source", "fingerprint", "windows"}),
        },
    )


def _is_label(name: str) -> bool:
    return name in names.LABELS or name == names.ROW_WEIGHT or names.is_credit(name)


def _click_examples(
    days: Path, tables: dict[str, SimilarityTable], mta: Mta | None, recipe: Recipe
) -> tuple[dict[str, list[_Rows]], dict[str, float]]:
    """Click examples of both splits by partition, and the mean alpha of the training positives by scheme.

    Two passes over the partitions, as in SimilarityTransform: the first sums what needs other users.
    """
    from components.session_example_gen.catalog import read_catalog
    from components.similarity_transform.click_examples import example_columns, label_partition
    from components.similarity_transform.click_examples_beam import list_parts, observed_until
    from components.similarity_transform.click_features import click_features
    from components.similarity_transform.leaf_prices import mean_leaf_prices
    from components.similarity_transform.popularity import Popularity, daily_counts, sum_counts
    from components.similarity_transform.timeline import read_timeline

    source, windows, settings = recipe.source, recipe.windows, recipe.labels
    observed = observed_until(
        days, source.time_zone, source.session_gap_minutes, windows.eval_start, windows.eval_end
    )
    timelines = [
        read_timeline(Path(part.train), Path(part.evaluation), source.time_zone) for part in list_parts(days)
    ]
    labelled = [
        {
            name: label_partition(events, table, settings, observed, recipe.attribution)
            for name, table in tables.items()
        }
        for events in timelines
    ]
    daily = sum_counts(
        [
            daily_counts(
                events,
                one.clicks,
                one.touches,
                settings.window,
                observed.session_gap,
                observed.time_zone,
            )
            for events, one in (
                (e, next(iter(each.values()))) for e, each in zip(timelines, labelled, strict=True)
            )
        ]
    )
    popularity, leaf_prices = Popularity(daily), mean_leaf_prices(read_catalog(source))
    mean_alpha = {name: _mean_alpha(each[name].rows["train"] for each in labelled) for name in tables}
    rows: dict[str, list[_Rows]] = {"train": [], "eval": []}
    for events, by_scheme in zip(timelines, labelled, strict=True):
        first = next(iter(by_scheme.values()))
        credits = credit_columns(events, first.clicks, next(iter(tables.values())), recipe.attribution, mta)
        known = click_features(events, first.clicks, popularity, leaf_prices)
        for split, parts in rows.items():
            columns = {}
            for name, one in by_scheme.items():
                negative = mean_alpha[name] if settings.negative_alpha == "mean" else 1.0
                columns[name] = example_columns(known, one.rows[split], negative, credits)
            alphas = {name: each[names.ALPHA].astype(np.float32) for name, each in columns.items()}
            parts.append(_Rows(next(iter(columns.values())), alphas))
    return rows, mean_alpha


def _mean_alpha(parts: Iterable[Labels]) -> float:
    """Mean alpha of the rows with y_cabb = 1; 1 without any."""
    positive = [rows.alpha[rows.y_cabb > 0] for rows in parts]
    count = sum(map(len, positive))
    return math.fsum(value for each in positive for value in each.tolist()) / count if count else 1.0
