"""Recovery: the clicks that two stores share, calibration by decile, and the truth's own NE."""

import numpy as np
import polars as pl
import pytest

from experiments import recovery
from experiments.page import render
from experiments.trials import Plan, Trial
from models import features as names
from models.metrics import sums
from simulator.store import Store
from simulator.worlds import World
from tests.experiments import made_up


def trial(prepared, plan, shift):
    """Scores that know the labels a little, and whose log-odds are off by `shift`."""
    rng = np.random.default_rng(7)

    def answers(rows):
        found = {}
        for output, label in names.LABEL_OF_OUTPUT.items():
            z = prepared.labels[label][rows] - 2 + shift + rng.normal(size=len(rows))
            found[output] = (1 / (1 + np.exp(-z))).astype(np.float32)
        return found

    return Trial(answers(plan.rows(prepared)[1]), answers(prepared.evaluation))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    home = tmp_path_factory.mktemp("recovery")
    prepared = made_up.prepared(home / "arrays", evaluation=20_000)
    plan = Plan(seeds=(1, 2), holdout_days=4)
    learned = [recovery.Learned(prepared, [trial(prepared, plan, shift)] * 2) for shift in (0.5, 0.0)]
    keys = prepared.keys()[prepared.train_rows :]
    # Made-up keys repeat; one row of each has a truth here.
    truth = keys.unique(maintain_order=True).with_columns(
        p_caba=pl.lit(0.2), p_cabb=pl.lit(0.3), p_conversion=pl.lit(0.4)
    )
    truth.write_parquet(home / "clicks-00000.parquet")
    return prepared, plan, learned, recovery.compose(*learned, home, plan)


def test_calibration_by_decile_is_that_of_the_rows(results):
    prepared, _, learned, found = results
    cells = found["calibration"][0]["small"]["raw"]
    rows = prepared.evaluation
    p, y = learned[0].trials[0].evaluation["p_caba"], prepared.labels[names.Y_CABA][rows]
    assert cells["overall"]["calibration"] == pytest.approx(p.astype(float).sum() / y.sum())
    order = np.argsort(p, kind="stable")
    for part, cell in zip(np.array_split(order, 10), cells["deciles"], strict=True):
        assert cell["positives"] == y[part].sum()
        assert cell["calibration"] == pytest.approx(p[part].astype(float).sum() / y[part].sum(), rel=1e-5)
        low, high = cell["interval"]
        assert low < cell["calibration"] < high
        assert (cell["inside"] is None) == ((high - low) / 2 > recovery.CALIBRATION_BAR)
    assert cells["overall"]["inside"] is False


def test_truth_is_judged_like_a_model(results):
    found = results[3]
    for row, probability in zip(found["ne"], (0.2, 0.3, 0.4), strict=True):
        label = np.zeros(found["shared_rows"])
        label[: row["positives"]] = 1
        constant = sums.binary_sums(label, np.full(len(label), probability))
        assert row["truth"] == pytest.approx(sums.normalized_entropy(constant))
        assert row["raw"]["gap_small"] == pytest.approx(row["raw"]["small"] - row["truth"])
        assert row["raw"]["ratio"] == pytest.approx(row["raw"]["small"] / row["raw"]["large"])


def test_page(results):
    page = render("recovery.html.j2", {"name": "made up", **results[3]})
    assert "https://" not in page and "Recovery of a known truth" in page


def test_a_larger_store_repeats_the_shoppers_of_whole_chunks():
    world = World(users=64, users_per_chunk=32, days=4, impressions_per_click=0)
    larger = world.model_copy(update={"users": 160})
    for mine, same in zip(Store(world).tables(1), Store(larger).tables(1), strict=True):
        assert mine.equals(same)
    assert recovery.whole_chunks(40_000, 8_192) == 40_960 and recovery.whole_chunks(5, 8_192) == 8_192
