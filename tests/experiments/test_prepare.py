"""Arrays that variants share: the pipeline's rows and labels, made once, from logs alone."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.similarity_transform.attribution_views import AttributionSettings
from experiments.prepare import prepare
from experiments.prepared import Prepared
from models import features as names
from models.feature_space import NUMERIC
from models.metrics import sums
from simulator.store import TRUTH_COLUMNS

pytestmark = pytest.mark.slow


def test_rows_are_the_click_examples_of_the_days(store, prepared):
    truth = pl.read_parquet(store[0] / "clicks-*.parquet")
    keys = prepared.keys()
    assert len(keys) == len(prepared) == prepared.train_rows + prepared.facts["eval_rows"]
    assert keys.unique().height == len(keys)
    # All but the clicks of sessions that were still open at a boundary.
    assert 0.97 * truth.height < len(keys) <= truth.height
    assert keys.join(truth, on=keys.columns, how="anti").is_empty()
    boundary = prepared.event_time[: prepared.train_rows].max()
    assert boundary < prepared.event_time[prepared.evaluation].min()
    assert prepared.training(before=boundary).tolist() + prepared.training(since=boundary).tolist()


def test_labels_and_alpha(prepared):
    label = prepared.labels
    either = np.maximum(label[names.Y_CABA], label[names.Y_CABB])
    np.testing.assert_array_equal(label[names.Y_ANY], either)
    assert 0 < either.mean() < 1
    assert (prepared.alpha["static"] == 1).all() and prepared.mean_alpha["static"] == 1
    alpha, cabb = prepared.alpha["taxonomy_cf"], label[names.Y_CABB] > 0
    train = np.arange(len(prepared)) < prepared.train_rows
    assert ((alpha >= 0) & (alpha <= 1)).all() and np.unique(alpha[cabb]).size > 3
    np.testing.assert_allclose(alpha[~cabb], prepared.mean_alpha["taxonomy_cf"], rtol=1e-6)
    np.testing.assert_allclose(alpha[cabb & train].mean(), prepared.mean_alpha["taxonomy_cf"], rtol=1e-5)
    user = prepared.keys()[names.USER_ID].to_numpy()
    np.testing.assert_array_equal(prepared.user_group, sums.user_group(user))


def test_inputs_fit_their_sizes(prepared):
    model_inputs = {*prepared.space.cardinality, *prepared.space.sequences, NUMERIC}
    assert set(prepared.inputs) == {*model_inputs, names.USER_FOLD}
    for name, size in prepared.space.cardinality.items():
        ids = prepared.inputs[name]
        assert ids.dtype == np.int32 and ids.min() >= 1 and ids.max() < size
    assert prepared.inputs[NUMERIC].shape == (len(prepared), len(prepared.space.numeric))
    assert np.isfinite(prepared.inputs[NUMERIC]).all()


def test_hidden_variables_never_reach_an_input(store, prepared):
    """The arrays were made from a folder without the truth, whose files name nothing that is hidden."""
    truth, recipe = store
    files = [*recipe.source.events, recipe.source.catalog]
    read = {name for path in files for name in pl.scan_parquet(path).collect_schema().names()}
    hidden = {*TRUTH_COLUMNS, *pl.read_parquet_schema(truth / "items.parquet")} - {"item", "leaf"}
    assert not (Path(recipe.source.catalog).parent / "truth").exists()
    assert not hidden & {*read, *prepared.inputs, *prepared.labels, *prepared.space.numeric}


def test_a_second_call_finds_what_the_first_left(store, prepared):
    said = []
    again = prepare(store[1], prepared.home.parent, said.append)
    assert not said and isinstance(again, Prepared) and again.home == prepared.home


def test_views_add_their_columns(store, prepared):
    attribution = AttributionSettings(views=("linear", "mta"), look_back_days=1, mta={"folds": 2})
    recipe = store[1].model_copy(update={"attribution": attribution})
    label = prepare(recipe, prepared.home.parent).labels
    assert set(filter(names.is_credit, label)) == set(names.credit_columns(attribution.views))
    linear, mta = label[names.credit("linear")], label[names.credit("mta")]
    assert mta.mean() > 0 and not np.array_equal(linear, mta)
    assert not mta[linear == 0].any()
