"""Training end to end on random click examples: learning, determinism, resuming, refusing, serving."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from models import features as names
from models import inputs, recorder, trainer
from models.settings import MODELS, SINGLE_TASKS, VIEW_MODELS
from schemas.errors import InputError
from tests.models import click_examples

pytestmark = pytest.mark.slow

SMALL = {
    **{"batch_size": 100, "log_every_steps": 4, "checkpoint_every_steps": 4, "bottom_units": [32, 16]},
    **{"members": 2, "epochs": 1, "dense_learning_rate": 5e-3, "embedding_learning_rate": 0.02},
}
ROWS = 2000


@pytest.fixture(scope="module")
def transformed(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("transform"))
    data = click_examples.columns(ROWS)
    graph, files = click_examples.transform(data | credits(data), directory)
    return graph, files, os.path.join(directory, "graph")


def credits(data):
    """Two attribution views that agree with the labels."""
    share = {"last_click": 1.0, "linear": 0.5}
    part = {names.credit_caba: names.Y_CABA, names.credit_cabb: names.Y_CABB, names.credit: names.Y_ANY}
    return {column(view): data[y] * share[view] for view in share for column, y in part.items()} | {
        names.credit_alpha(view): data[names.ALPHA] for view in share
    }


def run(transformed, directory, execution="1", holdout=False, steps=None, **settings):
    files = [transformed[1][0].replace("00000", "*")]
    arguments = SimpleNamespace(
        custom_config={"settings": json.dumps({**SMALL, **settings}), "code_hash": "x", "holdout": holdout},
        transform_output=transformed[2],
        train_files=files,
        eval_files=files,
        train_steps=steps,
        model_run_dir=str(directory / "model_run" / execution),
        serving_model_dir=str(directory / "model" / execution),
    )
    trainer.run_fn(arguments)
    with open(os.path.join(arguments.model_run_dir, trainer.CURVE_FILE)) as file:
        curve = json.load(file)
    return tf.saved_model.load(arguments.serving_model_dir), curve, arguments


def serving_rows(n=50, seed=77):
    """Raw rows as a client sends them: no labels, weights or keys; some users without history."""
    data = click_examples.columns(n, seed=seed)
    for name in (*names.LABELS, *names.WEIGHTS, names.USER_ID, names.SESSION_ID, names.EVENT_TIME):
        del data[name]
    del data[names.USER_ACTIVITY]
    assert any(not history for history in data[names.RECENT_ITEMS])
    return data


def predictions(model, data):
    answer = model.signatures["serving_default"](examples=tf.constant(click_examples.serialized(data)))
    return {name: value.numpy() for name, value in answer.items()}


@pytest.fixture(scope="module")
def trained(transformed, tmp_path_factory):
    return run(transformed, tmp_path_factory.mktemp("trained"), epochs=4)


def test_it_learns_and_writes_the_curve(trained):
    _, curve, arguments = trained
    assert [row["step"] for row in curve] == list(range(4, 81, 4))
    assert curve[-1]["examples"] == 4 * ROWS
    losses = {"loss", "loss_caba", "loss_cabb", "loss_conversion", "loss_actions"}
    assert set(curve[0]) == {"step", "examples", "ne_caba", "ne_cabb", "ne_conversion"} | losses
    for name in ("ne_caba", "ne_cabb", "ne_conversion"):
        assert curve[0][name] == pytest.approx(1.0, abs=0.1)
        assert np.mean([row[name] for row in curve[-4:]]) < 0.93
    assert os.listdir(os.path.join(arguments.model_run_dir, "logs"))


@pytest.mark.parametrize("model", ["last_click", "caba_only"])
def test_a_baseline_learns_from_its_own_label_alone(transformed, tmp_path, model):
    graph, files, _ = transformed
    others = set(names.LABELS) - {SINGLE_TASKS[model]}
    changed = str(tmp_path / "changed.gz")
    with tf.io.TFRecordWriter(changed, "GZIP") as writer:
        for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
            row = tf.train.Example.FromString(record)
            for name in others:
                value = row.features.feature[name].float_list.value
                value[0] = 1 - value[0]
            writer.write(row.SerializeToString())
    settings = trainer.ModelSettings(**{**SMALL, "model": model})
    one, other = (
        trainer.fit(settings, graph, each, run_dir=str(tmp_path), max_steps=4).model.variables
        for each in (files, [changed])
    )
    for found, expected in zip(other, one, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_what_is_served_is_what_was_trained(transformed, trained, tmp_path):
    """serving_default and raw from raw rows equal the model that the same training ends with, on transformed
    rows."""
    graph, files, _ = transformed
    loaded, _, arguments = trained
    settings = trainer.ModelSettings(**{**SMALL, "epochs": 4})
    model = trainer.fit(settings, graph, files, run_dir=str(tmp_path)).model
    data = click_examples.columns(200, seed=8)
    examples = click_examples.serialized(data | credits(data))
    spec = graph.raw_feature_spec()
    transformed_rows = graph.transform_features_layer()(tf.io.parse_example(examples, spec))
    expected = model(
        {
            name: tf.cast(x, tf.int32) if x.dtype == tf.int64 else x
            for name, x in transformed_rows.items()
            if name not in (*names.LABELS, *names.WEIGHTS) and not names.is_credit(name)
        }
    )
    serving = serving_rows(200, seed=8)
    by_examples = predictions(loaded, serving)
    raw = loaded.signatures["raw"]
    by_tensors = raw(**{name: tensor(name, column) for name, column in serving.items()})
    for output in names.LABEL_OF_OUTPUT:
        assert by_examples[output].shape == (200, 1)
        assert by_examples[output].dtype == np.float32
        assert ((by_examples[output] > 0) & (by_examples[output] < 1)).all()
        np.testing.assert_allclose(by_examples[output], expected[output], atol=1e-5)
        np.testing.assert_allclose(by_tensors[output], expected[output], atol=1e-5)
    features = loaded.signatures["transform_features"](examples=tf.constant(examples))
    np.testing.assert_array_equal(features[names.ITEM], transformed_rows[names.ITEM])
    with open(os.path.join(arguments.serving_model_dir, trainer.DESCRIPTION_FILE)) as file:
        description = json.load(file)
    assert set(description["raw_features"]) == set(serving)
    assert description["training_rows"] == ROWS


def test_rates_by_fold_of_users_are_not_saved(trained):
    """They are for training only, and ten times as large as the table of a catalog."""
    _, _, arguments = trained
    saved = SavedModel.FromString(Path(arguments.serving_model_dir, "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    shapes = [node.attr["value"].tensor.tensor_shape.dim for node in nodes if node.op == "Const"]
    assert shapes and not any(len(dims) == 2 and dims[0].size == names.USER_FOLDS for dims in shapes)


def test_a_loaded_version_answers_when_its_files_are_gone(trained, tmp_path):
    """As when a server's old version is removed: vocabularies are read on loading only."""
    loaded, _, arguments = trained
    copy = shutil.copytree(arguments.serving_model_dir, tmp_path / "1")
    again = tf.saved_model.load(str(copy))
    vocabularies = copy / "assets"
    assert names.ITEM in os.listdir(vocabularies)
    shutil.rmtree(vocabularies)
    data = serving_rows()
    for output, p in predictions(again, data).items():
        np.testing.assert_array_equal(p, predictions(loaded, data)[output])


