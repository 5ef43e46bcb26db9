"""The curated schema of click examples: `schema.pbtxt`, and its copy with the configured columns.

`schema.pbtxt` is what runs read. It is written by hand-made rules over `models/features.py`, so that no
column can be forgotten: change a rule here, then render it again with

    python -m schemas.curated

Thresholds are distances between two distributions, in [0, 1]. `skew` compares a run's train split with its
eval split, `drift` compares the train split with the one that the version in production learned from. Each
kind of column gets the distance that honest data stays below with an eval split a tenth of train, see
docs/gates.md:

- strings: the largest difference of one value's share (infinity norm),
- clock: the Jensen-Shannon divergence,
- labels: the same, of their shares of positives (`positive_divergence`),
- other numbers: the quantile distance (components/anomaly_gate/distances.py). TFDV's divergence is no use on
  long tails: its ten equal bins follow the largest value, and two samples of one log-normal column are 0.5
  apart.

The last two are the gate's own measures, so their limits are annotations: `skew quantile_distance <= 0.25`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from models import features as f

SCHEMA = Path(__file__).with_name("schema.pbtxt")
TRAINING, SERVING = "TRAINING", "SERVING"

HEADER = """\
# proto-file: tensorflow_metadata/proto/v0/schema.proto
# proto-message: Schema
#
# Click examples. Rendered from models/features.py by `python -m schemas.curated`; the rules and the reasons
# for the thresholds are in schemas/curated.py. Context and credit columns are
# appended for each run.
"""

FREQUENT = 0.15
"""One value's share of a categorical column: an honest week moves the largest leaf by 0.03, 600 clicks by
0.09."""
CONTEXT = 0.25
"""Channels and devices follow campaigns and weekends: an honest week moves the largest by 0.07, 600 clicks
by 0.15."""
CLOCK = 0.15
"""The hours of two periods, divergence."""
LABEL = 0.02
"""Jensen-Shannon divergence of the shares of positives: 0.014 between 10 % and 20 %, 0.021 between 2 % and
10 %."""
SESSION = 0.25
"""Quantile distance of what happened in the session at hand: the same every week."""
PRICE = 0.25
"""Quantile distance of amounts: a change of currency or unit by a factor of three is 0.3 and more."""
HISTORY = 0.6
"""Quantile distance of what the log knows of users and items: it grows with the log, so only a broken join
or a lost history passes this."""

QUANTILE_DISTANCE, POSITIVE_DIVERGENCE = "quantile_distance", "positive_divergence"
_TAG = re.compile(r"(skew|drift) (\w+) <= ([0-9.]+)")


def _feature(
    name: str,
    kind: schema_pb2.FeatureType,
    *,
    in_serving: bool = True,
    low: float | None = None,
    high: float | None = None,
    skew: float | None = None,
    drift: float | None = None,
) -> schema_pb2.Feature:
    """One required scalar column with its range and distances."""
    feature = schema_pb2.Feature(name=name, type=kind)
    feature.presence.min_fraction = 1.0
    feature.presence.min_count = 1
    feature.shape.dim.add(size=1)
    if kind == schema_pb2.FLOAT:
        feature.float_domain.disallow_nan = True
        feature.float_domain.disallow_inf = True
    domain = {schema_pb2.FLOAT: feature.float_domain, schema_pb2.INT: feature.int_domain}.get(kind)
    if low is not None:
        domain.min = low
    if high is not None:
        domain.max = high
    for comparator, distance in ((feature.skew_comparator, skew), (feature.drift_comparator, drift)):
        if distance is None:
            continue
        if kind == schema_pb2.BYTES:
            comparator.infinity_norm.threshold = distance
        else:
            comparator.jensen_shannon_divergence.threshold = distance
    if not in_serving:
        feature.not_in_environment.append(SERVING)
    return feature


def _number(name: str, distance: float, *, low: float, high: float | None = None) -> schema_pb2.Feature:
    return _annotated(_feature(name, schema_pb2.FLOAT, low=low, high=high), QUANTILE_DISTANCE, distance)


def _annotated(feature: schema_pb2.Feature, measure: str, distance: float) -> schema_pb2.Feature:
    feature.annotation.tag.extend(f"{kind} {measure} <= {distance}" for kind in ("skew", "drift"))
    return feature


def threshold(feature: schema_pb2.Feature, kind: Literal["skew", "drift"], measure: str) -> float | None:
    """How far a column may move by one of the gate's own measures, if the schema says it."""
    matches = (_TAG.fullmatch(tag) for tag in feature.annotation.tag)
    return next((float(m.group(3)) for m in matches if m and m.group(1, 2) == (kind, measure)), None)


def _string(name: str, distance: float | None, **kwargs) -> schema_pb2.Feature:
    return _feature(name, schema_pb2.BYTES, skew=distance, drift=distance, **kwargs)


def _context(name: str) -> schema_pb2.Feature:
    return _string(name, CONTEXT)


def _sequence(name: str) -> schema_pb2.Feature:
    feature = _string(name, FREQUENT)
    feature.ClearField("shape")
    feature.presence.min_fraction = 0.0  # a user's first click has no history
    feature.value_count.min = 0
    feature.value_count.max = f.SEQUENCE_LENGTH
    return feature


