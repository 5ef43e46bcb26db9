"""Ranking with intervals, and the tables of multi-attribution learning from trials whose worth is known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from experiments import mal, report
from experiments.bootstrap import Bootstrap
from experiments.page import render_mal
from experiments.ranking import Truth, auc, change, gauc
from experiments.trials import Plan, Trial
from models import features as names
from models.metrics import sums
from models.settings import ModelSettings
from tests.experiments import made_up


def drawn_rows(truth, bootstrap, resample):
    """Rows of a resample, as often as their group is drawn, with the user told apart from his copies."""
    times = np.zeros(sums.USER_GROUPS, int)
    times[bootstrap.groups] = bootstrap.draws[0][resample]
    row = np.repeat(np.arange(len(truth.user)), times[truth.group])
    copy = np.concatenate([np.arange(n) for n in times[truth.group]])
    return row, truth.user[row] * 1000 + copy


def test_resamples_equal_resampled_rows():
    rng = np.random.default_rng(1)
    n, user = 900, np.random.default_rng(2).integers(0, 60, 900)
    credit = rng.choice([0, 0, 0.3, 1.0], n)
    group = sums.user_group(np.array([f"u{u}" for u in user]))
    truth = Truth.of(group, user, credit)
    predictions = [1 / (1 + np.exp(-(2 * (credit > 0) - 1 + rng.normal(size=n)))) for _ in range(2)]
    bootstrap = Bootstrap(np.bincount(group, minlength=sums.USER_GROUPS) > 0, 2, resamples=4)
    of_users, of_all = gauc(truth, predictions, bootstrap), auc(truth, predictions, bootstrap)
    positive, weight = sums.weighted_binary(credit)
    whole = [sums.gauc(user, positive, p, weight) for p in predictions]
    assert of_users.value == pytest.approx(np.mean([each.gauc for each in whole]))
    assert of_users.coverage == pytest.approx(whole[0].coverage)
    assert of_all.value == pytest.approx(np.mean([sums.auc(positive, p, weight) for p in predictions]))
    for resample in range(4):
        row, users = drawn_rows(truth, bootstrap, resample)
        share = bootstrap.draws[1][resample]
        expected = [sums.gauc(users, positive[row], p[row], weight[row]).gauc for p in predictions]
        assert of_users.draws[resample] == pytest.approx(np.dot(share, expected))
        expected = [sums.auc(positive[row], p[row], weight[row]) for p in predictions]
        assert of_all.draws[resample] == pytest.approx(np.dot(share, expected), abs=2e-3)


def test_a_model_equals_itself():
    truth = Truth.of(np.arange(40) % 7, np.arange(40) % 8, (np.arange(40) % 3 == 0) * 0.5)
    bootstrap = Bootstrap(np.bincount(truth.group, minlength=sums.USER_GROUPS) > 0, 1)
    one = gauc(truth, [np.linspace(0, 1, 40)], bootstrap)
    assert change(one, one, bootstrap) == (0, (0, 0))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    data = made_up.prepared(tmp_path_factory.mktemp("data") / "arrays", train=3000, evaluation=3000)
    positive, rng = data.labels[names.Y_ANY] > 0, np.random.default_rng(3)
    share = {"last_click": 0.5, "first_click": 0.5, "linear": 1.0, "mta": 0.8}
    credits = {
        names.credit(view): (positive & (rng.random(len(data)) < p)).astype(np.float32)
        for view, p in share.items()
    }
    return replace(data, labels={**data.labels, **credits})


@pytest.fixture(scope="module")
def results(prepared):
    """MAL knows most, its ablation without other views is Base again."""
    plan = Plan(seeds=(1, 2), holdout_days=4, refit=False, model=ModelSettings())
    noise = {mal.MAL: 0.5, mal.NO_CAT: 0.8, mal.BASE: 2.0, mal.SINGLE: 2.0}
    trials = {}
    for primary in mal.PRIMARIES:
        credit = prepared.labels[names.credit(primary)][prepared.evaluation]
        for name, variant in mal.variants(primary).items():
            level = noise.get(name, 1.2)

            def scores(seed, level=level, credit=credit):
                z = 2 * credit - 1 + level * np.random.default_rng(seed).normal(size=len(credit))
                return {output: 1 / (1 + np.exp(-z)) for output in names.LABEL_OF_OUTPUT}

            cost = {"seconds": 2.0 if name == mal.MAL else 1.0, "parameters": 10}
            trials[variant.name] = [Trial({}, scores(seed), cost) for seed in plan.seeds]
    return mal.compose(trials, prepared, plan)


def test_claims_are_judged_by_what_was_planted(results):
    found = {(each["words"], each["primary"]): each["verdict"] for each in results["claims"]}
    assert found["MAL is above Base", "last_click"] == "holds"
    assert found["MAL is at least the best of the four peers", "mta"] == "holds"
    assert found["CAT adds to MAL", "last_click"] == "holds"
    assert found["MAL w/o multiple attributions is not above Base", "last_click"] == "holds"
    assert len(found) == len(mal.CLAIMS) + 1 + 3, "MTA has Table 3 and Figure 5"


def test_tables_have_the_papers_rows_costs_and_a_row_without_a_model(results):
    two, three, four, three_mta = results["tables"]
    assert [row["name"] for row in two["rows"]] == [mal.BASE, *mal.ADDED_VIEWS, mal.ORDER]
    assert [row["name"] for row in three_mta["rows"]] == [mal.BASE, *mal.PEERS, mal.MAL, mal.ORDER]
    best = three["rows"][-2]
    assert best["cost"] == {"parameters": 10, "seconds": 2.0, "relative": 2.0}
    assert best["gauc"]["against"]["interval"][0] > 0 and best["paper"] == (0.51, 0.14)
    assert four["rows"][0]["gauc"]["against"] is None
    order = four["rows"][-1]
    assert order["cost"] is None and order["gauc"]["value"] == pytest.approx(0.5, abs=0.05)
    assert 0 < order["coverage"] < 1
    assert results["positives"]["linear"]["train"] > results["positives"]["last_click"]["train"]
    assert sum(group["clicks"] for group in results["by_gain"]) == results["data"]["eval_rows"]
    assert [group["title"] for group in results["by_gain"]][:3] == ["0", "1", "2-4"]


def test_every_variant_needs_only_views_that_are_prepared():
    for primary in mal.PRIMARIES:
        for variant in mal.variants(primary).values():
            settings = ModelSettings.model_validate(variant.changes)
            assert set(settings.needed_views()) <= set(mal.VIEWS)
    assert set(mal.PAPER) == {"2", "3", "3, MTA", "4"}


def test_the_page_is_whole(results, tmp_path):
    report.write_json({"name": "made <up>", **results}, tmp_path / "mal.json")
    html = render_mal(json.loads((tmp_path / "mal.json").read_text()))
    assert "made &lt;up&gt;" in html and "made <up>" not in html
    assert html.count("<svg") == 4 + 2 and "http" not in html.replace("http://www.w3.org/2000/svg", "")
    for words in ("Do the paper's claims show here?", "later in the user", "w/o CAT", "+0.51 %"):
        assert words.replace("'", "&#39;") in html or words in html
