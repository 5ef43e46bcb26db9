"""Statistics of training rows: by hand, and the same however rows are cut into blocks."""

from itertools import pairwise

import numpy as np
import pytest

from models import features as names
from models.backbone import IdRates
from models.feature_space import FeatureSpace
from models.row_statistics import RowStatistics

IDS = 7
ROWS = 600


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    ids = rng.choice([1, 2, 3, 4, 5], ROWS, p=[0.5, 0.34, 0.11, 0.03, 0.02]).astype(np.int32)
    converted = rng.random(ROWS) < np.array([0, 0.5, 0.1, 0.3, 0.9, 0.2])[ids]
    features = {
        "channel": ids,
        "recent": rng.integers(0, 9, (ROWS, 3)).astype(np.int32),
        "numeric": rng.normal(size=(ROWS, 2)).astype(np.float32),
        names.USER_FOLD: rng.integers(0, names.USER_FOLDS, ROWS).astype(np.int32),
    }
    labels = {
        names.Y_ANY: converted.astype(np.float32),
        names.Y_CABA: (converted & (ids < 3)).astype(np.float32),
        names.ROW_WEIGHT: rng.choice([1.0, 0.5], ROWS).astype(np.float32),
        names.ALPHA: rng.random(ROWS).astype(np.float32),
    }
    return features, labels


def of(rows, *cuts, label=names.Y_ANY):
    features, labels = rows
    edges = (0, *cuts, ROWS)
    blocks = [
        tuple({name: values[a:b] for name, values in part.items()} for part in (features, labels))
        for a, b in pairwise(edges)
    ]
    return RowStatistics.of(blocks, label)


def log_odds(rows, counted):
    """Of every row's id, counted over some of the rows: what id_scores standardises."""
    features, labels = rows
    ids, weight = features["channel"], labels[names.ROW_WEIGHT]
    base = np.average(labels[names.Y_ANY], weights=weight)
    rare = [each for each in range(IDS) if weight[ids == each].sum() < 50]
    odds = np.zeros(ROWS)
    for each in range(IDS):
        mine = counted & (np.isin(ids, rare) if each in rare else ids == each)
        rate = (weight[mine] @ labels[names.Y_ANY][mine] + 20 * base) / (weight[mine].sum() + 20)
        odds[ids == each] = np.log(rate / (1 - rate))
    return odds


def test_scores_are_smoothed_log_odds_and_rare_ids_share_one(rows):
    features, labels = rows
    ids, weight = features["channel"], labels[names.ROW_WEIGHT]
    odds = log_odds(rows, np.ones(ROWS, bool))
    mean = np.average(odds, weights=weight)
    sd = np.sqrt(np.average((odds - mean) ** 2, weights=weight))
    scores = of(rows).id_scores("channel", IDS)
    assert scores.shape == (names.USER_FOLDS + 1, IDS)
    np.testing.assert_allclose(scores[-1, ids], (odds - mean) / sd, rtol=1e-5)
    assert len(set(scores[-1, [4, 5, 0, 6]])) == 1, "ids with few rows and ids with none are alike"
    outside = [
        weight[(ids == 3) & (features[names.USER_FOLD] != fold)].sum() for fold in range(names.USER_FOLDS)
    ]
    assert min(outside) < 50 < weight[ids == 3].sum(), "an id is rare by all rows, not by fold"
    for fold in range(names.USER_FOLDS):
        others = log_odds(rows, features[names.USER_FOLD] != fold)
        np.testing.assert_allclose(scores[fold, ids], (others - mean) / sd, rtol=1e-4)


def test_every_row_brings_the_scores_of_its_ids(rows):
    features, _ = rows
    layer, scores = id_rates(rows)
    ids, fold = features["channel"], features[names.USER_FOLD]
    np.testing.assert_array_equal(layer(features)[:, 0], scores[-1, ids])
    np.testing.assert_array_equal(layer(features, training=True)[:, 0], scores[fold, ids])


def test_training_rows_are_not_told_their_own_labels():
    rng = np.random.default_rng(0)
    count, ids = 6000, 100
    features = {
        "channel": rng.integers(0, ids, count).astype(np.int32),
        names.USER_FOLD: rng.integers(0, names.USER_FOLDS, count).astype(np.int32),
    }
    noise = (rng.random(count) < 0.3).astype(np.float32)
    rows = features, {names.Y_ANY: noise, names.ROW_WEIGHT: np.ones(count, np.float32)}
    layer, _ = id_rates(rows, ids)
    served, trained = (layer(features, training=training).numpy()[:, 0] for training in (False, True))
    assert np.corrcoef(served, noise)[0, 1] > 0.1, "the rate of an id holds the labels of its rows"
    assert np.corrcoef(trained, noise)[0, 1] < 0.03


def id_rates(rows, ids=IDS):
    statistics = RowStatistics.of([rows], names.Y_ANY)
    space = FeatureSpace({"channel": ids}, ("a", "b"), {}, statistics=statistics)
    return IdRates(space), statistics.id_scores("channel", ids)


def test_a_column_that_tells_nothing_is_near_zero_in_training_too(rows):
    features, labels = rows
    constant = features | {"channel": np.ones(ROWS, np.int32)}
    layer, _ = id_rates((constant, labels))
    assert not layer(constant).numpy().any()
    assert np.abs(layer(constant, training=True)).max() < 1


def test_blocks_add_up_to_the_whole(rows):
    whole, parts = of(rows), of(rows, 1, 5, 300)
    assert whole.rows == parts.rows == ROWS
    assert whole.base_rate == pytest.approx(parts.base_rate)
    assert set(whole.base_rate) == {names.Y_ANY, names.Y_CABA}
    assert set(whole.by_id) == {"channel"}, "sequences have no rates"
    for label in whole.base_rate:
        scores = (of(rows, *cuts, label=label).id_scores("channel", IDS) for cuts in ((1, 5, 300), ()))
        np.testing.assert_allclose(*scores, rtol=1e-6)


def test_a_label_without_positives_and_rows_without_weight_stay_finite(rows):
    features, labels = rows
    none = of((features, labels | {names.Y_ANY: np.zeros(ROWS, np.float32)}))
    assert np.isfinite(none.id_scores("channel", IDS)).all()
    weightless = of((features, labels | {names.ROW_WEIGHT: np.zeros(ROWS, np.float32)}))
    assert all(map(np.isnan, weightless.base_rate.values()))


def test_edges_are_distinct_quantiles(rows):
    numbers = np.column_stack([np.arange(1000), np.arange(1000) % 2, np.full(1000, 3.0)]).astype(np.float32)
    deciles, flag, constant = RowStatistics(1000, {}, names.Y_ANY, {}, numbers).edges(10)
    np.testing.assert_allclose(deciles, np.linspace(0, 999, 11), atol=1)
    assert flag == (0.0, 1.0)
    assert constant == (3.0,)