def _calendar(name: str, values: int) -> schema_pb2.Feature:
    # An eval split of a few days holds a few weekdays: only the hour is comparable with train.
    skew = CLOCK if name == "hour_of_day" else None
    return _feature(name, schema_pb2.INT, low=0, high=values - 1, skew=skew, drift=CLOCK)


def _count(name: str) -> schema_pb2.Feature:
    of_session = name.startswith("session_") or name in ("click_position", "list_position")
    distance = SESSION if of_session else HISTORY
    low = f.NEVER if name == "list_position" else 0.0
    return _number(name, distance, low=low)


def _duration(name: str) -> schema_pb2.Feature:
    distance = SESSION if name in ("session_age_s", "since_event_s") else HISTORY
    return _number(name, distance, low=f.NEVER)


def _rate(name: str) -> schema_pb2.Feature:
    # Smoothed rates start at the prior and spread as the log fills.
    return _number(name, HISTORY, low=0.0, high=1.0)


def _amount(name: str) -> schema_pb2.Feature:
    return _number(name, PRICE, low=f.NEVER)


def _label(name: str) -> schema_pb2.Feature:
    feature = _feature(name, schema_pb2.FLOAT, low=0.0, high=1.0, in_serving=False)
    return _annotated(feature, POSITIVE_DIVERGENCE, LABEL)


def _unwatched(name: str) -> schema_pb2.Feature:
    # No distance. Actions: nothing that is served comes from them, and a shop may begin or end to log them.
    # Credits follow the purchases, which the labels watch, and the attribution settings. Of the weights alpha
    # follows the similarity settings, and rows per click the label policy.
    return _feature(name, schema_pb2.FLOAT, low=0.0, high=1.0, in_serving=False)


def _key(name: str) -> schema_pb2.Feature:
    kind = schema_pb2.INT if name in f.INTEGERS else schema_pb2.BYTES
    return _feature(name, kind, in_serving=False, low=0 if kind == schema_pb2.INT else None)


def _activity(name: str) -> schema_pb2.Feature:
    feature = _string(name, HISTORY, in_serving=False)
    feature.string_domain.name = name
    feature.string_domain.value.extend(f.USER_ACTIVITY_LEVELS)
    return feature


def sections() -> Iterator[tuple[str, list[schema_pb2.Feature]]]:
    """The curated features by kind of column, in the order of `models/features.py`."""
    yield "What was clicked.", [_string(n, FREQUENT) for n in f.CATEGORICAL]
    yield "When it was clicked, in the store's time zone.", [_calendar(n, v) for n, v in f.CALENDAR.items()]
    yield "What the user clicked before, newest first.", [_sequence(n) for n in f.SEQUENCES]
    yield "Events before the click. -1: the log has no position.", [_count(n) for n in f.COUNTS]
    yield "Seconds before the click. -1: it has not happened.", [_duration(n) for n in f.DURATIONS]
    yield "Smoothed conversion rates of whole days before the click's day.", [_rate(n) for n in f.RATES]
    yield "Prices in the log's currency. -1: unknown.", [_amount(n) for n in f.AMOUNTS]
    labels = [_label(n) for n in f.LABELS if n not in f.ACTIONS]
    yield "Labels: not there when the model serves.", [*labels, *map(_unwatched, f.ACTIONS)]
    yield "Weights of the losses: not there when the model serves.", [_unwatched(n) for n in f.WEIGHTS]
    keys = [_key(n) for n in (f.USER_ID, f.SESSION_ID, f.EVENT_TIME)]
    yield "Keys and slices: not there when the model serves.", [*keys, _activity(f.USER_ACTIVITY)]


def render() -> str:
    """The text of `schema.pbtxt`, a comment above each kind of column."""
    parts = [HEADER, f'default_environment: "{TRAINING}"\ndefault_environment: "{SERVING}"\n']
    for title, features in sections():
        schema = schema_pb2.Schema(feature=features)
        parts.append(f"\n# {title}\n{text_format.MessageToString(schema)}")
    return "".join(parts)


def curated_schema(context_columns: Iterable[str] = (), views: Iterable[str] = ()) -> schema_pb2.Schema:
    """`schema.pbtxt` with one string feature per context column, named with or without the `context_`
    prefix, and the credit columns of each attribution view."""
    schema = text_format.Parse(SCHEMA.read_text(encoding="utf-8"), schema_pb2.Schema())
    known = {feature.name for feature in schema.feature}
    for column in context_columns:
        name = column if f.is_context(column) else f.CONTEXT_PREFIX + column
        if name not in known:
            schema.feature.append(_context(name))
            known.add(name)
    schema.feature.extend(_unwatched(name) for name in f.credit_columns(views))
    return schema


def write_schema(path: str | Path, context_columns: Sequence[str] = (), views: Sequence[str] = ()) -> Path:
    """Writes the schema of a run, for `ImportSchemaGen(schema_file=...)`; returns `path`.

    The text depends on its arguments alone, and a file that already says it is left untouched.
    """
    path = Path(path)
    text = text_format.MessageToString(curated_schema(context_columns, views))
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    return path


if __name__ == "__main__":
    SCHEMA.write_text(render(), encoding="utf-8")
    print(f"wrote {SCHEMA}")
