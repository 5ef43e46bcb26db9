"""Schemes judged by a truth that is known: on tiny stores, resumed, and shown."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from experiments import relatedness
from experiments.relatedness import VARIANTS, compose, judge, precision_at, run, simulated_log
from experiments.relatedness_page import answer, page
from pipeline.commands.experiments.relatedness import command
from schemas.errors import InputError
from simulator.worlds import world_named


def test_precision_counts_hits_among_as_many_as_there_are_to_find():
    s = np.array([[1, 0.9, 0.8, 0.1], [0.9, 1, 0, 0], [0.8, 0, 1, 0], [0.1, 0, 0, 1.0]])
    related = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 0], [1, 0, 0, 1]], bool)
    # Row 0 finds 1 of 2; row 1 finds nothing in its one place; row 2 fills one of two; row 3 finds its one.
    assert precision_at(s, related, 2) == pytest.approx(np.mean([1 / 2, 0, 1 / 2, 1]))
    assert precision_at(np.zeros((3, 3)), np.ones((3, 3), bool), 3) == 0


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return simulated_log(world_named("default", users=1500), tmp_path_factory.mktemp("log"))


def test_the_truth_itself_is_the_best_there_is(log):
    related = log.truth >= 0.3
    assert precision_at(log.truth, related, 3) == 1
    found = judge(log, VARIANTS["taxonomy_cf"])
    assert 0.1 < found["precision"] < 1
    assert found["auc"] > 0.7
    assert found["alpha_related"] > found["alpha"] > found["alpha_unrelated"]
    shrunk = judge(log, VARIANTS["shrinkage 10"])
    assert shrunk["alpha"] < found["alpha"]
    static = judge(log, VARIANTS["static"])
    assert math.isnan(static["spearman"])
    assert (static["auc"], static["alpha"]) == (0.5, 1.0)
    by_item = judge(log, VARIANTS["i2i, rank 16"])
    assert by_item["auc"] != found["auc"]
    assert by_item["precision"] != found["precision"]


def test_judgements_are_kept_and_shown(tmp_path, monkeypatch):
    stores = {"high_cabb": [world_named("high_cabb", users=400, seed=seed) for seed in (1, 2)]}
    variants = {name: VARIANTS[name] for name in ("taxonomy_cf", "shrinkage 10", "static")}
    told: list[tuple] = []
    judged = run(stores, variants, tmp_path, "code", 3, lambda *what: told.append(what))
    assert told[-1] == ("high_cabb, seed 2: static", 6, 6)
    monkeypatch.setattr(relatedness, "simulated_log", None)
    again = run(stores, variants, tmp_path, "code", 3, lambda *what: None)
    assert json.dumps(again) == json.dumps(judged)
    results = compose(judged, stores, variants, 3)
    row = results["worlds"]["high_cabb"]["rows"]["shrinkage 10"]["precision"]
    values = [each["precision"] for each in judged["high_cabb"]["shrinkage 10"]]
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["interval"][0] < row["mean"] < row["interval"][1]
    assert results["worlds"]["high_cabb"]["rows"]["static"]["spearman"]["mean"] is None
    json.dumps(results, allow_nan=False)
    shown = page(results)
    assert answer(results) in shown
    assert "<svg" in shown
    assert "http" not in shown.replace("http://www.w3.org", "")


def test_an_unknown_variant_is_bad_input():
    result = CliRunner().invoke(command, ["--variant", "shrinkage 11"])
    assert isinstance(result.exception, InputError)
    assert "did you mean 'shrinkage 1" in str(result.exception)
