"""The curated schema names every column of a click example, and only those."""

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from models import features as f
from schemas import curated

COLUMNS = {*f.STRINGS, *f.INTEGERS, *f.FLOATS, *f.SEQUENCES}


@pytest.fixture(scope="module")
def schema() -> dict[str, schema_pb2.Feature]:
    return {feature.name: feature for feature in curated.curated_schema().feature}


def test_columns_and_types_are_those_of_features(schema):
    assert schema.keys() == COLUMNS
    kinds = {
        schema_pb2.BYTES: {*f.STRINGS, *f.SEQUENCES},
        schema_pb2.INT: set(f.INTEGERS),
        schema_pb2.FLOAT: set(f.FLOATS),
    }
    for kind, names in kinds.items():
        assert {name for name, feature in schema.items() if feature.type == kind} == names


def test_committed_file_is_what_the_rules_render():
    assert curated.SCHEMA.read_text() == curated.render(), "run python -m schemas.curated"


def test_serving_lacks_labels_weights_and_keys(schema):
    absent = {name for name, feature in schema.items() if "SERVING" in feature.not_in_environment}
    assert absent == {*f.LABELS, *f.WEIGHTS, f.USER_ID, f.SESSION_ID, f.EVENT_TIME, f.USER_ACTIVITY}


def test_ranges(schema):
    for name in (*f.LABELS, *f.WEIGHTS, *f.RATES):
        assert (schema[name].float_domain.min, schema[name].float_domain.max) == (0, 1)
    for name in f.COUNTS:
        assert schema[name].float_domain.min == (f.NEVER if name == "list_position" else 0)
    for name in (*f.DURATIONS, *f.AMOUNTS):
        assert schema[name].float_domain.min == f.NEVER
    for name, values in f.CALENDAR.items():
        assert (schema[name].int_domain.min, schema[name].int_domain.max) == (0, values - 1)
    assert tuple(schema[f.USER_ACTIVITY].string_domain.value) == f.USER_ACTIVITY_LEVELS


@pytest.mark.parametrize("kind", ["skew", "drift"])
def test_every_model_input_is_watched(schema, kind):
    inputs = {*f.CATEGORICAL, *f.CALENDAR, *f.SEQUENCES, *f.NUMERIC}
    watched = {
        name
        for name, feature in schema.items()
        if feature.HasField(f"{kind}_comparator")
        or curated.threshold(feature, kind, curated.QUANTILE_DISTANCE)
    }
    assert inputs - watched == ({"day_of_week"} if kind == "skew" else set())
    assert curated.threshold(schema["price"], kind, curated.QUANTILE_DISTANCE) == curated.PRICE
    for label in f.LABELS:
        distance = None if label in f.ACTIONS else curated.LABEL
        assert curated.threshold(schema[label], kind, curated.POSITIVE_DIVERGENCE) == distance


def test_context_columns_are_appended_once(tmp_path):
    path = curated.write_schema(tmp_path / "run" / "schema.pbtxt", ["device", "context_device", "channel"])
    written = text_format.Parse(path.read_text(), schema_pb2.Schema())
    names = [feature.name for feature in written.feature]
    assert set(names) == COLUMNS | {"context_device", "context_channel"} and len(names) == len(set(names))
    with_views = curated.curated_schema(views=["linear"]).feature
    credits = {feature.name: feature for feature in with_views if f.is_credit(feature.name)}
    assert set(credits) == set(f.credit_columns(["linear"])) and not credits.keys() & COLUMNS
    assert all("SERVING" in feature.not_in_environment for feature in credits.values())
    before = path.stat().st_mtime_ns
    curated.write_schema(path, ["device", "channel"])
    assert path.stat().st_mtime_ns == before
