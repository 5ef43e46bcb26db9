"""Which runs can be compared in an A/B loop."""

from pathlib import Path

import pytest

from experiments.run_artifacts import RunArtifacts
from pipeline.commands.ab_test import arm_names, refuse_unequal
from schemas.errors import InputError


def run(model: str = "cabb", data: dict | None = None, **place: str) -> RunArtifacts:
    facts = {"Data fingerprint": "f", "Training ends before": "2025-03-24"} | place
    results = {"run": {"name": "a run"}, "configuration": {"data": data, "model": {"model": model}}}
    return RunArtifacts(results, facts, Path("model"), True, [])


def test_only_runs_of_the_same_store_and_days_are_compared() -> None:
    refuse_unequal(run(), run("last_click"))
    with pytest.raises(InputError, match="other logs"):
        refuse_unequal(run(), run(**{"Data fingerprint": "g"}))
    with pytest.raises(InputError, match="other training days"):
        refuse_unequal(run(), run(**{"Training ends before": "2025-03-23"}))
    with pytest.raises(InputError, match="real logs"):
        refuse_unequal(run(), run(data={"events": ["x"]}))


def test_a_run_of_other_settings_is_told_so() -> None:
    old = run()
    old.results["configuration"]["model"]["shuffle_stars"] = 1
    with pytest.raises(InputError, match=r"another version of cabb.*model\.shuffle_stars"):
        arm_names([old], [run()])


def test_arms_are_called_by_their_models() -> None:
    assert arm_names([run("last_click")], [run(), run()]) == ("last_click", "cabb")
    assert arm_names([run()], [run()]) == ("cabb (control)", "cabb (treatment)")
    with pytest.raises(InputError, match="runs of cabb and last_click"):
        arm_names([run("last_click"), run()], [run()])
