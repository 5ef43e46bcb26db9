"""Batches hold every row once an epoch, in an order that the seed decides, from any step on."""

import numpy as np
import pytest

from models import features as names
from models import inputs
from models.feature_space import NUMERIC

ROWS = 50


@pytest.fixture
def rows(monkeypatch):
    monkeypatch.setattr(inputs, "_PIECE_ROWS", 7)
    y = (np.arange(ROWS) % 3 == 0).astype(np.float32)
    weight = np.where(np.arange(ROWS) < 25, 2.0, 1.0).astype(np.float32)
    return inputs.TrainingRows.of_arrays(
        {
            "x": np.arange(ROWS, dtype=np.int32),
            NUMERIC: np.arange(ROWS, dtype=np.float32)[:, None],
            names.USER_FOLD: np.arange(ROWS, dtype=np.int32) % names.USER_FOLDS,
        },
        {names.Y_ANY: y, names.ROW_WEIGHT: weight, names.ALPHA: y},
        names.Y_ANY,
    )


def order(rows, seed, skip=0):
    batches = [features["x"].numpy() for features, _ in rows.batches(8, epochs=2, seed=seed, skip=skip)]
    return [len(batch) for batch in batches], np.concatenate(batches)


def test_every_epoch_has_every_row_in_another_order(rows):
    sizes, whole = order(rows, seed=1)
    assert sizes == [8] * 12 + [4]
    for epoch in (whole[:ROWS], whole[ROWS:]):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(ROWS))
    assert (whole[:ROWS] != whole[ROWS:]).any()
    assert (whole != order(rows, seed=2)[1]).any()
    np.testing.assert_array_equal(whole, order(rows, seed=1)[1])
    np.testing.assert_array_equal(order(rows, seed=1, skip=3)[1], whole[24:])


def test_labels_travel_with_their_rows_and_rates_are_weighted(rows):
    for features, labels in rows.batches(8, epochs=1, seed=1):
        np.testing.assert_array_equal(labels[names.Y_ANY], features["x"].numpy() % 3 == 0)
    assert rows.rows == ROWS
    assert rows.statistics.base_rate == {names.Y_ANY: pytest.approx((2 * 9 + 8) / 75)}
