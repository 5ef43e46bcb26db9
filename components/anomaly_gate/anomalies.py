"""What is wrong with click examples, from their statistics, in words a person can act on.

Everything here works on TensorFlow Metadata's protos; the comparison itself is TFDV's and is called by the
executor.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.anomaly_gate.distances import (
    positive_divergence,
    positive_share,
    quantile_distance,
    quantile_histogram,
)
from models import features
from schemas.curated import POSITIVE_DIVERGENCE, QUANTILE_DISTANCE, threshold
from schemas.settings import Settings

REPORT_FILE = "anomalies.json"
COUNTED_LABELS = (features.Y_CABA, features.Y_CABB, features.Y_ANY)
TABLE_WIDTH = 110

_Reason = anomalies_pb2.AnomalyInfo.Reason
_MEASURES = {
    "L_INFTY": "share of one value",
    "JENSEN_SHANNON_DIVERGENCE": "divergence",
    "NORMALIZED_ABSOLUTE_DIFFERENCE": "difference of counts",
    "UNKNOWN": "distance",
}


_OWN_MEASURES = {
    QUANTILE_DISTANCE: (quantile_histogram, quantile_distance),
    POSITIVE_DIVERGENCE: (positive_share, positive_divergence),
}


class AnomalySettings(Settings):
    """What the gate asks of the data, beside the schema."""

    min_rows: int = Field(200, ge=0)
    """Click examples that every split must have."""
    min_positives: int = Field(10, ge=0)
    """Examples with y_caba, with y_cabb and with y_any above 0 that every split must have."""
    check_skew: bool = True
    """Compare the train split with the eval split."""
    check_drift: bool = True
    """Compare the train split with the one that the version in production learned from."""
    allow: tuple[str, ...] = ()
    """Columns whose skew and drift is known and accepted in this run. Schema violations are never
    accepted."""

    @field_validator("allow")
    @classmethod
    def _known_columns(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        for column in allow:
            if not features.is_column(column):
                raise ValueError(f"no column {column!r} in click examples")
        return allow

    copy_to: str | None = None
    """A directory that gets a copy of the report, also when the run stops and its outputs are cleared."""


@dataclass(frozen=True)
class Anomaly:
    """One thing that is wrong."""

    where: str
    """`train`, `eval`, `train vs eval` or `train vs version N`."""
    feature: str
    what: str
    expected: str
    got: str
    do: str


@dataclass(frozen=True)
class Distance:
    """How far one column's distribution moved, whether or not that is too far."""

    where: str
    feature: str
    measure: str
    value: float
    threshold: float
    most: str | None = None
    """The value of a string column whose share moved most, when it moved too far."""


class DataAnomalies(Exception):
    """The click examples cannot be trusted; the message is the table of what is wrong."""

    def __init__(self, anomalies: Sequence[Anomaly]) -> None:
        self.anomalies = tuple(anomalies)
        super().__init__(table(self.anomalies))


def _name(path) -> str:
    return ".".join(path.step) or "(all columns)"


def _column(statistics: statistics_pb2.FeatureNameStatistics) -> str:
    return statistics.name or _name(statistics.path)


def _explained(reason: _Reason, feature: schema_pb2.Feature | None) -> tuple[str, str, str]:
    """What was expected, and what to do, of one violation of the schema; and what to call it."""
    kind = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
    if kind == "SCHEMA_MISSING_COLUMN":
        return (
            "missing column",
            "a value in every row",
            "restore the column in the transform or take it off the schema",
        )
    if kind == "SCHEMA_NEW_COLUMN":
        return (
            "unknown column",
            "no such column",
            "name it as a context column, or in models/features.py and the schema",
        )
    if kind.endswith("NOT_PRESENT") or kind.endswith(("LOW_FRACTION_PRESENT", "LOW_NUMBER_PRESENT")):
        return "missing values", "a value in every row", "look for rows that a join left empty"
    if kind.endswith(("HAS_NAN", "HAS_INF")):
        return "not a number", "finite numbers", "look for a division by zero where the column is made"
    if kind.endswith(("BIG_FLOAT", "BIG_INT", "SMALL_FLOAT", "SMALL_INT")):
        return "out of range", _range(feature), "check the column's unit and the log's clock"
    if kind.endswith("UNEXPECTED_STRING_VALUES"):
        values = ", ".join(feature.string_domain.value) if feature else "the schema's values"
        return "unknown value", values, "add the value to the schema, or correct it where it is made"
    if kind.endswith(("NUMBER_VALUES", "FEATURE_SHAPE", "UNEXPECTED_REPEATED")):
        return "number of values", _length(feature), "write as many values per row as the schema says"
    if "TYPE" in kind:
        return "type", _type(feature), "write the column with the schema's type"
    return (
        reason.short_description or kind,
        "as in the schema",
        "compare the column with schemas/schema.pbtxt",
    )