def tensor(name, column):
    if name in names.SEQUENCES:
        longest = max(map(len, column))
        return tf.constant([row + [""] * (longest - len(row)) for row in column])
    return tf.constant(column)


def test_ranking_gives_the_scores_of_repeated_users(trained):
    loaded, _, arguments = trained
    users, candidates = 10, 5
    rows = {name: np.array(tensor(name, each)) for name, each in serving_rows(users * candidates).items()}
    first = np.arange(users) * candidates
    assert 0 < sum(not any(history) for history in rows[names.RECENT_ITEMS][first]) < users
    asked = {
        name: values.reshape(users, candidates) if name in names.OF_CANDIDATE else values[first]
        for name, values in rows.items()
    }
    ranked = loaded.signatures["rank"](**{name: tf.constant(values) for name, values in asked.items()})
    repeated = {
        name: values if name in names.OF_CANDIDATE else values[first].repeat(candidates, 0)
        for name, values in rows.items()
    }
    scored = loaded.signatures["raw"](**{name: tf.constant(values) for name, values in repeated.items()})
    for output in names.LABEL_OF_OUTPUT:
        assert ranked[output].shape == (users, candidates)
        np.testing.assert_allclose(
            ranked[output], np.reshape(scored[output], ranked[output].shape), atol=1e-6
        )
    by_score = np.argsort(-ranked[names.P_CONVERSION].numpy(), axis=1, kind="stable")
    np.testing.assert_array_equal(ranked["order"], by_score)
    with open(os.path.join(arguments.serving_model_dir, trainer.DESCRIPTION_FILE)) as file:
        assert set(json.load(file)["of_candidate"]) == set(names.OF_CANDIDATE) & set(rows)


