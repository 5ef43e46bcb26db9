"""TensorFlow for commands that use a model; pipelines keep its warnings for their log."""

from __future__ import annotations

import logging
import os


def quiet_tensorflow() -> None:
    """Chooses Keras 2 and leaves errors only to be printed: TensorFlow reads both when it is imported."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of its own deprecated calls
