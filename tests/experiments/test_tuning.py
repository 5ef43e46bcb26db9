"""Tuning: stays inside the training days, starts from the configuration, resumes, and says what to paste."""

import os
import signal

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
from schemas.errors import InputError
from tests.experiments import made_up

SMALL = ModelSettings(
    members=1, batch_size=256, bottom_units=(32,), attention_units=(), cross_layers=0, epochs=1
)


def test_a_proposal_changes_only_what_is_searched_and_the_start_is_one_of_them():
    start = tuning._start(SMALL)
    again = tuning.space(optuna.trial.FixedTrial(start), SMALL)
    assert again == SMALL
    other = tuning.space(
        optuna.trial.FixedTrial({**start, "lambda_cabb": 1.5, "bottom_units": "64-32"}), SMALL
    )
    assert (other.lambda_cabb, other.bottom_units) == (1.5, (64, 32))
    assert other.model_copy(update={"lambda_cabb": 0.75, "bottom_units": (32,)}) == SMALL
    for unusual in (
        {"model": "last_click"},
        {"lambda_cabb": "uncertainty"},
        {"lambda_cabb": 0.0},
        {"batch_size": 2048, "embedding_size": 5, "bottom_units": (16, 8), "epochs": 9},
        {"dense_learning_rate": 0.5, "embedding_learning_rate": 1e-5, "lambda_cabb": 3.0},
    ):
        model = SMALL.model_copy(update=unusual)
        study = optuna.create_study()
        study.enqueue_trial(tuning._start(model))
        assert tuning.space(study.ask(), model) == model


def opened(home):
    storage = f"sqlite:///{home}/{tuning.DATABASE}"
    return optuna.create_study(study_name="search", storage=storage, load_if_exists=True)


def carried_out(home, judge, trials, workers=0, done=lambda *_: None):
    study, search = opened(home), tuning.Search(plan=Plan(model=SMALL), origins=2)
    tuning.carry_out(study, search, judge, trials, workers=workers, done=done)
    return study


def proposals(study):
    """What the trials proposed that have ended, as a set."""
    ended = tuning._in_state(study, "COMPLETE", "PRUNED")
    return {tuple(sorted(each.params.items())) for each in ended}


def cheap(settings):
    yield settings.lambda_cabb
    yield settings.lambda_cabb + settings.epochs


def killed(settings):
    yield 0.0
    os.kill(os.getpid(), signal.SIGKILL)


def interrupted_after(trials):
    def done(what, ended, total):
        if ended == trials:
            raise KeyboardInterrupt

    return done


def test_two_processes_give_as_many_different_trials_as_were_asked_for(tmp_path):
    told = []
    study = carried_out(tmp_path, cheap, 3, workers=2, done=lambda *what: told.append(what[1:]))
    assert len(study.trials) == len(proposals(study)) == 3
    assert told == [(ended, 3) for ended in range(4)]
    assert len(carried_out(tmp_path, cheap, 3, workers=2).trials) == 3


def test_an_interrupted_search_ends_as_one_that_was_not(tmp_path):
    (tmp_path / "whole").mkdir()
    whole = carried_out(tmp_path / "whole", cheap, 10)
    for ended in (0, 3, 9):
        with pytest.raises(KeyboardInterrupt):
            carried_out(tmp_path, cheap, 10, done=interrupted_after(ended))
    with pytest.raises(InputError, match="killed"):
        carried_out(tmp_path, killed, 10, workers=1)
    study = carried_out(tmp_path, cheap, 10)
    assert [each.state.name for each in study.trials].count("FAIL") == 1
    assert len(proposals(study)) == 10 and proposals(study) == proposals(whole)


def test_trials_that_two_processes_left_are_tried_again(tmp_path):
    with pytest.raises(InputError, match="killed"):
        carried_out(tmp_path, killed, 4, workers=2)
    left = [each.params for each in opened(tmp_path).trials]
    assert len(left) == 2
    with pytest.raises(KeyboardInterrupt):
        carried_out(tmp_path, cheap, 4, workers=2, done=interrupted_after(2))
    kept = proposals(opened(tmp_path))
    study = carried_out(tmp_path, cheap, 4, workers=2)
    assert len(proposals(study)) == 4 and kept < proposals(study)
    assert all(tuple(sorted(params.items())) in proposals(study) for params in left)
    start = tuning.start_of(study, SMALL)
    assert start.number > 0 and start.value == SMALL.lambda_cabb + SMALL.epochs


def test_settings_that_cannot_be_trained_end_a_trial(tmp_path, monkeypatch):
    data = made_up.prepared(tmp_path / "data")
    search = tuning.Search(plan=Plan(seeds=(1,), holdout_days=2, model=SMALL), origins=2)

    def refuse_wide(settings, *_):
        if settings.embedding_size >= smallest:
            raise InputError("too steep")
        return 0.8 if settings.epochs < 5 else float("nan")

    monkeypatch.setattr(tuning, "_ne", refuse_wide)
    smallest = 1
    with pytest.raises(InputError, match="no settings could be trained: too steep"):
        tuning.tune(data, search, tmp_path, 1, workers=0)
    smallest = 32
    study = tuning.tune(data, search, tmp_path, 6, workers=0)
    states = [each.state.name for each in study.trials]
    assert set(states) == {"PRUNED", "COMPLETE"} and len(states) == 6
    assert all((each.state.name == "PRUNED") == (tuning._REFUSED in each.user_attrs) for each in study.trials)


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
    study = tuning.tune(prepared, search, tmp_path, 1, workers=0, done=lambda *what: told.append(what))
    assert len(study.trials) == 1 and told[-1][1:] == (1, 1)
    with tuning._alone(tmp_path), pytest.raises(InputError, match="another search"):
        tuning.tune(prepared, search, tmp_path, 3)
    study = tuning.tune(prepared, search, tmp_path, 3, workers=2)
    assert len(study.trials) == len(proposals(study)) == 3
    first = tuning.start_of(study, SMALL)
    assert first.number == 0 and first.params["lambda_cabb"] == 0.75 and 0.3 < first.value < 1.5


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
