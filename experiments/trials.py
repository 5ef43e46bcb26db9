"""Variants times seeds: trained in a few processes of one thread each, every finished one kept on disk.

A trial trains on the days before the last `holdout_days` of training and scores those days: what is fitted to
held-out days, Platt scaling and the number of trees, is fitted there, for every variant alike. With `refit`
it then trains again on all training days, and that model is the one that is judged.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from pydantic import Field

from components.session_example_gen.splits import SplitWindows
from experiments.child_process import ChildProcess
from experiments.prepared import Prepared
from experiments.variants import Variant
from models.settings import ModelSettings
from schemas.errors import InputError
from schemas.settings import Settings

_TRIALS_PER_PROCESS = 4
"""TensorFlow keeps the graph and the rows of every training for as long as its process lives."""

Scores = dict[str, np.ndarray]
"""Served output -> probability of each row, float32 [rows]."""


class Plan(Settings):
    """How every variant is trained.

    Attributes:
        seeds: of initial weights and order of rows.
        holdout_days: last days of training, which calibrate.
        refit: judge a model of all training days, not of those before the held-out ones.
        model: settings that variants change.
        code: changes when the code that trains does.
    """

    seeds: tuple[int, ...] = (1, 2, 3)
    holdout_days: int = Field(7, ge=1)
    refit: bool = True
    model: ModelSettings = ModelSettings()
    code: str = ""

    def rows(self, prepared: Prepared) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of the training days before the held-out ones, and of the held-out ones.

        Raises:
            InputError: one of them is empty.
        """
        windows = SplitWindows.model_validate(prepared.facts["windows"])
        first = SplitWindows(eval_start=windows.eval_start - timedelta(days=self.holdout_days))
        cut = first.bounds(prepared.facts["time_zone"])["eval"][0]
        microseconds = round(cut.timestamp() * 1e6)
        fit, held_out = prepared.training(before=microseconds), prepared.training(since=microseconds)
        if not len(fit) or not len(held_out):
            raise InputError(
                f"holding out the last {self.holdout_days} days leaves {len(fit):,} clicks to train on and "
                f"{len(held_out):,} to calibrate on; choose other days or fewer to hold out"
            )
        return fit, held_out


@dataclass(frozen=True)
class Trial:
    """What one trained variant says of the held-out and of the evaluation rows.

    Attributes:
        cost: of the training that is judged: `seconds` of CPU, and for networks trainable `parameters`.
    """

    held_out: Scores
    evaluation: Scores
    cost: dict[str, float] = field(default_factory=dict)


