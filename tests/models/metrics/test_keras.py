"""The Keras metric against the NumPy reference."""

import numpy as np

from models.metrics import sums
from models.metrics.keras import NormalizedEntropy


def test_it_equals_the_reference_over_several_batches_and_forgets_on_reset():
    rng = np.random.default_rng(0)
    y, p, w = (rng.random(90) < 0.2).astype(float), rng.random(90).astype(np.float32), rng.random(90)
    metric = NormalizedEntropy(outputs=2)
    metric.update_state([[1.0, 0.0]], [[0.1, 0.3]])
    metric.reset_state()
    for part in np.split(np.arange(90), [10, 50]):
        both = np.stack([y[part], 1 - y[part]], 1), np.stack([p[part], p[part]], 1)
        metric.update_state(*both, w[part])
    expected = [sums.normalized_entropy(sums.binary_sums(label, p, w)) for label in (y, 1 - y)]
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-9)


def test_one_class_is_nan():
    metric = NormalizedEntropy()
    metric.update_state([0.0, 0.0], [0.1, 0.2])
    assert np.isnan(metric.result()).all()