def _range(feature: schema_pb2.Feature | None) -> str:
    kind = feature.WhichOneof("domain_info") if feature else None
    if kind not in ("float_domain", "int_domain"):
        return "the schema's range"
    domain = getattr(feature, kind)
    low = f"{domain.min:g}" if domain.HasField("min") else "-inf"
    high = f"{domain.max:g}" if domain.HasField("max") else "inf"
    return f"[{low}, {high}]"


def _length(feature: schema_pb2.Feature | None) -> str:
    if feature is None:
        return "the schema's number"
    if feature.HasField("value_count"):
        return f"{feature.value_count.min} to {feature.value_count.max} values"
    return "1 value"


def _type(feature: schema_pb2.Feature | None) -> str:
    return schema_pb2.FeatureType.Name(feature.type).lower() if feature else "the schema's type"


def schema_anomalies(split: str, found: anomalies_pb2.Anomalies, schema: schema_pb2.Schema) -> list[Anomaly]:
    """The ExampleValidator's findings in one split."""
    of_name = {feature.name: feature for feature in schema.feature}
    rows = []
    for key in sorted(found.anomaly_info):
        info = found.anomaly_info[key]
        name = _name(info.path) if info.path.step else key
        for reason in info.reason or [
            _Reason(short_description=info.short_description, description=info.description)
        ]:
            what, expected, do = _explained(reason, of_name.get(name))
            rows.append(Anomaly(split, name, what, expected, _sentence(reason.description), do))
    if found.HasField("dataset_anomaly_info"):
        text = found.dataset_anomaly_info.description
        rows.append(
            Anomaly(split, "(all columns)", "number of rows", "as in the schema", text, "check the windows")
        )
    if found.data_missing:
        rows.append(
            Anomaly(
                split, "(all columns)", "no data", "click examples", "none", "check the windows in the config"
            )
        )
    return rows


def _sentence(text: str) -> str:
    text = " ".join(text.split()).replace(" (up to six significant digits)", "")
    return text.rstrip(".")


def comparator_distances(where: str, found: anomalies_pb2.Anomalies) -> list[Distance]:
    """Every distance that TFDV measured between two sets of statistics, with the value that moved most."""
    most = {}
    for key, info in found.anomaly_info.items():
        for reason in info.reason:
            match = re.search(r"maximum difference is: (.*?)\s*$", reason.description)
            if match and reason.type == anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH:
                most[_name(info.path) if info.path.step else key] = match.group(1)
    kind = anomalies_pb2.DriftSkewInfo.Measurement.Type
    return [
        Distance(where, name, _MEASURES[kind.Name(m.type)], m.value, m.threshold, most.get(name))
        for info in found.drift_skew_info
        for name in (_name(info.path),)
        for m in (*info.skew_measurements, *info.drift_measurements)
    ]


def own_distances(
    where: str,
    kind: Literal["skew", "drift"],
    schema: schema_pb2.Schema,
    ours: statistics_pb2.DatasetFeatureStatistics,
    theirs: statistics_pb2.DatasetFeatureStatistics,
) -> list[Distance]:
    """Quantile distances and positive divergences of the columns that the schema sets a limit for, where both
    statistics hold the column."""
    columns = [{_column(s): s for s in side.features if s.HasField("num_stats")} for side in (ours, theirs)]
    rows = []
    for feature in schema.feature:
        for measure, (summary, distance) in _OWN_MEASURES.items():
            limit = threshold(feature, kind, measure)
            if limit is None or not all(feature.name in side for side in columns):
                continue
            a, b = (summary(side[feature.name]) for side in columns)
            if a is not None and b is not None:
                title = measure.replace("_", " ")
                rows.append(Distance(where, feature.name, title, distance(a, b), limit))
    return rows


