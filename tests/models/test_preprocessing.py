"""What leaves the Transform graph: ids, padding and finite numbers, whatever comes in."""

import math

import numpy as np
import pytest
import tensorflow as tf

from models import features as names
from models import preprocessing
from models.feature_space import NUMERIC, FeatureSpace, numeric_names
from schemas.errors import InputError
from tests.models import click_examples

pytestmark = pytest.mark.slow


def hostile_columns():
    """400 rows, of which the first are made of the values that break things."""
    data = click_examples.columns(400, seed=1)
    data["session_clicks"][:] = 3.0  # constant
    data["item_caba_rate_28d"][:] = 0.04  # constant rate
    data["since_purchase_s"][:] = names.NEVER  # never known
    for value, row in ((np.nan, 0), (np.inf, 1), (-np.inf, 2), (1e12, 3)):
        for name in names.NUMERIC:
            if name not in ("session_clicks", "item_caba_rate_28d", "since_purchase_s"):
                data[name][row] = value
    data["item_cabb_rate_28d"][4], data["leaf_caba_rate_28d"][4] = 0.0, 1.0
    data["price"][5] = 0.0
    data[names.RECENT_ITEMS][6], data[names.RECENT_LEAVES][6] = [], []
    data[names.RECENT_ITEMS][7] = ["item-1"] * 30 + ["item-2"]  # too long
    data[names.RECENT_LEAVES][7] = ["Home > Leaf 1"] * 31
    data[names.RECENT_ITEMS][8] = ["never seen", "item-1"]
    data[names.RECENT_LEAVES][8] = ["never seen", "Home > Leaf 1"]
    data[names.ITEM][9] = "seen once"
    return data


@pytest.fixture(scope="module")
def transformed(tmp_path_factory):
    graph, files = click_examples.transform(hostile_columns(), str(tmp_path_factory.mktemp("transform")))
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(400)
    return graph, tf.io.parse_example(next(iter(dataset)), graph.transformed_feature_spec())


def test_every_number_is_finite_and_clipped(transformed):
    _, rows = transformed
    numeric = rows[NUMERIC].numpy()
    assert numeric.shape == (400, len(numeric_names()))
    assert np.isfinite(numeric).all()
    assert np.abs(numeric).max() <= preprocessing.CLIP


def test_constant_and_never_known_columns_are_zero(transformed):
    _, rows = transformed
    numeric = dict(zip(numeric_names(), rows[NUMERIC].numpy().T, strict=True))
    for name in ("session_clicks", "item_caba_rate_28d", "since_purchase_s", "known_since_purchase_s"):
        assert not numeric[name].any()


def test_z_scores_follow_the_definition(transformed):
    _, rows = transformed
    data = hostile_columns()
    column = names.NUMERIC.index("since_item_s")
    raw = data["since_item_s"].astype(np.float64)
    known = np.isfinite(raw) & (raw >= 0)
    value = np.log1p(np.where(known, raw, 0))
    z = (value - value[known].mean()) / value[known].std()
    got = rows[NUMERIC].numpy()
    np.testing.assert_allclose(got[:, column][known], np.clip(z[known], -5, 5), atol=1e-4)
    assert not got[:, column][~known].any()
    np.testing.assert_array_equal(got[:, numeric_names().index("known_since_item_s")], known)


def test_sequences_share_ids_are_cut_and_padded(transformed):
    graph, rows = transformed
    items, recent = rows[names.ITEM].numpy(), rows[names.RECENT_ITEMS].numpy()
    data = hostile_columns()
    id_of = dict(zip(data[names.ITEM], items, strict=True))
    assert recent.shape == (400, names.SEQUENCE_LENGTH)
    assert not recent[6].any()
    assert (recent[7] == id_of["item-1"]).all()
    oov = len(graph.vocabulary_by_name(names.ITEM)) + 1
    assert recent[8].tolist() == [oov, id_of["item-1"]] + [0] * 18
    assert items[9] == oov == FeatureSpace.of_transform(graph).cardinality[names.ITEM] - 1
    for i, history in enumerate(data[names.RECENT_ITEMS]):
        assert (recent[i] > 0).sum() == min(len(history), names.SEQUENCE_LENGTH)


def test_ids_stay_inside_the_tables(transformed):
    graph, rows = transformed
    for name, size in FeatureSpace.of_transform(graph).cardinality.items():
        assert rows[name].numpy().min() >= 1
        assert rows[name].numpy().max() < size


def test_context_columns_are_found_and_keys_left_behind(transformed):
    _, rows = transformed
    assert set(click_examples.CONTEXT) < set(rows)
    assert not {names.USER_ID, names.SESSION_ID, names.EVENT_TIME, names.USER_ACTIVITY} & set(rows)
    assert set(names.LABELS) | set(names.WEIGHTS) | {names.USER_FOLD} < set(rows)


def test_a_users_rows_share_a_fold_and_folds_are_of_like_size(transformed):
    _, rows = transformed
    fold, user = rows[names.USER_FOLD].numpy(), np.array(hostile_columns()[names.USER_ID])
    assert all(len(set(fold[user == each])) == 1 for each in set(user))
    sizes = np.bincount(fold, minlength=names.USER_FOLDS)
    assert len(sizes) == names.USER_FOLDS and sizes.min() > 0.3 * len(user) / names.USER_FOLDS


def test_a_missing_feature_is_named():
    with pytest.raises(InputError, match="price_to_leaf"):
        preprocessing.preprocessing_fn(
            {name: None for name in names.STRINGS + names.FLOATS if name != "price_to_leaf"}
        )


def test_the_training_split_decides_the_scale(transformed):
    """A new row is scaled by what was seen, not by itself."""
    graph, _ = transformed
    data = click_examples.columns(2, seed=5)
    data["user_clicks"][:] = [0.0, 1e6]
    spec = {k: v for k, v in graph.raw_feature_spec().items() if k not in (*names.LABELS, *names.WEIGHTS)}
    raw = tf.io.parse_example(click_examples.serialized(data), spec)
    numeric = graph.transform_features_layer()(raw)[NUMERIC].numpy()
    column = names.NUMERIC.index("user_clicks")
    assert numeric[0, column] < 0
    assert math.isclose(numeric[1, column], preprocessing.CLIP)
