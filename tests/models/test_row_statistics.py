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
    ids = rng.choice([1, 2, 3, 4, 5], ROWS, p=[0.5, 0.3, 0.15, 0.03, 0.02]).astype(np.int32)
    converted = rng.random(ROWS) < np.array([0, 0.5, 0.1, 0.3, 0.9, 0.2])[ids]
    features = {
        "channel": ids,
        "recent": rng.integers(0, 9, (ROWS, 3)).astype(np.int32),
        "numeric": rng.normal(size=(ROWS, 2)).astype(np.float32),
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


def test_scores_are_smoothed_log_odds_and_rare_ids_share_one(rows):
    features, labels = rows
    ids, weight = features["channel"], labels[names.ROW_WEIGHT]
    base = np.average(labels[names.Y_ANY], weights=weight)
    odds = np.zeros(ROWS)
    for each in range(IDS):
        mine = ids == each if weight[ids == each].sum() >= 50 else np.isin(ids, [4, 5])
        rate = (weight[mine] @ labels[names.Y_ANY][mine] + 20 * base) / (weight[mine].sum() + 20)
        odds[ids == each] = np.log(rate / (1 - rate))
    mean = np.average(odds, weights=weight)
    expected = (odds - mean) / np.sqrt(np.average((odds - mean) ** 2, weights=weight))
    scores = of(rows).id_scores("channel", IDS)
    np.testing.assert_allclose(scores[ids], expected, rtol=1e-5)
    assert scores[4] == scores[5] == scores[0] == scores[6], "ids with few rows and ids with none are alike"


def test_every_row_brings_the_scores_of_its_ids(rows):
    features, _ = rows
    statistics = of(rows)
    space = FeatureSpace({"channel": IDS}, ("a", "b"), {}, statistics=statistics)
    expected = statistics.id_scores("channel", IDS)[features["channel"]]
    np.testing.assert_array_equal(IdRates(space)(features)[:, 0], expected)


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
