"""The Keras metric against the NumPy reference."""

import numpy as np
import pytest

from models.metrics import sums
from models.metrics.keras import NormalizedEntropy


def test_it_equals_the_reference_over_several_batches_and_forgets_on_reset():
    rng = np.random.default_rng(0)
    y, p, w = (rng.random(90) < 0.2).astype(float), rng.random(90).astype(np.float32), rng.random(90)
    metric = NormalizedEntropy()
    metric.update_state([1.0], [0.1])
    metric.reset_state()
    for part in np.split(np.arange(90), [10, 50]):
        metric.update_state(y[part], p[part][:, None], w[part])
    assert float(metric.result()) == pytest.approx(
        sums.normalized_entropy(sums.binary_sums(y, p, w)), rel=1e-9
    )


def test_one_class_is_nan():
    metric = NormalizedEntropy()
    metric.update_state([0.0, 0.0], [0.1, 0.2])
    assert np.isnan(float(metric.result()))
