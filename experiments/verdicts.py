"""Does a direction of the paper show on these data? Holds, does not hold, or cannot tell, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from components.run_report import formats
from experiments.bootstrap import Difference

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot tell"
Verdict = Literal["holds", "does not hold", "cannot tell"]


@dataclass(frozen=True)
class Claim:
    """A direction: on `target`, every `lower` variant has a lower NE than its `higher` one.

    Attributes:
        words: the claim as a sentence.
        pairs: (lower, higher) names of variants; all must hold.
        target: name of a measures.Target.
        paper: NE of the paper for (lower, higher) of the whole claim, if it prints both.
    """

    words: str
    pairs: tuple[tuple[str, str], ...]
    target: str
    paper: tuple[float, float] | None = None


@dataclass(frozen=True)
class Judged:
    """A claim's verdict, the reason as a sentence, and the comparisons it rests on."""

    claim: Claim
    verdict: Verdict
    why: str
    differences: tuple[Difference, ...]


def verdict_of(difference: Difference) -> Verdict:
    """Holds if the whole interval of NE(lower) - NE(higher) is below 0, fails if it is above, else open."""
    low, high = difference.interval
    if high < 0:
        return HOLDS
    return FAILS if low > 0 else OPEN


def judge(claim: Claim, compare: Callable[[str, str, str], Difference], seeds: int) -> Judged:
    """Judges a claim after recalibration.

    Args:
        compare: (lower, higher, target) -> their paired difference.
        seeds: how many trainings each side has.
    """
    differences = tuple(compare(lower, higher, claim.target) for lower, higher in claim.pairs)
    verdicts = [verdict_of(each) for each in differences]
    if all(each == HOLDS for each in verdicts):
        verdict = HOLDS
    elif FAILS in verdicts:
        verdict = FAILS
    else:
        verdict = OPEN
    if len(differences) == 1:
        why = _one(differences[0], verdict, claim.paper, seeds)
    else:
        why = _several(claim, differences, verdicts)
    return Judged(claim, verdict, why, differences)


def _one(difference: Difference, verdict: Verdict, paper: tuple[float, float] | None, seeds: int) -> str:
    measured = difference.ratio - 1
    bounds = [bound - 1 for bound in difference.ratio_interval]
    text = f"NE changes by {formats.change(measured)} ({formats.change_interval(bounds)})"
    if verdict == OPEN:
        text += f"; other users or other seeds than these {seeds} could turn the sign"
    if paper:
        size = paper[0] / paper[1] - 1
        inside = bounds[0] <= size <= bounds[1]
        text += f". The paper's {formats.change(size)} lies {'inside' if inside else 'outside'} the interval"
    return text + "."


def _several(claim: Claim, differences: Sequence[Difference], verdicts: Sequence[Verdict]) -> str:
    steps = [
        f"{lower} to {higher} {formats.change(each.ratio - 1)}"
        f" ({formats.change_interval([bound - 1 for bound in each.ratio_interval])})"
        for (lower, higher), each in zip(claim.pairs, differences, strict=True)
    ]
    right = sum(each == HOLDS for each in verdicts)
    wrong = sum(each == FAILS for each in verdicts)
    return (
        f"Of {len(steps)} steps {right} show, {wrong} go the other way, {len(steps) - right - wrong} cannot "
        f"be told from noise: {'; '.join(steps)}."
    )
