"""Which published version a candidate is compared with, and when none may be."""

from __future__ import annotations

from typing import Literal

from schemas.errors import InputError
from schemas.lineage import Version
from schemas.settings import Settings

IN_PRODUCTION = "in_production"
"""Custom property of the baseline: the version in production when it was chosen, 0 for none."""


class BaselineSettings(Settings):
    """How the baseline is chosen."""

    overlap: Literal["refuse", "prior"] = "refuse"
    """When the version in production learned from days that the candidate is judged on: stop the run, or
    compare with the base rates instead."""


def comparable(version: Version | None, eval_start: str, settings: BaselineSettings) -> Version | None:
    """The version to compare with; None: the constant-prior model.

    A model that has seen the eval days would win by memory. `eval_start` is an ISO date and `train_end` of
    the version's lineage is exclusive.

    Raises:
        InputError: the version learned from eval days, or does not say what it learned from, and `overlap`
        is refuse.
    """
    if version is None:
        return None
    train_end = version.lineage.train_end if version.lineage else None
    if train_end is not None and train_end[:10] <= eval_start[:10]:
        return version
    if settings.overlap == "prior":
        return None
    if train_end is None:
        problem = "does not say which days it learned from"
        remedy = "move it out of the serving directory"
    else:
        problem = f"learned from days before {train_end}, but the eval days start on {eval_start}"
        remedy = f"set eval_start to {train_end} or later"
    raise InputError(
        f"baseline version {version.number} ({version.path}) {problem}: {remedy}, or compare with the "
        "base rates (baseline.overlap: prior)"
    )
