"""Tuning: stays inside the training days, starts from the configuration, resumes, and says what to paste."""

import numpy as np
import optuna
import pytest
import yaml

from components.session_example_gen.splits import SplitWindows
from experiments import tuning
from experiments.trials import Plan
from experiments.tuning_page import page, snippet
from models import features as names
from models.settings import ModelSettings

SMALL = ModelSettings(batch_size=256, bottom_units=(32,), attention_units=(), cross_layers=0, epochs=1)


def test_a_proposal_changes_only_what_is_searched_and_the_start_is_one_of_them():
    start = tuning._start(SMALL)
    again = tuning.space(optuna.trial.FixedTrial(start), SMALL)
    assert again == SMALL
    other = tuning.space(
        optuna.trial.FixedTrial({**start, "lambda_cabb": 1.5, "bottom_units": "64-32"}), SMALL
    )
    assert (other.lambda_cabb, other.bottom_units) == (1.5, (64, 32))
    assert other.model_copy(update={"lambda_cabb": 0.75, "bottom_units": (32,)}) == SMALL
    single = SMALL.model_copy(update={"model": "last_click"})
    without = {name: value for name, value in start.items() if name != "lambda_cabb"}
    assert tuning.space(optuna.trial.FixedTrial(without), single).model == "last_click"


@pytest.mark.slow
def test_a_search_resumes_and_never_reads_evaluation_days(prepared, tmp_path):
    search = tuning.Search(plan=Plan(seeds=(1,), holdout_days=2, model=SMALL), origins=2)
    windows = SplitWindows.model_validate(prepared.facts["windows"])
    boundary = np.datetime64(windows.eval_start, "us").astype(np.int64)
    for fit, judged in search.rows(prepared):
        assert prepared.event_time[fit].max() < prepared.event_time[judged].min()
        assert prepared.event_time[judged].max() < boundary
        assert prepared.labels[names.Y_ANY][judged].sum() > 0
    told = []
    study = tuning.tune(prepared, search, tmp_path, 2, done=lambda *what: told.append(what))
    assert len(study.trials) == 2 and told[-1][1:] == (2, 2)
    study = tuning.tune(prepared, search, tmp_path, 3)
    assert len(study.trials) == 3
    first = study.trials[0]
    assert first.params["lambda_cabb"] == 0.75 and 0.3 < first.value < 1.5


def test_the_page_has_a_chart_of_every_setting_and_what_to_paste():
    search = tuning.Search(plan=Plan(seeds=(1,), model=SMALL))
    study = optuna.create_study()
    start = optuna.trial.FixedTrial(tuning._start(SMALL))
    tuning.space(start, SMALL)
    for value, changes in (
        (0.8, {}),
        (0.7, {"epochs": 3, "bottom_units": "64-32"}),
        (0.9, {"batch_size": 128}),
    ):
        params = {**start.params, **changes}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=start.distributions, value=value)
        )
    first = study.trials[0]
    html = page(study, search, "a small store")
    assert html.count("<svg") == len(first.params) and "http" not in html.split("</style>")[1].replace(
        "http://www.w3.org", ""
    )
    changed = yaml.safe_load(snippet(study, search))["model"]
    assert changed == {"epochs": 3, "bottom_units": [64, 32]}
    best = tuning.space(optuna.trial.FixedTrial(study.best_trial.params), SMALL)
    assert ModelSettings(**{**SMALL.model_dump(), **changed}) == best
