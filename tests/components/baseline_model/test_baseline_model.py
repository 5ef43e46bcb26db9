"""The baseline: base rates, production, production's parent, or a refusal."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.baseline_model.choice import IN_PRODUCTION, BaselineSettings, comparable
from components.baseline_model.executor import Executor
from components.baseline_model.prior import base_rates, save_prior
from models import features as f
from schemas.errors import InputError
from schemas.lineage import LINEAGE_FILE, Lineage, Version
from tests.components.click_examples import click_columns, serialized, write_examples

ROWS = 400


@pytest.fixture(scope="module")
def columns():
    return click_columns(ROWS, 1)


@pytest.fixture(scope="module")
def examples(tmp_path_factory, columns):
    return write_examples(tmp_path_factory.mktemp("examples"), train=columns, eval=click_columns(50, 2))


def version(tmp_path, train_end, number=4):
    lineage = Lineage(run_key="past", version=number, train_start="2024-01-01", train_end=train_end)
    return Version(number, tmp_path / str(number), lineage)


def put(serving, number, run_key, parent=None, train_end="2024-03-01"):
    folder = serving / str(number)
    save_prior(dict.fromkeys(f.LABEL_OF_OUTPUT, number / 10), str(folder))
    lineage = Lineage(run_key=run_key, version=number, parent_version=parent, train_end=train_end)
    (folder / LINEAGE_FILE).parent.mkdir(parents=True, exist_ok=True)
    (folder / LINEAGE_FILE).write_text(lineage.to_json())


def run(root, examples, eval_start="2024-03-01", run_key="now", **settings):
    model = standard_artifacts.Model()
    model.uri = str(root / "model")
    Executor().Do(
        {"examples": [examples]},
        {"model": [model]},
        {
            "serving_dir": str(root / "serving"),
            "eval_start": eval_start,
            "run_key": run_key,
            "serving_state": "",
            "settings": BaselineSettings(**settings).model_dump_json(),
            "label_of_output": json.dumps(f.LABEL_OF_OUTPUT),
            "code_hash": "",
        },
    )
    return model


def answers(model, columns, rows=7):
    signature = tf.saved_model.load(f"{model.uri}/Format-Serving").signatures["serving_default"]
    return {k: v.numpy() for k, v in signature(examples=tf.constant(serialized(columns)[:rows])).items()}


def test_prior_answers_the_base_rates_of_train(tmp_path, examples, columns):
    model = run(tmp_path, examples)
    assert model.get_string_custom_property("kind") == "prior"
    scores = answers(model, columns)
    assert scores.keys() == f.LABEL_OF_OUTPUT.keys()
    for output, label in f.LABEL_OF_OUTPUT.items():
        assert scores[output].shape == (7, 1) and scores[output].dtype == np.float32
        np.testing.assert_allclose(scores[output], np.mean(columns[label]), rtol=1e-6)


def test_a_click_with_a_row_per_purchase_counts_once_with_all_its_labels(tmp_path):
    made = click_columns(4, 0) | {
        "user_id": np.array(["u", "u", "u", "v"]),
        "session_id": np.array(["s", "s", "s", "t"]),
        "item": np.array(["a", "a", "b", "a"]),
        "y_caba": np.array([1, 0, 0, 0]),
        "y_cabb": np.zeros(4),
        "y_any": np.array([1, 1, 0, 0]),
    }
    artifact = write_examples(tmp_path, train=made)
    rates = base_rates([f"{artifact.uri}/Split-train/part-00000-of-00001.gz"], f.LABEL_OF_OUTPUT)
    assert rates[f.P_CABA] == pytest.approx(1 / 3)
    assert rates[f.P_CONVERSION] == pytest.approx(1 / 3)
    assert 0 < rates[f.P_CABB] < 1e-5, "a rate of 0 would make NE infinite"


def test_no_examples_and_no_labels_are_refused(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "none.gz"), "GZIP"):
        pass
    with pytest.raises(InputError, match="no click example"):
        base_rates([str(tmp_path / "none.gz")], f.LABEL_OF_OUTPUT)
    with tf.io.TFRecordWriter(str(tmp_path / "bare.gz"), "GZIP") as writer:
        writer.write(tf.train.Example().SerializeToString())
    with pytest.raises(InputError, match="lack one of y_caba"):
        base_rates([str(tmp_path / "bare.gz")], f.LABEL_OF_OUTPUT)


def test_production_is_copied(tmp_path, examples, columns):
    put(tmp_path / "serving", 2, "older")
    put(tmp_path / "serving", 3, "past", parent=2)
    model = run(tmp_path, examples)
    assert model.get_string_custom_property("kind") == "production"
    assert model.get_int_custom_property("version") == model.get_int_custom_property(IN_PRODUCTION) == 3
    assert model.get_string_custom_property("train_end") == "2024-03-01"
    assert answers(model, columns)[f.P_CABA][0, 0] == pytest.approx(0.3)


def test_identical_rerun_is_compared_with_the_parent(tmp_path, examples, columns):
    put(tmp_path / "serving", 2, "older")
    put(tmp_path / "serving", 3, "now", parent=2)
    model = run(tmp_path, examples)
    assert model.get_int_custom_property("version") == 2
    assert answers(model, columns)[f.P_CABA][0, 0] == pytest.approx(0.2)


def test_first_run_repeated_is_compared_with_base_rates_again(tmp_path, examples):
    put(tmp_path / "serving", 1, "now")
    assert run(tmp_path, examples).get_string_custom_property("kind") == "prior"


def test_overlap_is_refused_with_a_way_out(tmp_path, examples):
    put(tmp_path / "serving", 3, "past", train_end="2024-03-05")
    with pytest.raises(InputError) as refused:
        run(tmp_path, examples)
    text = str(refused.value)
    assert "version 3" in text and "2024-03-05" in text and "2024-03-01" in text and "overlap: prior" in text
    assert "\n" not in text
    model = run(tmp_path, examples, overlap="prior")
    assert model.get_string_custom_property("kind") == "prior"
    assert model.get_int_custom_property(IN_PRODUCTION) == 3


@pytest.mark.parametrize(
    ("train_end", "fine"), [("2024-02-28", True), ("2024-03-01", True), ("2024-03-02", False)]
)
def test_training_may_end_where_the_eval_days_start(tmp_path, train_end, fine):
    found = version(tmp_path, train_end)
    if fine:
        assert comparable(found, "2024-03-01", BaselineSettings()) is found
    else:
        with pytest.raises(InputError):
            comparable(found, "2024-03-01", BaselineSettings())


def test_a_version_without_lineage_is_not_trusted(tmp_path):
    unknown = Version(9, tmp_path / "9", None)
    with pytest.raises(InputError, match=r"version 9 .* does not say which days"):
        comparable(unknown, "2024-03-01", BaselineSettings())
    assert comparable(unknown, "2024-03-01", BaselineSettings(overlap="prior")) is None
