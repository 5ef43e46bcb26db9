"""What every experiment on logs starts from: options, configuration, prepared data, progress."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.quiet_tensorflow import quiet_tensorflow
from schemas.errors import InputError
from simulator.worlds import PRESETS

if TYPE_CHECKING:
    from experiments.journey_rows import JourneyRecipe
    from experiments.prepare import Recipe
    from experiments.trials import Plan
    from pipeline.config import Config

DATA_CODE = (
    "components",
    "schemas",
    "models.features",
    "models.preprocessing",
    "experiments.model_inputs",
    "experiments.prepare",
)
JOURNEY_CODE = ("experiments.journey_rows", "experiments.attribution.journey_file")
HOLDOUT_DAYS = 7
TRAINING_CODE = ("models", "experiments.training", "experiments.variants", "experiments.boosting")


class FiniteRange(click.FloatRange):
    """A range of numbers without NaN, which lies on neither side of a bound."""

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value} is no finite number", param, ctx)


@dataclass(frozen=True)
class Asked:
    """What was given to the options that experiments share (`shared_options`)."""

    config_path: Path | None
    output: Path
    world: str | None
    users: int | None
    seeds: int
    holdout_days: int | None
    workers: int
    settings: tuple[str, ...]
    refit: bool = True

    def config(self, *settings: str) -> Config:
        """The configuration, further `settings` (KEY=VALUE) included."""
        return configured(self.config_path, self.output, self.world, self.users, (*self.settings, *settings))

    def plan(self, config: Config) -> Plan:
        """How variants are trained."""
        from experiments.trials import Plan
        from pipeline.code_hash import code_hash

        configured_days = config.split.holdout_days if config.split else 0
        return Plan(
            seeds=tuple(range(1, self.seeds + 1)),
            holdout_days=self.holdout_days or configured_days or HOLDOUT_DAYS,
            refit=self.refit,
            model=config.model,
            code=code_hash(*TRAINING_CODE),
        )


def shared_options(default_output: str, *, refit: bool = True) -> Callable:
    """Options that choose the data and how variants are trained; the command gets them as one `Asked`, before
    its own."""
    options = [
        click.option(
            "--config",
            "config_path",
            type=click.Path(path_type=Path),
            help="YAML settings of a run; without `data` the simulated store is used.",
        ),
        click.option(
            "--output",
            type=click.Path(path_type=Path),
            default=Path(default_output),
            show_default=True,
            help="Where data, trained variants and results are kept.",
        ),
        click.option("--world", type=click.Choice(list(PRESETS)), help="Preset of the simulated store."),
        click.option("--users", type=click.IntRange(min=1), help="Users of the simulated store."),
        click.option(
            "--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="Trainings per variant."
        ),
        click.option(
            "--holdout-days",
            type=click.IntRange(min=1),
            help="Last training days, on which every variant is recalibrated [split.holdout_days, else 7].",
        ),
        click.option(
            "--workers",
            default=2,
            show_default=True,
            type=click.IntRange(0, 2),
            help="Processes that train, one thread each; 0 trains in this one.",
        ),
        click.option(
            "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override one setting; may repeat."
        ),
    ]
    if refit:
        options.append(
            click.option(
                "--refit/--no-refit",
                default=True,
                show_default=True,
                help="Judge a model of all training days, held-out ones included.",
            )
        )

    def decorate(command: Callable) -> Callable:
        @wraps(command)
        def with_shared(**given: Any) -> None:
            shared = {each.name: given.pop(each.name) for each in fields(Asked) if each.name in given}
            command(Asked(**shared), **given)

        for option in reversed(options):
            with_shared = option(with_shared)
        return with_shared

    return decorate


def configured(
    config_path: Path | None,
    output: Path,
    world: str | None,
    users: int | None,
    settings: tuple[str, ...],
) -> Config:
    """The configuration of an experiment, whose output can be written to; TensorFlow, imported later, reads
    what is set here."""
    from pipeline.commands.run import parse_setting
    from pipeline.config import load_config
    from schemas.output import writable

    quiet_tensorflow()
    logging.getLogger("absl").setLevel(logging.ERROR)  # Transform warns of its own graph, once per lookup
    overrides: dict[str, Any] = dict(parse_setting(each) for each in settings)
    overrides["output"] = str(output.resolve())
    if world:
        overrides["store.name"] = world
    if users:
        overrides["store.users"] = users
    config = load_config(config_path, overrides)
    if config.data is not None and (world or users):
        raise InputError("--world, --users: of the simulated store, but the configuration names logs")
    writable(config.output)
    return config


def journey_options(command: Callable) -> Callable:
    """Options that name a file of ready-made journeys instead of logs."""
    command = click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="NAME=COLUMN",
        help="Another name of a column of --journeys (journey, user, channel, time, converted).",
    )(command)
    return click.option(
        "--journeys",
        type=click.Path(path_type=Path),
        help="A Parquet or CSV file with a row per touch, instead.",
    )(command)


def column_names(columns: tuple[str, ...]) -> dict[str, str]:
    """What `--column NAME=COLUMN` options say, by NAME.

    Raises:
        InputError: one of them is not of that form.
    """
    for text in columns:
        if "=" not in text:
            raise InputError(f"--column {text}: write it as NAME=COLUMN, for example channel=campaign")
    return dict(text.split("=", 1) for text in columns)


def data_name(config: Config) -> str:
    """What to call the data of a configuration on a page."""
    if config.data is not None:
        return config.name
    return f"the simulated store {config.store.name}, {config.store.users:,} users"


def recipe_of(config: Config, schemes: dict, progress: Callable[[int, int], None] | None = None) -> Recipe:
    """What the arrays of a configuration are made of; simulates the store if there are no logs."""
    from experiments.prepare import Recipe
    from pipeline.code_hash import code_hash
    from pipeline.fingerprint import data_fingerprint
    from pipeline.run_inputs import logs

    source, windows = logs(config, progress)
    return Recipe(
        source=source,
        fingerprint=f"{data_fingerprint(source)}-{code_hash(*DATA_CODE)}",
        windows=windows.model_copy(update={"holdout_days": 0}),  # the plan holds days out, not the arrays
        schemes=schemes,
        labels=config.labels,
        attribution=config.resolved_attribution(),
        preprocessing=config.preprocessing,
        partitions=config.beam.partitions,
    )


def journey_recipe_of(config: Config, journeys: Path, columns: tuple[str, ...]) -> JourneyRecipe:
    """What the arrays of a file of journeys are made of.

    Raises:
        InputError: no such file, no evaluation days, or logs are named beside it.
    """
    from experiments.journey_rows import JourneyRecipe
    from pipeline.code_hash import code_hash
    from pipeline.fingerprint import data_fingerprint
    from schemas.events import LogSource

    if config.data is not None:
        raise InputError("--journeys, --config: data of one place only")
    if config.split is None:
        raise InputError("split.eval_start is missing: name the first evaluation day of your journeys")
    fingerprint = data_fingerprint(LogSource(events=[str(journeys.resolve())]))
    return JourneyRecipe(
        path=journeys.resolve(),
        columns=column_names(columns),
        fingerprint=f"{fingerprint}-{code_hash(*DATA_CODE, *JOURNEY_CODE)}",
        windows=config.split.model_copy(update={"holdout_days": 0}),
        attribution=config.resolved_attribution(),
    )


@contextmanager
def training_progress(console: Console, doing: str = "trained"):
    """Gives a `done(what, finished, total)` that shows a bar on a terminal and lines elsewhere."""
    if not console.is_terminal:
        yield lambda what, finished, total: console.print(
            f"{finished} of {total}: {what}", highlight=False, soft_wrap=True
        )
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(doing, total=None, last="")

        def done(what: str, finished: int, total: int) -> None:
            bar.update(task, completed=finished, total=total, last=what)

        yield done
