"""Variants and tables: which alpha, which lambda, whose numbers, and that a killed run goes on."""

import json

import numpy as np
import pytest

from experiments import measures, report, tables, trials
from experiments.page import render_tables
from experiments.trials import Plan, Trial
from experiments.variants import permuted
from models import features as names
from models.metrics import sums
from models.settings import ModelSettings
from tests.experiments import made_up

SCHEMES = ("static", "taxonomy_cf")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return made_up.prepared(tmp_path_factory.mktemp("data") / "arrays")


@pytest.fixture(scope="module")
def plan():
    small = {"batch_size": 50, "epochs": 8, "bottom_units": [16], "head_units": [], "cross_layers": 0}
    fast = {"dense_learning_rate": 5e-3, "embedding_learning_rate": 0.02}
    model = ModelSettings(members=1, attention_units=(), **small, **fast)
    return Plan(seeds=(1, 2), holdout_days=4, refit=False, model=model)


@pytest.fixture(scope="module")
def scores(prepared, plan):
    """Random trials of every variant, better with the label than without."""
    rng = np.random.default_rng(5)
    held_out, judged = plan.rows(prepared)[1], prepared.evaluation

    def answers(rows, noise):
        found = {}
        for output, label in names.LABEL_OF_OUTPUT.items():
            z = 2 * prepared.labels[label][rows] - 3 + noise * rng.normal(size=len(rows))
            found[output] = (1 / (1 + np.exp(-z))).astype(np.float32)
        return found

    return {
        name: [Trial(answers(held_out, noise), answers(judged, noise)) for _ in plan.seeds]
        for noise, name in enumerate(tables.variants(SCHEMES), start=1)
    }


def compose(scores, prepared, plan):
    known = list(tables.variants(SCHEMES).values())
    return tables.compose(tables.tables(SCHEMES), known, scores, prepared, plan)


def test_permuted_alpha_keeps_every_value_and_leaves_other_rows(prepared):
    alpha = np.asarray(prepared.alpha["taxonomy_cf"])
    dealt = permuted(alpha, prepared, seed=1)
    moved = dealt != alpha
    positive = prepared.labels[names.Y_CABB] > 0
    train = np.arange(len(prepared)) < prepared.train_rows
    assert moved.sum() > 20 and (positive & train)[moved].all()
    np.testing.assert_array_equal(np.sort(dealt), np.sort(alpha))
    assert dealt[positive & train].mean() == pytest.approx(alpha[positive & train].mean())
    assert (permuted(alpha, prepared, seed=2) != dealt).any()


def test_equal_lambda_makes_lambda_times_mean_alpha_that_of_static(prepared):
    known = tables.variants(SCHEMES)
    one = known[tables.equal("taxonomy_cf")].settings(ModelSettings(), prepared, 1)
    assert one.lambda_cabb * prepared.mean_alpha["taxonomy_cf"] == pytest.approx(tables.SELECTED)
    same = known[tables.TWO_HEADS].settings(ModelSettings(), prepared, 2)
    assert same.lambda_cabb == tables.SELECTED and same.seed == 2 and same.conversion_score == "or"
    assert same.alpha_share == 1, "the paper's rows are weighed by alpha alone"
    assert known[tables.OURS].settings(ModelSettings(), prepared, 1).conversion_score == "head"


def test_every_row_and_claim_has_its_variant():
    for rows in ((SCHEMES,), (tables.PAPER_SCHEMES,), (SCHEMES, (0.75, 2.0))):
        known = {*tables.variants(*rows), tables.SUMMED}
        for table in tables.tables(*rows):
            assert {*table.rows, table.reference, *table.paper} <= known
            assert {name for claim in table.claims for pair in claim.pairs for name in pair} <= known
            assert all(name in table.rows for name in table.paper)


def test_held_out_days_are_the_last_of_training(prepared, plan):
    fit, held_out = plan.rows(prepared)
    assert len(fit) + len(held_out) == prepared.train_rows
    cut = prepared.event_time[prepared.evaluation].min() // made_up.DAY - 4
    assert (prepared.event_time[fit] < cut * made_up.DAY).all()
    assert (prepared.event_time[held_out] >= cut * made_up.DAY).all()


