"""What stops a run, and in which words."""

import json

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.components.example_validator.executor import Executor as ValidatorExecutor
from tfx.types import artifact_utils, standard_artifacts

from components import AnomalyReport
from components.anomaly_gate.anomalies import (
    Anomaly,
    AnomalySettings,
    DataAnomalies,
    comparator_distances,
    own_distances,
    positive_counts,
    schema_anomalies,
    shift_anomalies,
    size_anomalies,
    table,
)
from components.anomaly_gate.executor import Executor
from models import features as f
from schemas.curated import curated_schema, write_schema
from schemas.lineage import LINEAGE_FILE, STATISTICS_FILE, Lineage
from tests.components.click_examples import click_columns, record_batch

TRAIN_ROWS, EVAL_ROWS = 4000, 400


def statistics(columns) -> statistics_pb2.DatasetFeatureStatisticsList:
    return stats_impl.generate_statistics_in_memory(record_batch(columns), tfdv.StatsOptions())


@pytest.fixture(scope="module")
def train():
    return statistics(click_columns(TRAIN_ROWS, seed=0))


def changed(rows=EVAL_ROWS, seed=1, **columns):
    """Statistics of honest examples with some columns replaced, or left out when None."""
    made = click_columns(rows, seed) | columns
    return statistics({name: values for name, values in made.items() if values is not None})


def violations(found):
    schema = curated_schema()
    return schema_anomalies("eval", tfdv.validate_statistics(found, schema), schema)


def shifts(train, other, **kwargs):
    schema, where = curated_schema(), "train vs eval"
    found = tfdv.validate_statistics(train, schema, serving_statistics=other)
    measured = comparator_distances(where, found)
    measured += own_distances(where, "skew", schema, train.datasets[0], other.datasets[0])
    return shift_anomalies(measured, **kwargs)


def only(anomalies) -> Anomaly:
    assert len(anomalies) == 1, table(anomalies)
    return anomalies[0]


def test_honest_examples_have_no_anomaly(train):
    other = changed()
    assert violations(train) == [] and violations(other) == []
    assert shifts(train, other) == []
    assert size_anomalies("eval", other.datasets[0], AnomalySettings()) == []