@pytest.fixture(scope="module")
def whole(transformed, tmp_path_factory):
    """A training of one epoch that nothing interrupted."""
    return run(transformed, tmp_path_factory.mktemp("whole"))


def test_same_inputs_and_settings_give_the_same_model(transformed, whole, tmp_path):
    first, curve, _ = whole
    second, again, _ = run(transformed, tmp_path)
    assert curve == again
    data = serving_rows()
    for output, p in predictions(first, data).items():
        np.testing.assert_array_equal(p, predictions(second, data)[output])


def test_a_killed_training_ends_with_the_model_it_would_have_had(transformed, whole, tmp_path, monkeypatch):
    """Also when another one, whose settings differ, ran in between: that one begins at the beginning."""
    uninterrupted, curve, _ = whole
    said = []
    monkeypatch.setattr(recorder.Progress, "say", lambda self, text: said.append(text))
    write = recorder.Recorder._save

    def save_and_die(self, step):
        write(self, step)
        if step == 12:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recorder.Recorder, "_save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            run(transformed, tmp_path, execution="1")
    other, other_curve, _ = run(transformed, tmp_path, execution="2", seed=9)
    assert not any("from step" in text for text in said)
    assert other_curve[0]["step"] == 4
    resumed, resumed_curve, _ = run(transformed, tmp_path, execution="3")
    assert any("from step 12" in text for text in said)
    assert resumed_curve == curve
    data = serving_rows()
    for output, p in predictions(uninterrupted, data).items():
        np.testing.assert_array_equal(p, predictions(resumed, data)[output])
        assert (p != predictions(other, data)[output]).any()
    # Nothing is left for another run to pick up.
    assert sorted(os.listdir(tmp_path / "model_run")) == ["1", "2", "3"]


def test_a_training_that_diverges_says_so_in_one_line_and_exports_nothing(transformed, tmp_path):
    with pytest.raises(InputError, match=r"diverged.*lower dense_learning_rate") as error:
        run(transformed, tmp_path, dense_learning_rate=1e30)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


def test_a_variable_of_nan_is_not_exported(transformed, tmp_path):
    trained = trainer.fit(
        trainer.ModelSettings(**SMALL), transformed[0], transformed[1], run_dir=str(tmp_path / "run")
    )
    variable = trained.model.trainable_variables[0]
    variable.assign(tf.fill(variable.shape, np.nan))
    with pytest.raises(InputError, match="not finite"):
        trainer.export(trained, transformed[0], str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"cabb", *VIEW_MODELS}))
def test_baselines_serve_their_only_score_three_times(transformed, tmp_path, model):
    loaded, curve, _ = run(transformed, tmp_path, model=model, epochs=4)
    p = predictions(loaded, serving_rows())
    np.testing.assert_array_equal(p[names.P_CABA], p[names.P_CABB])
    np.testing.assert_array_equal(p[names.P_CABA], p[names.P_CONVERSION])
    assert np.mean([row["loss"] for row in curve[-5:]]) < np.mean([row["loss"] for row in curve[:5]])


def test_a_model_of_views_goes_the_same_way_and_shows_its_gates(transformed, tmp_path):
    settings = {"model": "home", "views": ["last_click", "linear"], "expert_units": [8]}
    loaded, curve, arguments = run(transformed, tmp_path, epochs=4, **settings)
    p = predictions(loaded, serving_rows())
    assert set(p) == set(names.LABEL_OF_OUTPUT)
    assert curve[-1]["loss"] < curve[0]["loss"] and curve[-1]["ne_conversion"] < 1
    with open(os.path.join(arguments.model_run_dir, trainer.INSIDE_FILE)) as file:
        gates = json.load(file)["gates"]
    assert set(gates["task level, linear"]["experts"]) == {"linear 1", "many_touches 1", "all 1"}
    with open(os.path.join(arguments.serving_model_dir, trainer.DESCRIPTION_FILE)) as file:
        assert json.load(file)["labels"]["p_caba"] == "credit_last_click_caba"


