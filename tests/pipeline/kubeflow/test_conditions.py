"""Trigger conditions as TFX's compiler writes them."""

import pytest

from pipeline.kubeflow.conditions import holds, parse
from schemas.errors import InputError

BLESSED = "inputs.artifacts['blessing'].artifacts[0].metadata['blessed'] == 1.0"
INPUTS = {
    "artifacts": {
        "blessing": {"artifacts": [{"uri": "a && !b", "metadata": {"blessed": 1, "by": "x || y"}}]}
    },
    "parameterValues": {"size": 3},
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (BLESSED, True),
        (f"!({BLESSED})", False),
        (f"({BLESSED}) && (inputs.parameter_values['size'] > 2)", True),
        (f"!({BLESSED}) || inputs.parameter_values['size'] >= 4", False),
        ("inputs.artifacts['blessing'].artifacts[0].uri == 'a && !b'", True),
        ("inputs.artifacts['blessing'].artifacts[0].metadata['by'] != 'x || y'", False),
        ("('a' + 'b') == 'ab' && true", True),
    ],
)
def test_conditions_hold_as_written(condition: str, expected: bool) -> None:
    assert holds(condition, INPUTS) is expected


def test_a_missing_value_is_named() -> None:
    with pytest.raises(InputError, match=r"there is no .*pushed"):
        holds("inputs.artifacts['pushed'].artifacts[0].uri == ''", INPUTS)


@pytest.mark.parametrize(
    "condition", ["__import__('os')", "inputs.x()", "outputs.a == 1", "a ==", "[1][0] == 1"]
)
def test_more_than_kfp_evaluates_is_refused(condition: str) -> None:
    with pytest.raises(InputError, match="trigger condition"):
        parse(condition)
