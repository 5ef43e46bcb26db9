"""The gate on real TFMA evaluations of tiny three-output models, with TFX's own Evaluator."""

import math

import numpy as np
import pytest
from google.protobuf import json_format
from tfx.components.evaluator.executor import Executor
from tfx.types import standard_artifacts

from components.evaluator.eval_config import GateSettings, eval_config
from components.evaluator.verdict import WHOLE, metric_table, overall_metrics, verdict
from models import features as f
from schemas.curated import write_schema
from tests.components.click_examples import click_columns, write_examples
from tests.components.evaluator.three_outputs import save_model

pytestmark = pytest.mark.slow

ROWS = 3000
SLOPE, OFFSET = 1.0, -2.0


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def examples(root):
    """Labels that really follow p = sigmoid(SLOPE * price_to_leaf + OFFSET), each label with the same
    truth."""
    rng = np.random.default_rng(5)
    columns = click_columns(ROWS, 3)
    signal = rng.normal(0, 2, ROWS).astype(np.float32)
    truth = 1 / (1 + np.exp(-(SLOPE * signal + OFFSET)))
    columns |= {"price_to_leaf": signal}
    columns |= {label: rng.random(ROWS) < truth for label in (f.Y_CABA, f.Y_CABB, f.Y_ANY)}
    return write_examples(root / "examples", eval=columns)


def model(folder, slope, **kwargs):
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    save_model(str(folder / "Format-Serving"), slope, **kwargs)
    return artifact


@pytest.fixture(scope="module")
def evaluate(root, examples):
    """Runs the Evaluator; returns (blessed, evaluation uri)."""
    schema = standard_artifacts.Schema()
    schema.uri = str(write_schema(root / "schema" / "schema.pbtxt").parent)

    def run(name, gate, candidate, baseline=None):
        evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
        evaluation.uri, blessing.uri = str(root / name / "evaluation"), str(root / name / "blessing")
        inputs = {
            "examples": [examples],
            "schema": [schema],
            "model": [model(root / name / "model", **candidate)],
        }
        if baseline is not None:
            inputs["baseline_model"] = [model(root / name / "baseline", **baseline)]
        config = eval_config(gate, f.LABEL_OF_OUTPUT, has_baseline=baseline is not None, code_hash="abc")
        Executor().Do(
            inputs,
            {"evaluation": [evaluation], "blessing": [blessing]},
            {"eval_config": json_format.MessageToJson(config), "example_splits": "null"},
        )
        return bool(blessing.get_int_custom_property("blessed")), evaluation.uri

    return run


GOOD = {"slope": SLOPE, "offset": OFFSET}
WEAK = {"slope": 0.3 * SLOPE, "offset": OFFSET + 0.5}


@pytest.fixture(scope="module")
def good(evaluate):
    return evaluate("good", GateSettings(), GOOD, WEAK)


def test_a_good_candidate_passes_with_words(good):
    blessed, uri = good
    found = verdict(uri)
    assert blessed and found.pushed and all(check.passed for check in found.checks)
    assert len(found.checks) == 3 + 1 + 3
    words = {(check.output, check.metric): check.words for check in found.checks}
    assert "less than predicting the base rate" in words["p_caba", "normalized_entropy"]
    assert "significantly better" in words["p_caba", "ne_change_lower"]
    assert str(found) == "passed: all 7 checks hold"


def test_metrics_agree_with_numpy(good, examples):
    import tensorflow as tf

    from models.metrics import sums

    raw = tf.data.TFRecordDataset(
        [f"{examples.uri}/Split-eval/part-00000-of-00001.gz"], compression_type="GZIP"
    ).batch(ROWS)
    spec = {n: tf.io.FixedLenFeature([], tf.float32) for n in ("price_to_leaf", f.Y_CABB)}
    row = tf.io.parse_example(next(iter(raw)), spec)
    p = 1 / (1 + np.exp(-(SLOPE * row["price_to_leaf"].numpy().astype(np.float64) + OFFSET)))
    expected = sums.binary_sums(row[f.Y_CABB].numpy(), p)
    values = overall_metrics(good[1])
    assert values["p_cabb/normalized_entropy"] == pytest.approx(sums.normalized_entropy(expected), abs=1e-5)
    assert values["p_cabb/calibration"] == pytest.approx(sums.calibration(expected), abs=1e-5)
    assert values["p_cabb/base_rate"] == pytest.approx(sums.base_rate(expected))


