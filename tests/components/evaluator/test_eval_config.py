"""What is asked of a candidate, read back from the EvalConfig."""

import json

import pytest
from pydantic import ValidationError
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.eval_config import OUTPUTS, GateSettings, eval_config
from models import features as f
from schemas.errors import InputError


def asked(gate, **kwargs):
    """(output, metric) -> (lower, upper), for the candidate."""
    config = eval_config(gate, f.LABEL_OF_OUTPUT, **kwargs)
    found = {}
    thresholds = metric_specs.metric_thresholds_from_metrics_specs(config.metrics_specs, eval_config=config)
    for key, limits in thresholds.items():
        for slicing, threshold in limits:
            assert slicing == config_pb2.SlicingSpec(), "gates hold on the whole eval split only"
            if key.model_name == "candidate":
                low = threshold.lower_bound.value if threshold.HasField("lower_bound") else None
                high = threshold.upper_bound.value if threshold.HasField("upper_bound") else None
                found[key.output_name, key.name] = (low, high)
    return found


def test_defaults():
    found = asked(GateSettings())
    assert found == {
        **{(output, "normalized_entropy"): (None, 1.0) for output in OUTPUTS},
        **{(output, "ne_change_lower"): (None, 0.0) for output in OUTPUTS},
        (f.P_CONVERSION, "calibration"): (0.8, 1.25),
    }


def test_ties_block_asks_for_significantly_better():
    found = asked(GateSettings(ties="block", change_outputs=(f.P_CONVERSION,)))
    assert found[f.P_CONVERSION, "ne_change_upper"][1] < 0
    assert not any(metric == "ne_change_lower" for _, metric in found)
    assert [output for output, metric in found if metric.startswith("ne_change")] == [f.P_CONVERSION]


def test_tolerance_and_own_bounds():
    found = asked(GateSettings(max_ne={f.P_CABB: 0.9}, calibration=None, tolerance=0.01))
    assert found[f.P_CABB, "normalized_entropy"] == (None, 0.9)
    assert found[f.P_CABA, "ne_change_lower"] == (None, 0.01)
    assert (f.P_CABA, "normalized_entropy") not in found and (f.P_CONVERSION, "calibration") not in found


def test_without_baseline_there_is_no_change_to_gate():
    config = eval_config(GateSettings(), f.LABEL_OF_OUTPUT, has_baseline=False)
    assert [spec.name for spec in config.model_specs] == ["candidate"]
    assert not any(metric.startswith("ne_change") for _, metric in asked(GateSettings(), has_baseline=False))


def test_code_hash_changes_the_config_and_nothing_else_does():
    assert eval_config(GateSettings(), f.LABEL_OF_OUTPUT, code_hash="a") != eval_config(
        GateSettings(), f.LABEL_OF_OUTPUT, code_hash="b"
    )
    assert eval_config(GateSettings(), f.LABEL_OF_OUTPUT, code_hash="a") == eval_config(
        GateSettings(), f.LABEL_OF_OUTPUT, code_hash="a"
    )


def test_every_output_has_its_own_label_and_no_weight():
    labels = {output: f"its {output}" for output in OUTPUTS}
    config = eval_config(GateSettings(), labels)
    for spec in config.model_specs:
        assert dict(spec.label_keys) == labels and not spec.example_weight_keys
    assert all(
        len(spec.output_names) == 1 and spec.example_weights.unweighted for spec in config.metrics_specs
    )


def test_gauc_only_on_request():
    def names(gate):
        return {
            json.loads(m.config)["name"]
            for spec in eval_config(gate, f.LABEL_OF_OUTPUT).metrics_specs
            for m in spec.metrics
        }

    assert names(GateSettings(gauc=True)) - names(GateSettings()) == {"gauc", "gauc_coverage"}


def test_a_gate_that_asks_for_nothing_is_refused():
    with pytest.raises(InputError, match="none can pass"):
        eval_config(GateSettings(max_ne={}, calibration=None, change_outputs=()), f.LABEL_OF_OUTPUT)


@pytest.mark.parametrize("wrong", [{"max_ne": {"p_cab": 1.0}}, {"change_outputs": ("p_any",)}])
def test_unknown_output(wrong):
    with pytest.raises(ValidationError, match="known: p_caba, p_cabb, p_conversion"):
        GateSettings(**wrong)
