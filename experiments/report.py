"""What the results of every experiment begin with, and how they are written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from experiments.prepared import Prepared
from experiments.trials import Plan
from schemas.output import write_whole


def about(prepared: Prepared, plan: Plan) -> dict[str, Any]:
    """The data and the plan of an experiment, for its page."""
    facts = prepared.facts
    fit, held_out = plan.rows(prepared)
    return {
        "data": {
            "windows": facts["windows"],
            "time_zone": facts["time_zone"],
            "train_rows": facts["train_rows"],
            "fit_rows": len(fit),
            "held_out_rows": len(held_out),
            "eval_rows": facts["eval_rows"],
            "eval_users": facts["eval_users"],
            "mean_alpha": facts["mean_alpha"],
        },
        "plan": plan.model_dump(mode="json", exclude={"code"}),
        "settings": facts["settings"],
    }


def write_json(results: dict[str, Any], path: Path) -> None:
    """Writes results whole or not at all; numbers that are not finite become null."""
    write_whole(path, json.dumps(_finite(results), indent=1) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
