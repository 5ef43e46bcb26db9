"""Rolling weeks: which days they hold, and that pooled figures are those of all rows together."""

from datetime import date

import numpy as np
import pytest

from components.session_example_gen.splits import SplitWindows
from experiments import measures, rolling, tables
from experiments.page import render
from experiments.trials import Plan, Trial
from models import features as names
from models.metrics import sums
from schemas.errors import InputError
from tests.experiments import made_up


def test_weeks_are_counted_back_from_the_end():
    windows = SplitWindows(
        train_start=date(2016, 8, 1), eval_start=date(2016, 10, 1), eval_end=date(2016, 10, 10)
    )
    found = rolling.weeks(windows, 5)
    assert [each.eval_start for each in found][::4] == [date(2016, 9, 5), date(2016, 10, 3)]
    assert found[0].eval_end == found[1].eval_start and found[-1].eval_end == windows.eval_end
    assert all(each.train_start == windows.train_start for each in found)
    with pytest.raises(InputError, match="leave no day"):
        rolling.weeks(windows, 10)
    with pytest.raises(InputError, match="eval_end"):
        rolling.weeks(SplitWindows(eval_start=date(2016, 10, 1)), 1)


def test_pooled_ne_is_that_of_all_rows_together(tmp_path):
    plan = Plan(seeds=(1, 2), holdout_days=4)
    rng = np.random.default_rng(0)
    weeks = []
    for number, rows in enumerate((200, 500)):
        prepared = made_up.prepared(tmp_path / str(number), evaluation=rows)

        def answers(n):
            return {output: rng.uniform(0.05, 0.6, n).astype(np.float32) for output in names.LABEL_OF_OUTPUT}

        held_out = len(plan.rows(prepared)[1])
        trials = {
            name: [Trial(answers(held_out), answers(rows)) for _ in plan.seeds] for name in rolling.ROWS
        }
        weeks.append(rolling.Week(prepared, trials))
    found = rolling.compose(weeks, plan)
    row = next(row for row in found["rows"] if row["name"] == tables.OURS)
    for kind in ("raw", "platt"):
        expected = []
        for seed in range(2):
            label, p = [], []
            for week in weeks:
                both = measures.predictions(week.trials[tables.OURS], measures.CABB, week.prepared, plan)
                p.append(both[("raw", "platt").index(kind)][seed])
                label.append(week.prepared.labels[names.Y_CABB][week.prepared.evaluation])
            pooled = sums.binary_sums(np.concatenate(label), np.concatenate(p))
            expected.append(sums.normalized_entropy(pooled))
        np.testing.assert_allclose(row["targets"]["cabb"][kind]["by_seed"], expected)
    assert row["trees"]["cabb"]["ratio"] > 0 and found["rows"][-1]["trees"] is None
    assert len(found["weeks"]) == 2
    assert "Rolling weeks" in render("rolling.html.j2", {"name": "made up", **found})
