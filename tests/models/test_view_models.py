"""Models of attribution views: what they serve, what they learn from, and what they leave alone."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from models import features as names
from models import registry
from models.feature_space import NUMERIC, FeatureSpace, numeric_names
from models.fit import Training
from models.inputs import TrainingRows
from models.metrics import sums
from models.settings import VIEW_MODELS, ModelSettings

VIEWS = ("last_click", "first_click", "linear", "mta")
ROWS = 256
SPACE = FeatureSpace(
    cardinality={names.ITEM: 9, names.LEAF: 5},
    numeric=numeric_names(),
    sequences=dict(names.SEQUENCES),
)


@pytest.fixture(scope="module")
def batch():
    """Rows whose credits follow the first numeric column; every view's positives are some of linear's."""
    rng = np.random.default_rng(0)
    numeric = rng.normal(size=(ROWS, len(SPACE.numeric))).astype(np.float32)
    features = {
        names.ITEM: rng.integers(1, 9, ROWS),
        names.LEAF: rng.integers(1, 5, ROWS),
        names.RECENT_ITEMS: rng.integers(0, 9, (ROWS, names.SEQUENCE_LENGTH)),
        names.RECENT_LEAVES: rng.integers(0, 5, (ROWS, names.SEQUENCE_LENGTH)),
        NUMERIC: numeric,
        names.USER_FOLD: rng.integers(0, names.USER_FOLDS, ROWS),
    }
    positive = rng.random(ROWS) < 1 / (1 + np.exp(-2 * numeric[:, 0]))
    labels = {names.ROW_WEIGHT: np.ones(ROWS), names.ALPHA: rng.random(ROWS)}
    for view in VIEWS:
        credit = positive * rng.choice([0.25, 1.0] if view == "linear" else [0.0, 0.5, 1.0], ROWS)
        same = rng.random(ROWS) < 0.5
        labels[names.credit(view)] = credit
        labels[names.credit_caba(view)] = credit * same
        labels[names.credit_cabb(view)] = credit * ~same
        labels[names.credit_alpha(view)] = rng.random(ROWS)
    labels = {name: values.astype(np.float32) for name, values in labels.items()}
    return tuple({k: tf.constant(v) for k, v in part.items()} for part in (features, labels))


def small(name, **settings):
    """Settings of a model whose bottom is not what is tested."""
    bottom = {"members": 1, "bottom_units": (16,), "cross_layers": 0, "attention_units": ()}
    settings = {"epochs": 1, "dense_learning_rate": 5e-3, "embedding_learning_rate": 0.02, **settings}
    return ModelSettings(model=name, **bottom, expert_units=(8,), head_units=(8,), **settings)


def built(batch, name, **settings):
    tf_keras.utils.set_random_seed(0)
    model = registry.create(small(name, **settings), SPACE)
    model(batch[0])
    return model


@pytest.fixture(scope="module", params=VIEW_MODELS)
def trained(request, batch):
    """A model after 24 steps, and its losses at the first and the last of them."""
    columns = ({name: x.numpy() for name, x in part.items()} for part in batch)
    settings = small(request.param, batch_size=64, epochs=6, log_every_steps=4, dense_learning_rate=0.02)
    curve = []
    training = Training(settings, SPACE, TrainingRows.of_arrays(*columns, names.credit("last_click")))
    model = training.run(lambda step, values: curve.append(values["loss"]))
    return model, curve


def test_it_learns_and_serves_three_probabilities(trained, batch):
    model, curve = trained
    assert curve[-1] < curve[0]
    served = model(batch[0])
    assert set(served) == set(names.LABEL_OF_OUTPUT)
    for p in served.values():
        assert p.shape == (ROWS, 1) and ((p >= 0) & (p <= 1)).numpy().all()
    credit = batch[1][names.credit("last_click")].numpy()
    assert sums.auc(credit, served[names.P_CONVERSION][:, 0]) > 0.7


@pytest.mark.slow
def test_saving_keeps_the_predictions_whatever_the_batch(trained, batch, tmp_path):
    model, _ = trained
    serve = tf.function(lambda **features: model(features))
    any_batch = {name: tf.TensorSpec([None, *x.shape[1:]], x.dtype, name) for name, x in batch[0].items()}
    served = tf.Module()
    served.model = model
    tf.saved_model.save(served, str(tmp_path), serve.get_concrete_function(**any_batch))
    loaded = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    whole = model(batch[0])
    few = loaded(**{name: values[:3] for name, values in batch[0].items()})
    for output in names.LABEL_OF_OUTPUT:
        np.testing.assert_allclose(few[output], whole[output][:3], atol=1e-5)


def test_what_it_shows_of_its_inside_adds_up(trained, batch):
    model, _ = trained
    found = model.inspect(*batch)
    for gate in found.get("gates", {}).values():
        assert sum(gate["experts"].values()) == pytest.approx(1, abs=1e-5)
        assert 0 <= gate["entropy"] <= 1 + 1e-6
    assert ("gates" in found) == (model.settings.model in ("mmoe", "ple", "home"))
    assert ("cat" in found) == model.settings.model.startswith("mal")
    if "cat" in found:
        assert sum(each["share"] for each in found["cat"]["classes"]) == pytest.approx(1)
        assert found["cat"]["unreachable"] == 7 and found["cat"]["rows_of_unreachable"] == 0
        assert len(found["cat"]["classes"]) == 9


@pytest.mark.parametrize("name", ["ple", "home"])
def test_a_view_never_reads_the_experts_of_another(batch, name):
    """The mask of PLE's and HoME's last level, seen in gradients."""
    model = built(batch, name)
    level, owners = (
        (model._levels[1]["experts"], [each.rsplit(" ", 1)[0] for each in model._names])
        if name == "ple"
        else (model._task._experts, model._task.owners)
    )
    allowed = {"linear", "shared", "all", "many_touches"}
    with tf.GradientTape() as tape:
        logit = tf.reduce_sum(model.logits(batch[0], training=True)["linear"])
    gradient = tape.gradient(logit, level._kernels[0]).numpy()
    reached = {owner for owner, g in zip(owners, gradient, strict=True) if np.abs(g).max() > 0}
    assert reached == allowed & set(owners)


def test_the_parts_of_the_credit_leave_the_network_alone(batch):
    model = built(batch, "shared_bottom", views=("last_click",))
    with tf.GradientTape() as tape:
        logits = model.logits(batch[0])
        parts = tf.reduce_sum(logits[names.P_CABA] + logits[names.P_CABB])
    assert set(logits) == set(names.LABEL_OF_OUTPUT), "one view: the primary task alone"
    assert all(g is None for g in tape.gradient(parts, model._bottom.trainable_variables))


@pytest.mark.parametrize("stop", [False, True])
def test_the_primary_task_trains_the_knowledge_unless_told_not_to(batch, stop):
    model = built(batch, "mal", stop_knowledge_gradient=stop)
    with tf.GradientTape() as tape:
        logit = tf.reduce_sum(model.logits(batch[0])[names.P_CONVERSION])
    towers = [v for tower in model._aka._towers.values() for v in tower.trainable_variables]
    assert all((g is None) == stop for g in tape.gradient(logit, towers))


def losses(model, batch, **changes):
    features, labels = batch
    labels = {**labels, **changes}
    return {name: float(value) for name, value in model.losses_of(model.logits(features), labels).items()}


def test_the_objective_of_mal(batch):
    model = built(batch, "mal", auxiliary_weight=0.3, cat_weight=0.1)
    p = {name: 1 / (1 + np.exp(-z.numpy())) for name, z in model.logits(batch[0]).items()}
    y = {name: value.numpy() for name, value in batch[1].items()}

    def weighted(credit, p):
        return (np.where(credit > 0, credit, 1) * sums.cross_entropy(credit > 0, p)).mean()

    expected = weighted(y["credit_last_click"], p[names.P_CONVERSION])
    expected += 0.3 * sum(weighted(y[names.credit(view)], p[view]) for view in VIEWS)
    expected += weighted(y["credit_last_click_caba"], p[names.P_CABA])
    expected += weighted(y["credit_last_click_cabb"], p[names.P_CABB])
    got = losses(model, batch)
    assert got["loss"] == pytest.approx(expected + 0.1 * got["loss_cat"], rel=1e-4)
    assert set(got) == {"loss", "loss_primary", "loss_cat", *(f"loss_{view}" for view in VIEWS)}
    assert "loss_cat" not in losses(built(batch, "mal", cat_weight=0.0), batch)


def test_the_objective_of_mal_cabb_weighs_buying_another_item_by_its_alpha(batch):
    model = built(batch, "mal_cabb", lambda_cabb=0.5, label_mode="soft", alpha_share=0.3)
    p = {name: 1 / (1 + np.exp(-z.numpy())) for name, z in model.logits(batch[0]).items()}
    y = {name: value.numpy() for name, value in batch[1].items()}

    def of(view, caba, cabb):
        alpha = y[names.credit_alpha(view)]
        weighted = (0.7 + 0.3 * alpha) * sums.cross_entropy(y[names.credit_cabb(view)], cabb)
        return sums.cross_entropy(y[names.credit_caba(view)], caba).mean() + 0.5 * weighted.mean()

    got = losses(model, batch)
    assert got["loss_primary"] == pytest.approx(of("last_click", p["p_caba"], p["p_cabb"]), rel=1e-4)
    for view in VIEWS:
        expected = of(view, p[names.credit_caba(view)], p[names.credit_cabb(view)])
        assert got[f"loss_{view}"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["shared_bottom", "mal", "mal_cabb"])
def test_without_multiple_attributions_the_other_views_do_not_matter(batch, name):
    nothing = {c: tf.zeros(ROWS) for view in VIEWS[1:] for c in names.credit_columns([view])}
    same = built(batch, name, auxiliary_labels="primary")
    assert losses(same, batch) == losses(same, batch, **nothing)
    own = built(batch, name)
    assert losses(own, batch) != losses(own, batch, **nothing)


def test_either_view_can_be_the_primary_one(batch):
    model = built(batch, "mal", primary_view="mta")
    assert model.settings.label_of_output()[names.P_CONVERSION] == "credit_mta"
    changed = losses(model, batch, credit_mta=tf.ones(ROWS), credit_mta_caba=tf.ones(ROWS))
    assert changed["loss_primary"] != losses(model, batch)["loss_primary"]
    assert changed["loss_last_click"] == losses(model, batch)["loss_last_click"]


def test_needed_views_are_those_of_the_losses_and_the_verdict():
    assert ModelSettings().needed_views() == ()
    assert ModelSettings(model="mal", views=("linear",)).needed_views() == ("last_click", "linear")
    assert ModelSettings(model="mal").needed_views() == VIEWS
