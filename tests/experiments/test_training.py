"""What a variant is trained on."""

import numpy as np
import pytest

from experiments import training
from models import features as names
from models.settings import SINGLE_TASKS, ModelSettings
from tests.experiments import made_up


@pytest.mark.parametrize(("model", "label"), SINGLE_TASKS.items())
def test_a_model_of_one_head_learns_from_its_own_label_alone(tmp_path, model, label):
    prepared = made_up.prepared(tmp_path)
    settings = ModelSettings(model=model, members=1, epochs=1, numeric_bins=2)
    rows = np.arange(prepared.train_rows)

    def variables(turned):
        labels = {name: 1 - values if name in turned else values for name, values in prepared.labels.items()}
        learned = training.train(settings, training.Rows(prepared.space, prepared.inputs, labels), rows)
        return [variable.numpy() for variable in learned.variables]

    learned = variables(())
    others = set(names.LABELS) - {label}
    for found, expected in zip(variables(others), learned, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert any((found != expected).any() for found, expected in zip(variables({label}), learned, strict=True))
