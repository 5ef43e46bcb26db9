"""What a training learns from."""

import numpy as np

from models import features as names
from models.feature_space import NUMERIC, FeatureSpace
from models.fit import Training
from models.inputs import TrainingRows
from models.settings import ModelSettings

ROWS = 600


def weights(fold):
    """Of a model that was trained on the same rows, whatever the folds of their users."""
    rng = np.random.default_rng(0)
    features = {
        names.ITEM: rng.integers(0, 9, ROWS),
        NUMERIC: rng.normal(size=(ROWS, 3)).astype(np.float32),
        names.USER_FOLD: fold,
    }
    columns = (*names.LABELS, *names.WEIGHTS)
    labels = {name: (rng.random(ROWS) < 0.5).astype(np.float32) for name in columns}
    settings = ModelSettings(members=1, batch_size=100, epochs=1, attention_units=(), numeric_bins=0)
    rows = TrainingRows.of_arrays(features, labels, names.Y_ANY)
    model = Training(settings, FeatureSpace({names.ITEM: 9}, ("a", "b", "c"), {}), rows).run()
    return [variable.numpy() for variable in model.trainable_variables]


def test_rows_are_trained_on_with_the_rates_of_other_folds():
    folds = np.arange(ROWS) % names.USER_FOLDS
    one, again, other = (weights(each) for each in (folds, folds, np.sort(folds)))
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))
