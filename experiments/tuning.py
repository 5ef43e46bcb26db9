"""Searches lambda and the model's main sizes on training days, never on the evaluation days.

A trial is one choice of settings. It trains on the days before an origin and is judged on the
`holdout_days` after it, at several origins counted back from the end of training, with every seed. Its value
is the NE of the conversion score: the median over seeds, which one lucky seed does not move, averaged over
origins. Optuna's TPE proposes (Akiba et al. 2019); a trial that is behind the median of the others at an
origin is given up. Trials are kept in SQLite, so a search goes on where it was: trials that were interrupted
are tried again. This process alone asks and tells Optuna; trials are trained in processes of their own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.session_example_gen.splits import SplitWindows
from experiments.child_process import ChildProcess
from experiments.prepared import Prepared
from experiments.trials import Plan, one_thread
from models import features as names
from models.metrics import sums
from models.settings import ModelSettings
from schemas.errors import InputError
from schemas.settings import Settings

if TYPE_CHECKING:
    import optuna

BOTTOMS = ("32", "64-32", "128-64", "256-128")
BATCHES = (128, 256, 512, 1024)
EMBEDDINGS = (4, 8, 16, 32)
DATABASE = "tuning.db"
_REFUSED = "refused"
"""Attribute of a trial that could not be trained: why."""

Judge = Callable[[ModelSettings], Iterator[float | str]]
"""Trains and judges settings: yields the mean NE of the origins so far, or why they cannot be trained."""


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
            label = prepared.labels[self.plan.model.label_of_output()[names.P_CONVERSION]][judged]
            if not len(fit) or not 0 < label.sum() < len(label):
                raise InputError(
                    f"an origin at {days[0]} leaves {len(fit):,} clicks to train on and {int(label.sum()):,} "
                    f"of {len(label):,} that convert to judge; use fewer origins or other days"
                )
            found.append((fit, judged))
        return found


def space(trial: optuna.Trial, start: ModelSettings) -> ModelSettings:
    """The settings that a trial proposes; what is not searched stays as it was. The start is one of them."""

    def rate(name: str, low: float, high: float) -> float:
        known = getattr(start, name)
        return trial.suggest_float(name, min(low, known), max(high, known), log=True)

    def one_of(name: str, choices: tuple, known: Any) -> Any:
        return trial.suggest_categorical(name, list(dict.fromkeys((*choices, known))))

    bottom = one_of("bottom_units", BOTTOMS, _joined(start.bottom_units))
    chosen: dict[str, Any] = {
        "dense_learning_rate": rate("dense_learning_rate", 3e-4, 1e-2),
        "embedding_learning_rate": rate("embedding_learning_rate", 1e-4, 3e-2),
        "epochs": trial.suggest_int("epochs", 1, max(5, start.epochs)),
        "batch_size": one_of("batch_size", BATCHES, start.batch_size),
        "embedding_size": one_of("embedding_size", EMBEDDINGS, start.embedding_size),
        "bottom_units": tuple(map(int, bottom.split("-"))),
    }
    if _searches_lambda(start):
        chosen["lambda_cabb"] = rate("lambda_cabb", 0.1, 2.0)
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
    """Runs a search until `trials` trials have ended, earlier ones included; the first is the start.

    With one worker at most, equal calls propose the same, interrupted or not; with more it also depends on
    which trial ends first.

    Args:
        home: folder of the database.
        workers: processes, of one trial each; 0 trains in this one.
        done: told (the best value, trials ended, trials in all).

    Raises:
        InputError: no origin can be judged, no settings could be trained, another call is at work in `home`,
            or a training process was killed.
    """
    search.rows(prepared)
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home):
        study = _study(home, search, prepared)
        judge = partial(_judge_alone if workers else _judge, prepared.home, search)
        carry_out(study, search, judge, trials, workers=workers, done=done)
    if not _in_state(study, "COMPLETE"):
        raise InputError(f"no settings could be trained: {study.trials[0].user_attrs.get(_REFUSED)}")
    return study


def carry_out(
    study: optuna.Study,
    search: Search,
    judge: Judge,
    trials: int,
    *,
    workers: int,
    done: Callable[[str, int, int], None],
) -> None:
    """Asks, judges and tells until `trials` trials have ended; begins with those that were interrupted."""
    _retry_interrupted(study)
    study.enqueue_trial(_start(search.plan.model), skip_if_exists=True)

    def missing() -> bool:
        return len(_in_state(study, "COMPLETE", "PRUNED", "RUNNING")) < trials

    done(*_state(study, trials))
    while not workers and missing():
        trial = _ask(study, search)
        for answer in judge(space(trial, search.plan.model)):
            if _tell(study, search, trial, answer):
                break
        done(*_state(study, trials))
    running: dict[Connection, tuple[optuna.Trial, ChildProcess]] = {}
    try:
        while running or missing():
            while len(running) < workers and missing():
                trial = _ask(study, search)
                child = ChildProcess(judge, space(trial, search.plan.model))
                running[child.receiver] = trial, child
            for receiver in wait(list(running)):
                trial, child = running[receiver]
                if _tell(study, search, trial, child.hear()):
                    del running[receiver]
                    child.kill()
                    done(*_state(study, trials))
    finally:
        for _, child in running.values():
            child.kill()


def start_of(study: optuna.Study, start: ModelSettings) -> optuna.trial.FrozenTrial | None:
    """The trial of the settings that the search started from, if it was completed."""
    return next((each for each in _in_state(study, "COMPLETE") if each.params == _start(start)), None)


def settings_of(study: optuna.Study, start: ModelSettings) -> dict[str, Any]:
    """What the best trial changes of the start, by setting."""
    import optuna

    best = space(optuna.trial.FixedTrial(study.best_trial.params), start).model_dump(mode="json")
    before = start.model_dump(mode="json")
    return {name: value for name, value in best.items() if value != before[name]}


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Holds a folder: the running trials of another call would look interrupted."""
    folder = os.open(home, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{home}: another search is at work here; wait, or use --output") from None
        yield
    finally:
        os.close(folder)


def _study(home: Path, search: Search, prepared: Prepared) -> optuna.Study:
    import optuna
    from sqlalchemy.exc import DatabaseError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    what = "\0".join([prepared.home.name, search.model_dump_json()])
    try:
        return optuna.create_study(
            study_name=hashlib.sha256(what.encode()).hexdigest()[:16],
            storage=f"sqlite:///{home / DATABASE}",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
            load_if_exists=True,
        )
    except DatabaseError as error:
        raise InputError(f"{home / DATABASE}: {error.orig}; remove it or use another --output") from None


def _start(model: ModelSettings) -> dict[str, Any]:
    """The start as a trial."""
    same = ["dense_learning_rate", "embedding_learning_rate", "epochs", "batch_size", "embedding_size"]
    if _searches_lambda(model):
        same.append("lambda_cabb")
    return {name: getattr(model, name) for name in same} | {"bottom_units": _joined(model.bottom_units)}


def _searches_lambda(model: ModelSettings) -> bool:
    return model.model == "cabb" and model.lambda_cabb not in ("uncertainty", "bilevel", 0)


def _joined(units: tuple[int, ...]) -> str:
    return "-".join(map(str, units))


def _retry_interrupted(study: optuna.Study) -> None:
    """Lets trials fail that an ended process left running, and queues their settings."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        again = optuna.storages.RetryHeartbeatStaleTrialCallback()
    for each in _in_state(study, "RUNNING"):
        again(study, study.tell(each.number, state=optuna.trial.TrialState.FAIL))


def _ask(study: optuna.Study, search: Search) -> optuna.Trial:
    """The next trial; its proposal is drawn by its place in the search, however often that was resumed."""
    import optuna

    place = len(_in_state(study, "COMPLETE", "PRUNED", "RUNNING"))
    seed = int(np.random.SeedSequence((search.plan.seeds[0], place)).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=8)
    return study.ask()


def _tell(study: optuna.Study, search: Search, trial: optuna.Trial, answer: float | str) -> bool:
    """Passes on what a judge yields; says whether that ends the trial."""
    from optuna.trial import TrialState

    if isinstance(answer, str):
        trial.set_user_attr(_REFUSED, answer)
        study.tell(trial, state=TrialState.PRUNED)
        return True
    origin = len(study.get_trials(deepcopy=False)[trial.number].intermediate_values) + 1
    trial.report(answer, origin)
    if origin == search.origins:
        study.tell(trial, answer)
        return True
    if trial.should_prune():
        study.tell(trial, state=TrialState.PRUNED)
        return True
    return False


def _judge(home: Path, search: Search, settings: ModelSettings) -> Iterator[float | str]:
    prepared = Prepared.load(home)
    values: list[float] = []
    try:
        for fit, judged in search.rows(prepared):
            by_seed = [_ne(settings, prepared, fit, judged, seed) for seed in search.plan.seeds]
            values.append(float(np.median(by_seed)))
            if not np.isfinite(values[-1]):
                raise InputError("its NE is not finite")
            yield float(np.mean(values))
    except InputError as error:  # rows were looked at before: it is the settings
        yield str(error)


def _judge_alone(home: Path, search: Search, settings: ModelSettings) -> Iterator[float | str]:
    one_thread()
    yield from _judge(home, search, settings)


def _ne(settings: ModelSettings, prepared: Prepared, fit, judged, seed: int) -> float:
    from experiments.training import Rows, score, train

    alpha = next(iter(prepared.alpha.values()))
    data = Rows(prepared.space, prepared.inputs, {**prepared.labels, names.ALPHA: alpha})
    model = train(settings.model_copy(update={"seed": seed}), data, fit)
    p = score(model, data, judged)[names.P_CONVERSION]
    label = prepared.labels[settings.label_of_output()[names.P_CONVERSION]][judged]
    return sums.normalized_entropy(sums.binary_sums(label, p))


def _in_state(study: optuna.Study, *states: str) -> list[optuna.trial.FrozenTrial]:
    return [each for each in study.get_trials(deepcopy=False) if each.state.name in states]


def _state(study: optuna.Study, trials: int) -> tuple[str, int, int]:
    values = [each.value for each in _in_state(study, "COMPLETE")]
    ended = len(_in_state(study, "COMPLETE", "PRUNED"))
    return (f"best NE {min(values):.4f}" if values else "no value yet"), ended, trials


def _microseconds(day, time_zone: str) -> int:
    return round(SplitWindows(eval_start=day).bounds(time_zone)["eval"][0].timestamp() * 1e6)
