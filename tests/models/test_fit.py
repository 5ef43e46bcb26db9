"""What a training learns from."""

import numpy as np

from models import features as names
from models.feature_space import NUMERIC, FeatureSpace
from models.fit import Training
from models.inputs import TrainingRows
from models.settings import ModelSettings

ROWS = 600


def trained(fold=None, changed=slice(0)):
    """(trained variables, curve) on rows of which the second half has no weight.

    Args:
      fold: of the rows' users.
      changed: rows whose labels are turned round.
    """
    rng = np.random.default_rng(0)
    features = {
        names.ITEM: rng.integers(0, 9, ROWS),
        NUMERIC: rng.normal(size=(ROWS, 3)).astype(np.float32),
        names.USER_FOLD: np.arange(ROWS) % names.USER_FOLDS if fold is None else fold,
    }
    columns = (*names.LABELS, *names.WEIGHTS)
    labels = {name: (rng.random(ROWS) < 0.5).astype(np.float32) for name in columns}
    for name in names.LABELS:
        labels[name][changed] = 1 - labels[name][changed]
    labels[names.ROW_WEIGHT] = (np.arange(ROWS) < ROWS // 2).astype(np.float32)
    settings = ModelSettings(members=1, batch_size=100, epochs=1, attention_units=(), numeric_bins=0)
    rows = TrainingRows.of_arrays(features, labels, names.Y_ANY)
    curve = []
    training = Training(settings, FeatureSpace({names.ITEM: 9}, ("a", "b", "c"), {}), rows)
    model = training.run(lambda step, values: curve.append(values))
    return [variable.numpy() for variable in model.trainable_variables], curve


def test_rows_are_trained_on_with_the_rates_of_other_folds():
    folds = np.arange(ROWS) % names.USER_FOLDS
    one, again, other = (trained(fold=each)[0] for each in (folds, folds, np.sort(folds)))
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))


def test_labels_of_rows_without_weight_change_neither_model_nor_curve():
    (weights, curve), (again, same) = trained(), trained(changed=slice(ROWS // 2, None))
    assert all((a == b).all() for a, b in zip(weights, again, strict=True))
    assert curve == same
    assert trained(changed=slice(9))[1] != curve
