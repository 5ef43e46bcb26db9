"""A model of attribution views, from raw logs to a pushed version."""

from pathlib import Path

import pytest

from pipeline.local_run import Outcome
from tests.end_to_end.small_runs import config_at, pushed_versions, run

pytestmark = pytest.mark.slow


def test_a_model_of_attribution_views_is_one_setting(tmp_path: Path) -> None:
    """Views, their data-driven one included, CABA and CABB, through the same gate to the same outputs."""
    import tensorflow as tf

    config = config_at(tmp_path, name="views", model="mal_cabb", **{"attribution.look_back_days": 1})
    result, printed = run(config)
    assert result.outcome is Outcome.PUSHED, f"{result.message}\n{printed}"
    assert "AttributionModel" in printed
    labels = {head["output"]: head["label"] for head in result.results["heads"]}
    assert labels == config.model.label_of_output()
    assert labels["p_conversion"] == "credit_last_click"
    assert result.results["inside"]["cat"]["rows_of_unreachable"] == 0
    assert "What the attribution views say together" in result.report.read_text()
    (version,) = pushed_versions(config)
    loaded = tf.saved_model.load(str(config.output / "serving/views" / version))
    assert set(loaded.signatures["raw"].structured_outputs) == set(labels)
