"""Importance by group and family with intervals, and the paper's RQ-4 in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.run_report.judgement import HEADS
from experiments.feature_importance.permutation import Sums, bootstrap_rises
from models import features as names
from models.feature_groups import FAMILIES, GROUPS, PERSONAL, POPULARITY, SEMI_PERSONAL
from models.metrics.sums import entropy
from schemas.errors import InputError

CLAIMS = (
    (
        "the user's past with the clicked item and recent clicks matter more for CABA than for CABB",
        (PERSONAL,),
        1,
    ),
    (
        "the same, and the user's past with similar items, matter more for CABA than for CABB",
        (PERSONAL, SEMI_PERSONAL),
        1,
    ),
    (
        "popularity and the user's past with the category matter more for CABB than for CABA",
        (SEMI_PERSONAL, POPULARITY),
        -1,
    ),
)
"""What CABB 4.4 says: the claim, the families it speaks of, and the sign of share(CABA) - share(CABB)."""


def findings(sums: Sums, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Importance per head, and a verdict on each of `CLAIMS`; JSON types only.

    The importance of a group is the rise of NE when it is permuted. The share of a family is its rise over
    the sum of all families' rises on that head (a rise below 0 counts as 0): shares can be compared between
    heads, rises cannot.

    Raises:
        InputError: a head whose outcome no click or every click has.
    """
    for output, title in HEADS:
        if not 0 < sums.positives[output].sum() < sums.clicks.sum():
            raise InputError(f"{title.lower()}: no click or every click has this outcome; use more days")
    estimate, draws = bootstrap_rises(sums, resamples, seed)
    # A family of one group is that group.
    part_of = {f: f if f in estimate else groups[0] for f, groups in FAMILIES.items()}
    part_of = {family: part for family, part in part_of.items() if part in estimate}
    family_of = {group: family for family, groups in FAMILIES.items() for group in groups}
    shares = {
        output: _shares(np.array([[estimate[part][output]] for part in part_of.values()]))[:, 0]
        for output in names.LABEL_OF_OUTPUT
    }
    share_draws = {
        output: _shares(np.stack([draws[part][output] for part in part_of.values()]))
        for output in names.LABEL_OF_OUTPUT
    }

    def rise(name: str, output: str) -> dict[str, Any]:
        return {"rise": estimate[name][output], "interval": _bounds(draws[name][output], level)}

    clicks = sums.clicks.sum()
    heads = []
    for output, title in HEADS:
        rate = float(sums.positives[output].sum() / clicks)
        groups = [
            {"name": group, "family": family_of[group], **rise(group, output)}
            for group in GROUPS
            if group in estimate
        ]
        families = [
            {
                "name": family,
                **rise(part, output),
                "share": float(shares[output][row]),
                "share_interval": _bounds(share_draws[output][row], level),
            }
            for row, (family, part) in enumerate(part_of.items())
        ]
        heads.append(
            {
                "output": output,
                "title": title,
                "base_rate": rate,
                "ne": float(sums.base[output].sum() / clicks / entropy(rate)),
                "groups": sorted(groups, key=lambda each: -each["rise"]),
                "families": sorted(families, key=lambda each: -each["rise"]),
            }
        )
    rows = {family: row for row, family in enumerate(part_of)}
    claims = []
    for words, families, sign in CLAIMS:
        mine = [rows[family] for family in families if family in rows]
        caba, cabb = (float(shares[o][mine].sum()) for o in (names.P_CABA, names.P_CABB))
        difference = share_draws[names.P_CABA][mine].sum(0) - share_draws[names.P_CABB][mine].sum(0)
        low, high = _bounds(difference, level)
        holds = (low > 0) if sign > 0 else (high < 0)
        opposite = (high < 0) if sign > 0 else (low > 0)
        claims.append(
            {
                "claim": words,
                "share_caba": caba,
                "share_cabb": cabb,
                "difference": caba - cabb,
                "interval": [low, high],
                "verdict": "holds" if holds else "the opposite holds" if opposite else "cannot tell",
            }
        )
    return {"heads": heads, "claims": claims}


def _shares(rises: np.ndarray) -> np.ndarray:
    """[families, draws] rises -> shares of each draw's total."""
    positive = np.maximum(rises, 0)
    return positive / np.maximum(positive.sum(axis=0), 1e-12)


def _bounds(draws: np.ndarray, level: float) -> list[float]:
    return [float(bound) for bound in np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])]