@pytest.mark.parametrize("seed", range(2, 5))
def test_an_eval_split_a_tenth_of_train_is_not_skew(train, seed):
    assert shifts(train, changed(TRAIN_ROWS // 10, seed)) == []


def test_missing_column():
    row = only(violations(changed(price=None)))
    assert (row.where, row.feature, row.what) == ("eval", "price", "missing column")


def test_unknown_column():
    row = only(violations(changed(context_planet=np.full(EVAL_ROWS, "Mars"))))
    assert (row.feature, row.what) == ("context_planet", "unknown column")
    assert "context column" in row.do


def test_value_out_of_range_names_range_and_value():
    price = click_columns(EVAL_ROWS, 1)["price"].copy()
    price[3] = -20.0
    row = only(violations(changed(price=price)))
    assert (row.feature, row.what, row.expected) == ("price", "out of range", "[-1, inf]")
    assert "-20" in row.got


def test_nan():
    rate = click_columns(EVAL_ROWS, 1)["item_caba_rate_28d"].copy()
    rate[0] = np.nan
    rows = violations(changed(item_caba_rate_28d=rate))
    assert [(r.feature, r.what) for r in rows] == [("item_caba_rate_28d", "not a number")]


def test_missing_values():
    brand = list(click_columns(EVAL_ROWS, 1)["brand"])
    columns = click_columns(EVAL_ROWS, 1) | {"brand": brand}
    batch = record_batch(columns)
    half = batch.column("brand").to_pylist()
    half[: EVAL_ROWS // 2] = [None] * (EVAL_ROWS // 2)
    import pyarrow as pa

    arrays = {n: batch.column(n) for n in batch.schema.names} | {
        "brand": pa.array(half, batch.column("brand").type)
    }
    found = stats_impl.generate_statistics_in_memory(pa.RecordBatch.from_pydict(arrays), tfdv.StatsOptions())
    rows = violations(found)
    assert {r.feature for r in rows} == {"brand"} and "missing values" in {r.what for r in rows}


def test_unknown_value_of_a_closed_set():
    levels = list(click_columns(EVAL_ROWS, 1)["user_activity"])
    levels[0] = "a dozen"
    row = only(violations(changed(user_activity=levels)))
    assert (row.feature, row.what) == ("user_activity", "unknown value")
    assert "first click" in row.expected and "a dozen" in row.got


def test_wrong_type():
    batch = record_batch(click_columns(EVAL_ROWS, 1))
    import pyarrow as pa

    ints = pa.LargeListArray.from_arrays(
        pa.array(np.arange(EVAL_ROWS + 1)), pa.array(np.ones(EVAL_ROWS, np.int64))
    )
    arrays = {n: batch.column(n) for n in batch.schema.names} | {"session_carts": ints}
    found = stats_impl.generate_statistics_in_memory(pa.RecordBatch.from_pydict(arrays), tfdv.StatsOptions())
    row = only(violations(found))
    assert (row.feature, row.what, row.expected) == ("session_carts", "type", "float")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("price", click_columns(EVAL_ROWS, 1)["price"] * 10),
        ("leaf", np.full(EVAL_ROWS, "Home > Kitchen > Leaf 3")),
        ("session_clicks", np.zeros(EVAL_ROWS)),
        ("y_cabb", np.random.default_rng(0).random(EVAL_ROWS) < 0.6),
        ("hour_of_day", np.full(EVAL_ROWS, 3)),
        ("user_clicks", np.zeros(EVAL_ROWS) + 40),
    ],
)
def test_planted_skew(train, column, values):
    row = only(shifts(train, changed(**{column: values})))
    assert (row.where, row.feature, row.what) == ("train vs eval", column, "distribution moved")
    assert float(row.got.split(",")[0]) > float(row.expected.split(" <= ")[1])


def test_string_skew_names_the_value(train):
    row = only(shifts(train, changed(leaf=np.full(EVAL_ROWS, "Home > Kitchen > Leaf 3"))))
    assert "'Home > Kitchen > Leaf 3'" in row.got


def test_weekdays_of_a_short_eval_split_are_no_skew(train):
    assert shifts(train, changed(day_of_week=np.full(EVAL_ROWS, 2))) == []


def test_allowed_columns_may_move(train):
    other = changed(price=click_columns(EVAL_ROWS, 1)["price"] * 10)
    assert shifts(train, other, allow=["price"]) == []


def test_too_little_data():
    columns = click_columns(50, 1) | {"y_caba": np.zeros(50), "y_cabb": np.r_[1.0, np.zeros(49)]}
    found = statistics(columns).datasets[0]
    assert positive_counts(found)["y_caba"] == 0 and positive_counts(found)["y_cabb"] == 1
    rows = size_anomalies("eval", found, AnomalySettings(min_rows=100, min_positives=2))
    assert [(r.feature, r.what, r.expected, r.got) for r in rows] == [
        ("(all columns)", "too few rows", ">= 100", "50"),
        ("y_caba", "too few positives", ">= 2", "0"),
        ("y_cabb", "too few positives", ">= 2", "1"),
    ]


def test_table_keeps_to_its_width_and_says_what_to_do():
    rows = [Anomaly("eval", "price", "out of range", "[-1, inf]", "low values " * 30, "check the unit")] * 2
    text = table(rows)
    assert text.startswith("2 things are wrong")
    assert max(map(len, text.splitlines())) <= 110 and text.count("-> check the unit") == 2


class Gate:
    """The ExampleValidator's and the gate's executors over artifacts made by hand."""

    def __init__(self, root):
        self.root = root
        self.serving = root / "serving"
        self.schema = standard_artifacts.Schema()
        self.schema.uri = str(write_schema(root / "schema" / "schema.pbtxt").parent)

    def publish(self, found, run_key="past"):
        version = self.serving / "1"
        (version / STATISTICS_FILE).parent.mkdir(parents=True)
        (version / STATISTICS_FILE).write_bytes(found.SerializeToString())
        (version / LINEAGE_FILE).write_text(Lineage(run_key=run_key, version=1).to_json())

    def run(self, settings=None, run_key="now", **splits):
        made = standard_artifacts.ExampleStatistics()
        made.uri = str(self.root / "statistics")
        made.split_names = artifact_utils.encode_split_names(sorted(splits))
        for split, found in splits.items():
            folder = self.root / "statistics" / f"Split-{split}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "FeatureStats.pb").write_bytes(found.SerializeToString())
        anomalies = standard_artifacts.ExampleAnomalies()
        anomalies.uri = str(self.root / "anomalies")
        inputs = {"statistics": [made], "schema": [self.schema]}
        ValidatorExecutor().Do(inputs, {"anomalies": [anomalies]}, {"exclude_splits": "[]"})
        report = AnomalyReport()
        report.uri = str(self.root / "report")
        Executor().Do(
            {**inputs, "anomalies": [anomalies]},
            {"report": [report]},
            {
                "settings": (settings or AnomalySettings()).model_dump_json(),
                "serving_dir": str(self.serving),
                "run_key": run_key,
                "serving_state": "",
                "code_hash": "",
            },
        )

    def report(self):
        return json.loads((self.root / "report" / "anomalies.json").read_text())


def test_gate_passes_honest_data_and_reports_distances(tmp_path, train):
    gate = Gate(tmp_path)
    gate.run(train=train, eval=changed())
    report = gate.report()
    assert report["passed"] and report["rows"] == {"eval": EVAL_ROWS, "train": TRAIN_ROWS}
    assert {"price", "leaf", "y_cabb"} <= {d["feature"] for d in report["distances"]}
    assert all(d["value"] <= d["threshold"] for d in report["distances"])
    assert report["production_version"] is None


def test_gate_stops_on_everything_at_once_and_still_writes_the_report(tmp_path, train):
    gate = Gate(tmp_path)
    bad = changed(price=click_columns(EVAL_ROWS, 1)["price"] * 10, brand=None, y_caba=np.zeros(EVAL_ROWS))
    settings = AnomalySettings(copy_to=str(tmp_path / "kept"))
    with pytest.raises(DataAnomalies) as stopped:
        gate.run(settings, train=train, eval=bad)
    found = {(a.where, a.feature, a.what) for a in stopped.value.anomalies}
    assert {
        ("eval", "brand", "missing column"),
        ("eval", "y_caba", "too few positives"),
        ("train vs eval", "price", "distribution moved"),
    } <= found
    assert "-> " in str(stopped.value)
    assert not gate.report()["passed"]
    assert json.loads((tmp_path / "kept" / "anomalies.json").read_text()) == gate.report()


def test_gate_compares_with_the_statistics_of_production(tmp_path, train):
    gate = Gate(tmp_path)
    gate.publish(changed(TRAIN_ROWS, 7, price=click_columns(TRAIN_ROWS, 7)["price"] / 10))
    with pytest.raises(DataAnomalies) as stopped:
        gate.run(train=train, eval=changed())
    row = only(stopped.value.anomalies)
    assert (row.where, row.feature) == ("train vs version 1", "price")
    gate.run(AnomalySettings(check_drift=False), train=train, eval=changed())


def test_gate_does_not_compare_a_run_with_itself(tmp_path, train):
    gate = Gate(tmp_path)
    gate.publish(changed(TRAIN_ROWS, 7, price=click_columns(TRAIN_ROWS, 7)["price"] / 10), run_key="now")
    gate.run(train=train, eval=changed(), run_key="now")


def test_validator_findings_of_the_train_split_stop_too(tmp_path):
    gate = Gate(tmp_path)
    alpha = click_columns(TRAIN_ROWS, 0)["alpha"].copy()
    alpha[0] = 1.5
    with pytest.raises(DataAnomalies) as stopped:
        gate.run(train=changed(TRAIN_ROWS, 0, alpha=alpha), eval=changed())
    row = only(stopped.value.anomalies)
    assert (row.where, row.feature, row.expected) == ("train", f.ALPHA, "[0, 1]")


def test_unread_reasons_still_become_rows():
    info = anomalies_pb2.AnomalyInfo(short_description="odd", description="something odd")
    found = anomalies_pb2.Anomalies(anomaly_info={"price": info})
    assert only(schema_anomalies("eval", found, curated_schema())).got == "something odd"
