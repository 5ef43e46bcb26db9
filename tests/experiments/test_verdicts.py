"""A direction holds only when the whole interval says so."""

import pytest

from experiments.bootstrap import Difference
from experiments.verdicts import FAILS, HOLDS, OPEN, Claim, judge
from models.metrics.sums import Interval


def difference(low: float, high: float, reference: float = 0.8) -> Difference:
    middle = (low + high) / 2
    ratio = Interval(1 + low / reference, 1 + high / reference)
    return Difference(middle, Interval(low, high), 1 + middle / reference, ratio)


def verdict(*intervals, paper=None):
    pairs = tuple((f"low{n}", f"high{n}") for n in range(len(intervals)))
    found = dict(zip(pairs, intervals, strict=True))
    claim = Claim("low is lower", pairs, "caba", paper)
    return judge(claim, lambda lower, higher, target: difference(*found[lower, higher]), seeds=3)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((-0.05, -0.01), HOLDS),
        ((0.01, 0.05), FAILS),
        ((-0.01, 0.02), OPEN),
        ((-0.02, 0.0), OPEN),  # an interval that touches zero says nothing
        ((float("nan"), float("nan")), OPEN),
    ],
)
def test_one_comparison(interval, expected):
    assert verdict(interval).verdict == expected


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        (((-0.05, -0.01), (-0.03, -0.02)), HOLDS),
        (((-0.05, -0.01), (-0.03, 0.02)), OPEN),
        (((-0.05, -0.01), (0.03, 0.04)), FAILS),
    ],
)
def test_every_step_must_hold(intervals, expected):
    judged = verdict(*intervals)
    assert judged.verdict == expected
    assert "Of 2 steps" in judged.why and "high1" in judged.why


def test_the_reason_names_the_change_its_interval_and_the_paper():
    judged = verdict((-0.08, -0.04), paper=(0.495, 0.575))
    assert "−7.5 % (−10.0 % to −5.0 %)" in judged.why.replace("\N{NO-BREAK SPACE}", " ")
    assert "−13.9" in judged.why and "outside" in judged.why
    assert "inside" in verdict((-0.2, -0.04), paper=(0.495, 0.575)).why
    assert "turn the sign" in verdict((-0.2, 0.04)).why
