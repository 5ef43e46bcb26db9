"""Settings that must hold before any test module imports TensorFlow."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Figures are drawn to files only.
os.environ.setdefault("MPLBACKEND", "Agg")

# A loaded machine is slow, which is no fault of the code; the same examples are tried on every run.
settings.register_profile(
    "cabb", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("cabb")

_keras_seen = False


@pytest.fixture(autouse=True)
def _keras_is_keras_2():
    """Fails the first test after which TensorFlow is loaded with another Keras than recommenders needs."""
    yield
    global _keras_seen
    tensorflow = sys.modules.get("tensorflow")
    if not _keras_seen and hasattr(tensorflow, "keras"):
        _keras_seen = True
        assert tensorflow.keras.Model.__module__.startswith("tf_keras."), tensorflow.keras.Model.__module__
