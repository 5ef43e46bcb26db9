"""Searches lambda and the model's main sizes on training days, never on the evaluation days.

A trial is one choice of settings. It trains on the days before an origin and is judged on the
`holdout_days` after it, at several origins counted back from the end of training, with every seed. Its value
is the NE of the conversion score: the median over seeds, which one lucky seed does not move, averaged over
origins. Optuna's TPE proposes (Akiba et al. 2019); a trial that is behind the median of the others at an
origin is given up. Trials are kept in SQLite, so a search goes on where it was.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.session_example_gen.splits import SplitWindows
from experiments.prepared import Prepared
from experiments.trials import Plan, one_thread
from models import features as names
from models.metrics import sums
from models.settings import ModelSettings
from schemas.errors import InputError
from schemas.settings import Settings

if TYPE_CHECKING:
    import optuna

BOTTOMS = {"32": (32,), "64-32": (64, 32), "128-64": (128, 64), "256-128": (256, 128)}
BATCHES = (128, 256, 512, 1024)
EMBEDDINGS = (4, 8, 16, 32)
DATABASE = "tuning.db"


class Search(Settings):
    """What decides a search, beside the data.

    Attributes:
        plan: settings to start from, seeds, and how many days an origin is judged on.
        origins: how many, one after the other, the last ends with training.
    """

    plan: Plan
    origins: int = 2

    def rows(self, prepared: Prepared) -> list[tuple[np.ndarray, np.ndarray]]:
        """(rows to train on, rows to judge) of every origin, the last first.

        Raises:
            InputError: an origin has no row to train on, or only one class to judge.
        """
        end = SplitWindows.model_validate(prepared.facts["windows"]).eval_start
        step = timedelta(days=self.plan.holdout_days)
        found = []
        for back in range(self.origins):
            days = [end - step * (back + 1), end - step * back]
            first, last = (_microseconds(day, prepared.facts["time_zone"]) for day in days)
            fit, judged = prepared.training(before=first), prepared.training(since=first, before=last)
            label = prepared.labels[names.Y_ANY][judged]
            if not len(fit) or not 0 < label.sum() < len(label):
                raise InputError(
                    f"an origin at {days[0]} leaves {len(fit):,} clicks to train on and {int(label.sum()):,} "
                    f"of {len(label):,} that convert to judge; use fewer origins or other days"
                )
            found.append((fit, judged))
        return found


def space(trial: optuna.Trial, start: ModelSettings) -> ModelSettings:
    """The settings that a trial proposes; what is not searched stays as it was."""
    chosen: dict[str, Any] = {
        "dense_learning_rate": trial.suggest_float("dense_learning_rate", 3e-4, 1e-2, log=True),
        "embedding_learning_rate": trial.suggest_float("embedding_learning_rate", 1e-3, 3e-2, log=True),
        "epochs": trial.suggest_int("epochs", 1, 5),
        "batch_size": trial.suggest_categorical("batch_size", BATCHES),
        "embedding_size": trial.suggest_categorical("embedding_size", EMBEDDINGS),
        "bottom_units": BOTTOMS[trial.suggest_categorical("bottom_units", list(BOTTOMS))],
    }
    if start.model == "cabb" and not isinstance(start.lambda_cabb, str):
        chosen["lambda_cabb"] = trial.suggest_float("lambda_cabb", 0.1, 2.0, log=True)
    return start.model_copy(update=chosen)


def tune(
    prepared: Prepared,
    search: Search,
    home: Path,
    trials: int,
    *,
    workers: int = 1,
    done: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> optuna.Study:
    """Runs a search until it has `trials` trials, those of earlier calls included; the first is the start.

    Args:
        home: folder of the database.
        workers: processes; with more than one, the same call may try other settings.
        done: told (the best value, trials finished, trials in all).
    """
    search.rows(prepared)
    home.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{home / DATABASE}"
    study = _study(storage, search, prepared)
    if not study.trials:
        study.enqueue_trial(_start(search.plan.model))
    jobs = (storage, search, str(prepared.home), trials)
    if workers <= 1:
        _optimize(*jobs, done)
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=one_thread) as pool:
            for future in [pool.submit(_optimize, *jobs) for _ in range(workers)]:
                future.result()
        done(*_state(study, trials))
    return _study(storage, search, prepared)


def settings_of(study: optuna.Study, start: ModelSettings) -> dict[str, Any]:
    """What the best trial changes of the start, by setting."""
    import optuna

    best = space(optuna.trial.FixedTrial(study.best_trial.params), start).model_dump(mode="json")
    before = start.model_dump(mode="json")
    return {name: value for name, value in best.items() if value != before[name]}


def _study(storage: str, search: Search, prepared: Prepared) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    what = "\0".join([prepared.home.name, search.model_dump_json()])
    return optuna.create_study(
        study_name=hashlib.sha256(what.encode()).hexdigest()[:16],
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=search.plan.seeds[0], n_startup_trials=8),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
        load_if_exists=True,
    )


def _start(model: ModelSettings) -> dict[str, Any]:
    """The start as a trial, as near as the space holds it."""
    widths = {units: name for name, units in BOTTOMS.items()}
    known = {
        "dense_learning_rate": model.dense_learning_rate,
        "embedding_learning_rate": model.embedding_learning_rate,
        "epochs": model.epochs,
        "batch_size": model.batch_size,
        "embedding_size": model.embedding_size,
        "bottom_units": widths.get(tuple(model.bottom_units)),
        "lambda_cabb": model.lambda_cabb,
    }
    return {name: value for name, value in known.items() if value is not None and not isinstance(value, bool)}


def _optimize(
    storage: str,
    search: Search,
    home: str,
    trials: int,
    done: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> None:
    """Trials of one process, until the study has enough of them."""
    import optuna

    prepared = Prepared.load(Path(home))
    origins = search.rows(prepared)
    study = _study(storage, search, prepared)

    def objective(trial: optuna.Trial) -> float:
        settings = space(trial, search.plan.model)
        values = []
        for fit, judged in origins:
            values.append(
                float(np.median([_ne(settings, prepared, fit, judged, s) for s in search.plan.seeds]))
            )
            trial.report(float(np.mean(values)), len(values))
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(values))

    def enough(study: optuna.Study, _=None) -> bool:
        return len([each for each in study.trials if each.state.is_finished()]) >= trials

    def after(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        done(*_state(study, trials))
        if enough(study):
            study.stop()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if not enough(study):
            study.optimize(objective, callbacks=[after], catch=(InputError,))


def _ne(settings: ModelSettings, prepared: Prepared, fit, judged, seed: int) -> float:
    from experiments.training import Rows, score, train

    alpha = next(iter(prepared.alpha.values()))
    data = Rows(prepared.space, prepared.inputs, {**prepared.labels, names.ALPHA: alpha})
    model = train(settings.model_copy(update={"seed": seed}), data, fit)
    p = score(model, data, judged)[names.P_CONVERSION]
    label = prepared.labels[settings.label_of_output()[names.P_CONVERSION]][judged]
    return sums.normalized_entropy(sums.binary_sums(label, p))


def _state(study: optuna.Study, trials: int) -> tuple[str, int, int]:
    finished = [each for each in study.trials if each.state.is_finished()]
    values = [each.value for each in finished if each.value is not None]
    return (f"best NE {min(values):.4f}" if values else "no value yet"), len(finished), trials


def _microseconds(day, time_zone: str) -> int:
    return round(SplitWindows(eval_start=day).bounds(time_zone)["eval"][0].timestamp() * 1e6)