def shift_anomalies(measured: Iterable[Distance], allow: Iterable[str] = ()) -> list[Anomaly]:
    """Columns whose distribution moved further than the schema allows."""
    allow = set(allow)
    return [
        Anomaly(
            d.where,
            d.feature,
            "distribution moved",
            f"{d.measure} <= {d.threshold:g}",
            f"{d.value:.3f}" + (f", most for {d.most!r}" if d.most else ""),
            "look for a change in the source; if it is real, list the column in anomalies.allow",
        )
        for d in measured
        if d.feature not in allow and not d.value <= d.threshold
    ]


def size_anomalies(
    split: str, statistics: statistics_pb2.DatasetFeatureStatistics, settings: AnomalySettings
) -> list[Anomaly]:
    """Too few click examples, or too few positives of a label, to learn from or to judge by."""
    rows = []
    if statistics.num_examples < settings.min_rows:
        rows.append(
            Anomaly(
                split,
                "(all columns)",
                "too few rows",
                f">= {settings.min_rows}",
                str(statistics.num_examples),
                "widen the window or lower anomalies.min_rows",
            )
        )
    for label, positives in positive_counts(statistics).items():
        if positives < settings.min_positives:
            rows.append(
                Anomaly(
                    split,
                    label,
                    "too few positives",
                    f">= {settings.min_positives}",
                    str(positives),
                    "widen the window, check that purchases are read, or lower anomalies.min_positives",
                )
            )
    return rows


def positive_counts(statistics: statistics_pb2.DatasetFeatureStatistics) -> dict[str, int]:
    """Examples with a label above 0, for the labels that there are."""
    counts = {}
    for feature in statistics.features:
        name = _column(feature)
        if name in COUNTED_LABELS and feature.HasField("num_stats"):
            common = feature.num_stats.common_stats
            counts[name] = int(common.tot_num_values - feature.num_stats.num_zeros)
    return {label: counts[label] for label in COUNTED_LABELS if label in counts}


def table(anomalies: Sequence[Anomaly], width: int = TABLE_WIDTH) -> str:
    """The anomalies as text: one block each, the fix below what was found.

    >>> print(table([Anomaly("eval", "price", "out of range", "[-1, inf]", "-5", "check the column's unit")]))
    1 thing is wrong with the click examples:
    where  feature  what          expected   got
    eval   price    out of range  [-1, inf]  -5
                    -> check the column's unit
    """
    if not anomalies:
        return "nothing is wrong with the click examples"
    header = ("where", "feature", "what", "expected", "got")
    rows = [
        (a.where, a.feature, a.what, textwrap.shorten(a.expected, 40, placeholder=" ..."), a.got)
        for a in anomalies
    ]
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(4)]
    left = sum(widths) + 8
    what = widths[0] + widths[1] + 4

    def line(row: tuple[str, ...]) -> list[str]:
        head = "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False))
        pieces = textwrap.wrap(row[4], max(width - left, 24)) or [""]
        return [f"{head}  {pieces[0]}".rstrip(), *(" " * left + piece for piece in pieces[1:])]

    number = len(anomalies)
    lines = [
        f"{number} thing{'s are' if number > 1 else ' is'} wrong with the click examples:",
        *line(header),
    ]
    for anomaly, row in zip(anomalies, rows, strict=True):
        lines += [*line(row), " " * what + f"-> {anomaly.do}"]
    return "\n".join(lines)


def write_report(
    folder: str | Path,
    anomalies: Sequence[Anomaly],
    measured: Sequence[Distance],
    rows: Mapping[str, int],
    positives: Mapping[str, Mapping[str, int]],
    production_version: int | None,
) -> None:
    """Writes `anomalies.json`: whether the gate passed, what is wrong, and every distance, largest share
    first."""
    report = {
        "passed": not anomalies,
        "anomalies": [asdict(a) for a in anomalies],
        "distances": [
            asdict(d)
            for d in sorted(measured, key=lambda d: (-d.value / max(d.threshold, 1e-12), d.where, d.feature))
        ],
        "rows": dict(rows),
        "positives": {split: dict(counts) for split, counts in positives.items()},
        "production_version": production_version,
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{REPORT_FILE}.tmp"
    temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, folder / REPORT_FILE)