def test_ne_columns_are_those_of_the_metric(prepared, plan, scores):
    results = compose(scores, prepared, plan)
    row = next(r for r in results["tables"][0]["rows"] if r["name"] == tables.TWO_HEADS)
    rows, held_out = prepared.evaluation, plan.rows(prepared)[1]
    for target in measures.TARGETS:
        label = prepared.labels[target.label]
        alpha = prepared.alpha[target.scheme] if target.scheme else np.ones(len(prepared))
        raw, platt = [], []
        for trial in scores[tables.TWO_HEADS]:
            p = trial.evaluation[target.output]
            fitted = sums.fit_platt(label[held_out], trial.held_out[target.output], alpha[held_out])
            raw.append(sums.normalized_entropy(sums.binary_sums(label[rows], p, alpha[rows])))
            platt.append(sums.normalized_entropy(sums.binary_sums(label[rows], fitted(p), alpha[rows])))
        cell = row["targets"][target.name]
        np.testing.assert_allclose(cell["raw"]["by_seed"], raw)
        np.testing.assert_allclose(cell["platt"]["by_seed"], platt)
        assert cell["platt"]["ne"] == pytest.approx(np.mean(platt))
        low, high = cell["platt"]["interval"]
        assert low < cell["platt"]["ne"] < high
    assert results["data"]["base_rates"]["caba"]["positives"] == label_sum(prepared, names.Y_CABA)
    rows_of = {r["name"]: r for r in results["tables"][0]["rows"]}
    for name, trees in ((name, row["trees"]) for name, row in rows_of.items() if name != tables.TREES):
        ne = [rows_of[each]["targets"]["cabb"]["platt"]["ne"] for each in (name, tables.TREES)]
        assert trees["cabb"]["ratio"] == pytest.approx(ne[0] / ne[1])
    assert rows_of[tables.TREES]["trees"] is None


def label_sum(prepared, name):
    return int(prepared.labels[name][prepared.evaluation].sum())


def test_page_is_self_contained_and_shows_every_verdict(prepared, plan, scores, tmp_path):
    results = {"name": "<made up>", **compose(scores, prepared, plan)}
    report.write_json(results, tmp_path / "tables.json")
    page = render_tables(json.loads((tmp_path / "tables.json").read_text()))
    assert page == render_tables(results)
    assert "&lt;made up&gt;" in page and "<made up>" not in page
    assert "http://" not in page and "https://" not in page and "<script" not in page
    for table in results["tables"]:
        for claim in table["claims"]:
            assert claim["verdict"] in page and claim["words"].split("(")[0] in page


@pytest.mark.slow
def test_a_rerun_trains_only_what_is_missing(prepared, plan, tmp_path):
    known = tables.variants(SCHEMES)
    wanted = [known[name] for name in (tables.OURS, tables.TREES)]
    said = []

    def run(workers):
        said.clear()
        return trials.run_trials(
            prepared, wanted, plan, tmp_path, workers=workers, done=lambda what, *_: said.append(what)
        )

    first = run(workers=0)
    assert len(said) == 4 and len(list(tmp_path.glob("*.npz"))) == 4
    for name in first:
        for trial in first[name]:
            for output in names.LABEL_OF_OUTPUT:
                assert len(trial.evaluation[output]) == prepared.facts["eval_rows"]
        assert (first[name][0].evaluation["p_caba"] != first[name][1].evaluation["p_caba"]).any()
    learned = measures.measure(first[tables.OURS], measures.CABA, prepared, plan)
    assert learned.auc > 0.6
    lost = sorted(tmp_path.glob("*.npz"))[2]
    lost.unlink()
    again = run(workers=1)  # in a process of its own
    assert len(said) == 2 and said[0] == "found from before"
    for name, group in first.items():
        for before, after in zip(group, again[name], strict=True):
            for output, values in before.evaluation.items():
                np.testing.assert_array_equal(after.evaluation[output], values)