def test_table_has_slices_of_both_models(good):
    rows = metric_table(good[1])
    assert rows[0].slice == WHOLE
    assert {r.slice for r in rows} == {WHOLE, "leaf", "user_activity"}
    assert {r.model for r in rows if r.metric == "normalized_entropy"} == {"candidate", "baseline"}
    assert {r.value_of_slice for r in rows if r.slice == "user_activity"} == set(f.USER_ACTIVITY_LEVELS)
    assert {r.rows for r in rows if r.slice == WHOLE} == {ROWS}
    assert sum({r.value_of_slice: r.rows for r in rows if r.slice == "leaf"}.values()) == ROWS
    large = {r.value_of_slice for r in metric_table(good[1], min_rows=200) if r.slice == "leaf"}
    # Leaf 7 holds 3 % of the rows.
    assert "Home > Kitchen > Leaf 0" in large and "Home > Kitchen > Leaf 7" not in large


def failed(uri):
    found = verdict(uri)
    assert not found.pushed and str(found).startswith("blocked")
    return {(check.output, check.metric): check.words for check in found.checks if not check.passed}


def test_inverted_predictions_are_blocked(evaluate):
    blessed, uri = evaluate("inverted", GateSettings(), {"slope": -SLOPE, "offset": OFFSET}, WEAK)
    words = failed(uri)
    assert not blessed
    assert words["p_cabb", "normalized_entropy"].endswith("above 1: worse than predicting the base rate")
    assert words["p_cabb", "normalized_entropy"].startswith("p_cabb: NE ")
    assert "significantly worse" in words["p_cabb", "ne_change_lower"]


def test_one_bad_output_is_enough(evaluate):
    offsets = {f.P_CABB: 3.0}
    blessed, uri = evaluate("one bad", GateSettings(), {**GOOD, "offsets": offsets}, WEAK)
    assert not blessed and {output for output, _ in failed(uri)} == {f.P_CABB}


def test_calibration_is_gated_for_conversion_only(evaluate):
    gate = GateSettings(max_ne={}, change_outputs=())
    blessed, uri = evaluate("high", gate, {"slope": SLOPE, "offset": OFFSET + 1.0}, WEAK)
    words = failed(uri)
    assert not blessed and words.keys() == {(f.P_CONVERSION, "calibration")}
    assert "above 1.25" in words[f.P_CONVERSION, "calibration"] and "over-predicts" in str(words)
    blessed, uri = evaluate("low", gate, {"slope": SLOPE, "offset": OFFSET - 1.0}, WEAK)
    assert not blessed and "under-predicts" in failed(uri)[f.P_CONVERSION, "calibration"]


def test_not_a_number_is_blocked_and_named(evaluate):
    blessed, uri = evaluate("nan", GateSettings(), {"slope": math.nan}, WEAK)
    words = failed(uri)
    assert not blessed and len(words) == 7
    assert (
        words["p_caba", "normalized_entropy"]
        == "p_caba: NE is not a number: the model does not predict numbers"
    )


def test_a_broken_baseline_blocks_and_is_named(evaluate):
    blessed, uri = evaluate("broken baseline", GateSettings(), GOOD, {"slope": math.nan})
    words = failed(uri)
    assert not blessed and {metric for _, metric in words} == {"ne_change_lower"}
    assert "the baseline does not predict numbers" in words["p_caba", "ne_change_lower"]


def test_ties_follow_the_setting(evaluate):
    blessed, uri = evaluate("tie pushed", GateSettings(), GOOD, GOOD)
    assert blessed and "a tie" in next(c.words for c in verdict(uri).checks if c.metric == "ne_change_lower")
    blessed, uri = evaluate("tie blocked", GateSettings(ties="block"), GOOD, GOOD)
    words = failed(uri)
    assert not blessed and {metric for _, metric in words} == {"ne_change_upper"}
    assert (
        "a tie" in words["p_caba", "ne_change_upper"] and "ties: block" in words["p_caba", "ne_change_upper"]
    )


def test_without_baseline_only_values_are_gated(evaluate):
    blessed, uri = evaluate("alone", GateSettings(), GOOD)
    found = verdict(uri)
    assert blessed and {check.metric for check in found.checks} == {"normalized_entropy", "calibration"}
