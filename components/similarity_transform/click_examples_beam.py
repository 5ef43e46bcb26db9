"""Labelled click examples through Beam, partition by partition.

The sessions' own partitioning is the only shuffle. Two passes over the partitions: the first sums what an
example needs of other users, which is daily counts of items, leaves and advertisers, and the mean alpha of
the training positives. The second reads these as a side input and writes one shard of examples per partition
and split, inside the worker.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import apache_beam as beam
import polars as pl

from components.attribution_model.mta import Mta
from components.category_similarity.similarity import SimilarityTable
from components.similarity_transform.attribution_views import NO_VIEWS, AttributionSettings, credit_columns
from components.similarity_transform.click_examples import (
    EVAL,
    TRAIN,
    Observed,
    count_labels,
    example_columns,
    label_partition,
    write_examples,
)
from components.similarity_transform.click_features import click_features
from components.similarity_transform.labels import LabelSettings
from components.similarity_transform.outages import find_outages
from components.similarity_transform.popularity import Popularity, daily_counts, sum_counts
from components.similarity_transform.timeline import read_timeline
from schemas.errors import InputError

COUNTS_FILE = "label_counts.json"
_PART = re.compile(r"part-(\d+)-of-(\d+)\.parquet$")
_COMPACT_AT = 32


class Part(NamedTuple):
    """The files of one user partition and the name of its shard."""

    shard: str
    train: str
    evaluation: str


class Totals(NamedTuple):
    """What examples need of other users. Alpha sums stay apart until the end: an exact sum has no order."""

    daily: list[bytes]
    alpha_sums: list[float]
    positives: int


class SumTotals(beam.CombineFn):
    """Adds up the first pass; daily counts travel as Arrow bytes."""

    def create_accumulator(self) -> Totals:
        return Totals([], [], 0)

    def add_input(self, accumulator: Totals, element: Totals) -> Totals:
        return self.merge_accumulators([accumulator, element])

    def merge_accumulators(self, accumulators: Iterable[Totals]) -> Totals:
        parts = list(accumulators)
        daily = [each for part in parts for each in part.daily]
        return Totals(
            [_to_bytes(sum_counts([_from_bytes(each) for each in daily]))]
            if len(daily) > _COMPACT_AT
            else daily,
            [each for part in parts for each in part.alpha_sums],
            sum(part.positives for part in parts),
        )

    def extract_output(self, accumulator: Totals) -> tuple[bytes, float]:
        daily = _to_bytes(sum_counts([_from_bytes(each) for each in accumulator.daily]))
        mean = math.fsum(accumulator.alpha_sums) / accumulator.positives if accumulator.positives else 1.0
        return daily, mean


class CountPartition(beam.DoFn):
    """First pass: Part -> Totals."""

    def __init__(
        self, similarity: str, settings: LabelSettings, observed: Observed, attribution: AttributionSettings
    ):
        self._home, self._settings = similarity, settings
        self._observed, self._attribution = observed, attribution

    def setup(self) -> None:
        self._similarity = SimilarityTable.load(self._home)

    def process(self, part: Part) -> Iterator[Totals]:
        settings, observed = self._settings, self._observed
        events = read_timeline(
            Path(part.train), Path(part.evaluation), observed.time_zone, with_features=False
        )
        labelled = label_partition(events, self._similarity, settings, observed, self._attribution)
        daily = daily_counts(
            events,
            labelled.clicks,
            labelled.touches,
            settings.window,
            observed.session_gap,
            observed.time_zone,
        )
        rows = labelled.rows[TRAIN]
        positive = rows.alpha[rows.y_cabb > 0]
        yield Totals([_to_bytes(daily)], [math.fsum(positive.tolist())], len(positive))


class WritePartition(beam.DoFn):
    """Second pass: Part -> label counts; writes the partition's shard of both splits."""

    def __init__(
        self,
        similarity: str,
        output: str,
        settings: LabelSettings,
        observed: Observed,
        attribution: AttributionSettings,
        mta: str | None,
        leaf_prices: dict[str, float],
    ):
        self._home, self._output, self._settings = similarity, output, settings
        self._observed, self._leaf_prices = observed, leaf_prices
        self._attribution, self._mta_home = attribution, mta

    def setup(self) -> None:
        self._similarity = SimilarityTable.load(self._home)
        self._mta = Mta.load(self._mta_home) if self._mta_home else None
        self._popularity: Popularity | None = None

    def process(self, part: Part, totals: tuple[bytes, float]) -> Iterator[dict[str, Any]]:
        daily, mean_alpha = totals
        if self._popularity is None:
            self._popularity = Popularity(_from_bytes(daily))
        events = read_timeline(Path(part.train), Path(part.evaluation), self._observed.time_zone)
        labelled = label_partition(
            events, self._similarity, self._settings, self._observed, self._attribution
        )
        credits = credit_columns(events, labelled.clicks, self._similarity, self._attribution, self._mta)
        features = click_features(events, labelled.clicks, self._popularity, self._leaf_prices)
        negative_alpha = mean_alpha if self._settings.negative_alpha == "mean" else 1.0
        for split in self._observed.splits:
            columns = example_columns(features, labelled.rows[split], negative_alpha, credits)
            write_examples(columns, Path(self._output, f"Split-{split}", part.shard))
        yield count_labels(events, labelled, credits, self._observed)