@pytest.mark.parametrize(("kind", "refit"), [("platt", False), ("isotonic", True)])
def test_calibration_is_served_for_every_output_and_keeps_the_order(transformed, tmp_path, kind, refit):
    settings = {"calibration": kind, "refit": refit, "lambda_cabb": "bilevel", "conversion_score": "or"}
    loaded, curve, arguments = run(transformed, tmp_path, holdout=True, **settings)
    data = click_examples.columns(ROWS)
    examples = tf.constant(click_examples.serialized(data))
    before, after = (
        {output: value.numpy()[:, 0] for output, value in loaded.signatures[name](examples=examples).items()}
        for name in ("uncalibrated", "serving_default")
    )
    for output, label in names.LABEL_OF_OUTPUT.items():
        order = np.argsort(before[output])
        assert (np.diff(after[output][order]) >= 0).all()
        assert (before[output] != after[output]).any()
        if not refit:  # the very rows that it was fitted to
            assert after[output].mean() == pytest.approx(data[label].mean(), rel=0.02)
    with open(os.path.join(arguments.serving_model_dir, trainer.DESCRIPTION_FILE)) as file:
        description = json.load(file)
    assert set(description["calibration"]) == set(names.LABEL_OF_OUTPUT)
    assert description["training_rows"] == (2 if refit else 1) * ROWS
    found = os.listdir(arguments.model_run_dir)
    assert (trainer.FIRST_CURVE_FILE in found) == refit
    with open(os.path.join(arguments.model_run_dir, trainer.INSIDE_FILE)) as file:
        chosen = json.load(file).get("lambda_cabb")
    assert chosen == (description["settings"]["lambda_cabb"] if refit else None)
    if not refit:
        values = [row["lambda_cabb"] for row in curve]
        assert len(set(values)) > 1 and all(0.05 <= value <= 5 for value in values)
    assert not any(name.startswith("resume-") for name in os.listdir(tmp_path / "model_run"))


def test_held_out_days_are_left_alone_when_told_to_and_steps_can_be_bounded(transformed, tmp_path):
    _, curve, arguments = run(transformed, tmp_path, holdout=True, refit=False, steps=6)
    assert [row["step"] for row in curve] == [4, 6]
    with open(os.path.join(arguments.serving_model_dir, trainer.DESCRIPTION_FILE)) as file:
        assert json.load(file)["training_rows"] == ROWS


def test_a_checkpoint_is_of_one_code_and_its_settings(tmp_path):
    (tmp_path / "rows").write_bytes(b"rows")

    def fingerprint(code="a", steps=None, graph="graph", files=("rows",), **settings):
        arguments = SimpleNamespace(
            custom_config={"code_hash": code}, transform_output=graph, train_steps=steps
        )
        paths = [str(tmp_path / name) for name in files]
        return trainer._fingerprint(trainer.ModelSettings(**settings), arguments, paths)

    others = [{"code": "b"}, {"steps": 5}, {"graph": "other"}, {"files": ()}, {"seed": 2}]
    found = {fingerprint(**each) for each in ({}, *others)}
    assert fingerprint() in found and len(found) == 1 + len(others)


def test_without_held_out_days_there_is_nothing_to_calibrate_on(transformed, tmp_path):
    with pytest.raises(InputError, match=r"set split\.holdout_days"):
        run(transformed, tmp_path, calibration="platt")


def test_unknown_models_settings_and_files_are_named(transformed, tmp_path):
    with pytest.raises(InputError, match="no such model; choose one of cabb"):
        run(transformed, tmp_path, model="nope")
    with pytest.raises(InputError, match="lambda"):
        run(transformed, tmp_path, **{"lambda": 1})
    with pytest.raises(InputError, match="no transformed examples"):
        inputs.expand([str(tmp_path / "none*")])