def run_trials(
    prepared: Prepared,
    variants: Sequence[Variant],
    plan: Plan,
    home: Path,
    *,
    workers: int = 2,
    done: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> dict[str, list[Trial]]:
    """Every variant with every seed: name -> trials in the order of `plan.seeds`.

    Args:
        home: folder of finished trials; those found there are not trained again.
        workers: processes; 0 trains in this one.
        done: told (what was finished, how many are, of how many).
    """
    home.mkdir(parents=True, exist_ok=True)
    wanted = [(variant, seed) for variant in variants for seed in plan.seeds]
    paths = {(v.name, seed): home / f"{_key(prepared, v, plan, seed)}.npz" for v, seed in wanted}
    missing = [(v, seed) for v, seed in wanted if not paths[v.name, seed].exists()]
    finished = len(wanted) - len(missing)
    if finished:
        done("found from before", finished, len(wanted))
    jobs = [(str(prepared.home), v, plan, seed, str(paths[v.name, seed])) for v, seed in missing]
    for variant, seed in _carry_out(jobs, workers):
        finished += 1
        done(f"{variant.title}, seed {seed}", finished, len(wanted))
    return {v.name: [_load(paths[v.name, seed]) for seed in plan.seeds] for v in variants}


def _key(prepared: Prepared, variant: Variant, plan: Plan, seed: int) -> str:
    """What decides a trial: data, settings and seed, not what the variant is called."""
    parts = [
        prepared.home.name,
        variant.model_dump_json(exclude={"name", "title"}),
        plan.model_dump_json(exclude={"seeds"}),
        str(seed),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _carry_out(jobs: Sequence[tuple], workers: int) -> Iterator[tuple[Variant, int]]:
    """Yields (variant, seed) as they finish, a few trials to a process."""
    if not workers or not jobs:
        for job in jobs:
            yield _trial(*job)
        return
    batches = [
        jobs[first : first + _TRIALS_PER_PROCESS] for first in range(0, len(jobs), _TRIALS_PER_PROCESS)
    ]
    told: SimpleQueue = SimpleQueue()
    children: list[ChildProcess] = []
    threads = ThreadPoolExecutor(min(workers, len(batches)))
    try:
        for batch in batches:
            threads.submit(_in_process, batch, told, children)
        for _ in jobs:
            answer = told.get()
            if isinstance(answer, BaseException):
                raise answer
            yield answer
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.kill()


def _in_process(batch: Sequence[tuple], told: SimpleQueue, children: list[ChildProcess]) -> None:
    """Runs trials in a process of their own and passes on what it tells: finished trials, or an error."""
    child = ChildProcess(_trials, batch)
    children.append(child)
    try:
        for _ in batch:
            told.put(child.hear())
    except Exception as error:
        told.put(error)
    child.kill()


def _trials(batch: Sequence[tuple]) -> Iterator[tuple[Variant, int]]:
    one_thread()
    for job in batch:
        yield _trial(*job)


def one_thread() -> None:
    """Makes this process one of several that share the machine."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.get_logger().setLevel("ERROR")  # each variant is a new graph, which TensorFlow warns of


@cache
def _prepared(home: str) -> Prepared:
    return Prepared.load(Path(home))


def _trial(home: str, variant: Variant, plan: Plan, seed: int, result: str) -> tuple[Variant, int]:
    """Trains, scores and writes one trial; the file appears whole or not at all."""
    prepared = _prepared(home)
    fit, held_out = plan.rows(prepared)
    data = variant.rows(prepared, seed)
    everything = np.arange(prepared.train_rows)
    if variant.learner == "lightgbm":
        from experiments.boosting import Boosters

        boosters = Boosters(data, seed)
        cost = _timed(lambda: boosters.train(fit, held_out))
        calibrating = boosters.score(held_out)
        if plan.refit:
            cost = _timed(lambda: boosters.retrain(everything))
        judged = boosters.score(prepared.evaluation)
    else:
        from experiments.training import score, train
        from models.fit import with_learned_lambda

        settings, models = variant.settings(plan.model, prepared, seed), []
        cost = _timed(lambda: models.append(train(settings, data, fit, held_out)))
        calibrating = score(models[-1], data, held_out)
        if plan.refit:
            settings = with_learned_lambda(settings, models[-1])
            cost = _timed(lambda: models.append(train(settings, data, everything)))
        judged = score(models[-1], data, prepared.evaluation)
        cost["parameters"] = sum(int(np.prod(v.shape)) for v in models[-1].trainable_variables)
    temporary = f"{result}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        np.savez(
            file,
            **{f"held_out/{output}": values for output, values in calibrating.items()},
            **{f"evaluation/{output}": values for output, values in judged.items()},
            **{f"cost/{name}": value for name, value in cost.items()},
        )
    os.replace(temporary, result)
    return variant, seed


def _timed(work: Callable[[], None]) -> dict[str, float]:
    begin = time.process_time()
    work()
    return {"seconds": time.process_time() - begin}


def _load(path: Path) -> Trial:
    with np.load(path) as file:
        parts: dict[str, dict] = {"held_out": {}, "evaluation": {}, "cost": {}}
        for name in file.files:
            part, _, output = name.partition("/")
            parts[part][output] = file[name] if file[name].ndim else float(file[name])
    return Trial(**parts)