def build_click_examples(
    sessions: str | Path,
    similarity: str | Path,
    output: str | Path,
    settings: LabelSettings,
    observed: Observed,
    make_pipeline: Callable[[], beam.Pipeline],
    leaf_prices: dict[str, float] | None = None,
    attribution: AttributionSettings = NO_VIEWS,
    mta: str | Path | None = None,
) -> dict[str, Any]:
    """Writes a folder Split-<name>/ of shards of click examples per split (`Observed.splits`) and
    label_counts.json below `output`.

    Args:
        sessions: a Sessions artifact; part p of either split holds the same users.
        similarity: a saved SimilarityTable.
        observed: days, session gap and where the splits' logs end (`observed_until`).
        make_pipeline: a new Beam pipeline.
        leaf_prices: mean catalog price by leaf; without it `price_to_leaf` is NEVER.
        attribution: the views that examples carry; none unless it names them.
        mta: a saved Mta, if the views hold mta.

    Returns:
        What label_counts.json holds.

    Raises:
        InputError: a split has no examples.
    """
    parts = list_parts(Path(sessions))
    with make_pipeline() as pipeline:
        elements = pipeline | "Partitions" >> beam.Create(parts) | "OneByOne" >> beam.Reshuffle()
        totals = (
            elements
            | "Count" >> beam.ParDo(CountPartition(str(similarity), settings, observed, attribution))
            | "Sum" >> beam.CombineGlobally(SumTotals()).without_defaults()
        )
        write = WritePartition(
            str(similarity),
            str(output),
            settings,
            observed,
            attribution,
            str(mta) if mta else None,
            leaf_prices or {},
        )
        _ = (
            elements
            | "Write" >> beam.ParDo(write, beam.pvalue.AsSingleton(totals))
            | "SumLabels" >> beam.CombineGlobally(sum_label_counts).without_defaults()
            | "WriteCounts" >> beam.Map(_write_counts, str(output), settings, observed, attribution)
        )
    counts = json.loads(Path(output, COUNTS_FILE).read_text(encoding="utf-8"))
    for split in observed.splits:
        if not counts[split]["rows"]:
            raise InputError(
                f"{sessions}: the {split} split has no click example ({counts[split]['immature']} clicks too "
                f"young for a label, {counts[split]['in_outage']} where no purchases were logged); check the "
                "split's dates, click_types, labels.window and attribution.look_back_days"
            )
    return counts


def list_parts(sessions: Path) -> list[Part]:
    """The partitions of a Sessions artifact; a split may lack a part."""
    found = {}
    for path in sorted(sessions.glob("Split-*/part-*.parquet")):
        match = _PART.search(path.name)
        if match:
            found[path.name] = Part(
                f"click_examples-{match[1]}-of-{match[2]}.gz",
                *(str(sessions / f"Split-{split}" / path.name) for split in (TRAIN, EVAL)),
            )
    if not found:
        raise InputError(f"{sessions}: holds no sessions; check the split's dates against those of the log")
    return [found[name] for name in sorted(found)]


def observed_until(
    sessions: str | Path,
    time_zone: str,
    session_gap_minutes: float,
    eval_start: date,
    eval_end: date | None = None,
    holdout_start: date | None = None,
) -> Observed:
    """Where the splits' logs end (at the split's end, or with the last event if that is earlier) and where
    they hold no purchases.

    Args:
        sessions: a Sessions artifact; the last event is read from the files' statistics.
        eval_start, eval_end: first day of the eval split, and the day after its last (None: all there is).
        holdout_start: first of the held-out days, if any.
    """
    parts = list_parts(Path(sessions))
    last = max((last_event(path) for part in parts for path in part[1:]), default=0)

    def end(day: date | None) -> int:
        if day is None:
            return last
        midnight = datetime.combine(day, time(), ZoneInfo(time_zone))
        return min(int(midnight.astimezone(UTC).timestamp()) * 1_000_000, last)

    return Observed(
        time_zone,
        round(session_gap_minutes * 60e6),
        end(eval_start),
        end(eval_end),
        end(holdout_start) if holdout_start else None,
        find_outages([Path(part.train) for part in parts], [Path(part.evaluation) for part in parts]),
    )


def last_event(path: str | Path) -> int:
    """Time of the latest event of a file of sessions, microseconds since the epoch; 0 without one."""
    if not Path(path).exists():
        return 0
    last = pl.scan_parquet(path).select(pl.col("event_time").max().dt.epoch("us")).collect().item()
    return last or 0


def sum_label_counts(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Adds counts up, key by key; of nothing, an empty dict. Sums of alpha have no order."""
    parts = [part for part in parts if part]
    if not parts:
        return {}
    return {
        split: {key: _sum([part[split][key] for part in parts]) for key in parts[0][split]}
        for split in parts[0]
    }


def _sum(values: list[Any]) -> Any:
    if isinstance(values[0], list):
        return [sum(column) for column in zip(*values, strict=True)]
    return math.fsum(values) if isinstance(values[0], float) else sum(values)


def _write_counts(
    counts: dict[str, Any],
    output: str,
    settings: LabelSettings,
    observed: Observed,
    attribution: AttributionSettings,
) -> None:
    for split in counts.values():
        total, positives = split.pop("alpha_sum"), split["y_cabb"]
        split["alpha_mean"] = round(total / positives, 6) if positives else None
    counts["outages"] = [
        [datetime.fromtimestamp(moment / 1e6, UTC).isoformat() for moment in outage]
        for outage in observed.outages
    ]
    counts["settings"] = settings.model_dump(mode="json")
    counts["attribution"] = attribution.model_dump(mode="json") if attribution.views else None
    temporary = Path(output, f".{COUNTS_FILE}.tmp")
    temporary.write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, Path(output, COUNTS_FILE))


def _to_bytes(frame: pl.DataFrame) -> bytes:
    return frame.write_ipc_stream(None, compression="lz4").getvalue()


def _from_bytes(data: bytes) -> pl.DataFrame:
    return pl.read_ipc_stream(data)
