"""The same clicks under two windows."""

import math

import pytest

from components.similarity_transform.labels import Hours
from experiments.windows import compare_windows
from models.settings import ModelSettings

pytestmark = pytest.mark.slow


def test_a_longer_window_adds_positives_to_the_same_clicks(store, prepared):
    settings = ModelSettings(
        members=1, embedding_size=4, bottom_units=(8,), attention_units=(), batch_size=256
    )
    session, day = compare_windows(
        store[1], ["session", Hours(hours=24)], settings, [1], prepared.home.parent
    )
    assert (session["window"], day["window"]) == ("session", "24 h")
    assert session["eval"]["clicks"] == len(prepared.evaluation)
    assert day["eval"]["clicks"] < session["eval"]["clicks"]
    assert day["train"]["clicks"] < session["train"]["clicks"]
    assert 0 < session["common"]["clicks"] == day["common"]["clicks"] <= day["eval"]["clicks"]
    for label in ("y_caba", "y_cabb", "y_any"):
        assert day["common"][label] >= session["common"][label]
    assert day["common"]["y_any"] > session["common"]["y_any"]
    assert all(math.isfinite(ne) for ne in day["common"]["ne"].values())
