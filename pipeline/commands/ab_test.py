"""`cabb ab-test`: two trained models rank for simulated shoppers, whose truth says which earns more."""

from __future__ import annotations

import json
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pipeline.quiet_tensorflow import quiet_tensorflow
from schemas.errors import InputError

if TYPE_CHECKING:
    from experiments.run_artifacts import RunArtifacts

PAGE_FILE = "ab_test.html"
RESULTS_FILE = "ab_test.json"
_SAME = {
    "Data fingerprint": "other logs",
    "Training ends before": "other training days",
    "Evaluation ends before": "other evaluation days",
}


@click.command(name="ab-test")
@click.option(
    "--control",
    "controls",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of a run; of several trainings (model.seed) the mean counts.",
)
@click.option(
    "--treatment",
    "treatments",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of another run; may repeat likewise.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Where page and JSON go [treatment's folder]."
)
@click.option("--users", default=4000, show_default=True, type=click.IntRange(2), help="New users who come.")
@click.option(
    "--candidates", default=40, show_default=True, type=click.IntRange(2), help="Items to choose from."
)
@click.option("--places", default=10, show_default=True, type=click.IntRange(2), help="Length of a list.")
@click.option(
    "--value",
    default="price",
    show_default=True,
    type=click.Choice(["price", "order"]),
    help="What a conversion is worth in the ranking: the item's price, or the same for all.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of candidates and draws.")
def ab_test(
    controls: tuple[Path, ...],
    treatments: tuple[Path, ...],
    output: Path | None,
    users: int,
    candidates: int,
    places: int,
    value: str,
    seed: int,
) -> None:
    """Let two trained models rank for the same simulated shoppers.

    Both are runs on one simulated store. Shoppers of its world that neither model has seen come on the
    evaluation days; each is shown a list by either model and behaves by the true probabilities.

    \b
    Example:
      cabb run --output runs/ab --set model.model=last_click
      cabb run --output runs/ab
      cabb ab-test --control runs/ab/runs/<first> --treatment runs/ab/runs/latest

    The luck of a training is easily larger than what there is to find: give several runs of either arm
    (--set model.seed=2) by repeating --control and --treatment.
    """
    quiet_tensorflow()
    from experiments.run_artifacts import find_run
    from schemas.output import write_whole

    console = Console()
    runs = [[find_run(each) for each in arm] for arm in (controls, treatments)]
    first = runs[0][0]
    for each in (*runs[0], *runs[1]):
        refuse_unequal(first, each)
    names = arm_names(*runs)

    from components.similarity_transform.labels import LabelSettings
    from experiments.ab_test.arms import p_conversion
    from experiments.ab_test.candidate_features import popularity_of
    from experiments.ab_test.comparison import compare
    from experiments.ab_test.loop import CONTEXTS, LoopSettings, by_arm, run_loop
    from experiments.ab_test.page import render
    from experiments.served_model import ServedModel
    from schemas.events import LogSource
    from simulator.catalog import build_catalog
    from simulator.taxonomy import Taxonomy
    from simulator.worlds import World

    world = first.configured("store", World)
    catalog = build_catalog(world, Taxonomy())
    if candidates >= len(catalog.leaf) or places > candidates:
        raise InputError(f"{places} places and {candidates} candidates do not fit; choose fewer")
    settings = LoopSettings(users=users, candidates=candidates, places=places, value=value, seed=seed)
    with console.status("loading models"):
        arms = {
            (name, number): partial(p_conversion, ServedModel(each.model))
            for name, arm in zip(names, runs, strict=True)
            for number, each in enumerate(arm)
        }
        popularity = popularity_of(
            Path(first.place["Sessions"]),
            first.configured("labels", LabelSettings),
            LogSource(events=["simulated"], context_columns=CONTEXTS),
        )
    days = tuple(
        date.fromisoformat(first.place[name]) for name in ("Evaluation starts", "Evaluation ends before")
    )
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("users", total=users)
        shown = run_loop(
            world, days, arms, popularity, settings, lambda done: bar.update(task, completed=done)
        )
    results = {
        "world": f"world {world.name}",
        "settings": settings.model_dump(mode="json"),
        "runs": {
            name: [{"key": each.results["run"]["key"], "seed": each.settings.seed} for each in arm]
            for name, arm in zip(names, runs, strict=True)
        },
        **compare(by_arm(shown), *names, catalog),
    }
    folder = output or (treatments[0] if treatments[0].is_dir() else treatments[0].parent)
    write_whole(folder / RESULTS_FILE, json.dumps(results, indent=1, allow_nan=False) + "\n")
    write_whole(folder / PAGE_FILE, render(results))
    _show(results, console)
    console.print(f"page: {folder / PAGE_FILE}", soft_wrap=True, highlight=False, markup=False)


def refuse_unequal(control: RunArtifacts, treatment: RunArtifacts) -> None:
    """Raises InputError unless both runs learned from the same days of one simulated store."""
    for each in (control, treatment):
        if each.results["configuration"].get("data"):
            raise InputError(
                f"run {each.results['run']['name']} is on real logs; an A/B loop needs the simulated store, "
                "whose shoppers can be asked what they would have done"
            )
    for name, words in _SAME.items():
        if control.place.get(name) != treatment.place.get(name):
            raise InputError(f"the two runs have {words}; train both arms on the same store and days")


def arm_names(controls: list[RunArtifacts], treatments: list[RunArtifacts]) -> tuple[str, str]:
    """The models' names if they differ.

    Raises:
        InputError: an arm has runs of different models.
    """
    models = []
    for arm in (controls, treatments):
        found = sorted({each.settings.model for each in arm})
        if len(found) > 1:
            raise InputError(f"one arm has runs of {' and '.join(found)}; give each model an arm of its own")
        models += found
    one, other = models
    return (one, other) if one != other else (f"{one} (control)", f"{other} (treatment)")


def _show(results: dict[str, Any], console: Console) -> None:
    from experiments.ab_test.page import answer, sentences

    table = Table(box=None, pad_edge=False, header_style="dim")
    titles = ("arm", "value/user", "orders", "clicks", "CABA rate", "distance", "leaves", "items")
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    for each in results["arms"]:
        table.add_row(
            each["name"],
            f"{each['value']:.4f}",
            *(f"{100 * each[name]:.2f} %" for name in ("ordered", "clicked", "caba_rate")),
            *(f"{each[name]:.2f}" for name in ("distance", "leaves")),
            f"{each['distinct_items']:,.0f}",
        )
    console.print(table)
    console.print(answer(results), style="bold", highlight=False)
    for sentence in sentences(results):
        console.print(sentence, highlight=False, markup=False)
