"""`cabb experiment relatedness`: which similarity finds the truth of simulated stores."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schemas.errors import InputError
from simulator.worlds import PRESETS, world_named

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_INTERVALS_FROM = 118
"""Terminal width at which the intervals fit."""
WORLDS = ("default", "high_cabb", "noisy_taxonomy")
_CODE = (
    "components.category_similarity",
    "components.session_example_gen",
    "components.similarity_transform",
    "experiments.relatedness",
    "models.metrics",
    "simulator",
)


@click.command()
@click.option(
    "--world",
    "worlds",
    multiple=True,
    type=click.Choice(list(PRESETS)),
    help=f"May repeat [{', '.join(WORLDS)}].",
)
@click.option("--users", type=click.IntRange(min=1), help="Users of each store [preset's].")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(min=1), help="Stores per world.")
@click.option("--first-seed", default=1, show_default=True, type=click.IntRange(min=0))
@click.option("-k", default=3, show_default=True, type=click.IntRange(1), help="Depth of precision.")
@click.option(
    "--variant", "names", multiple=True, help="Only this variant beside taxonomy_cf; may repeat [all]."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs/experiments/relatedness"),
    show_default=True,
    help="Where logs, judgements and results are kept.",
)
def command(
    worlds: tuple[str, ...],
    users: int | None,
    seeds: int,
    first_seed: int,
    k: int,
    names: tuple[str, ...],
    output: Path,
) -> None:
    """Judge every similarity scheme and its options by the true relatedness of simulated stores.

    Intervals are over seeds: each is another store. What was judged is kept, so an interrupted run goes on
    where it was. Writes relatedness.json and relatedness.html below the output.

    \b
    Examples:
      cabb experiment relatedness
      cabb experiment relatedness --seeds 10 --world default
      cabb experiment relatedness --variant semantic --variant "shrinkage 10" --users 5000
    """
    from rich.console import Console

    from experiments import relatedness, report
    from experiments.relatedness_page import page
    from pipeline.code_hash import code_hash
    from pipeline.commands.experiments.setting import training_progress
    from schemas.output import writable, write_whole

    console = Console()
    writable(output)
    chosen = _chosen(names, relatedness.VARIANTS, relatedness.REFERENCE)
    stores = {
        name: [world_named(name, users=users, seed=first_seed + number) for number in range(seeds)]
        for name in worlds or WORLDS
    }
    with training_progress(console, "judged") as done:
        judged = relatedness.run(stores, chosen, output, code_hash(*_CODE), k, done)
    results = relatedness.compose(judged, stores, chosen, k)
    report.write_json(results, output / "relatedness.json")
    write_whole(output / "relatedness.html", page(results))
    _print(results, console)
    console.print(f"page: {output / 'relatedness.html'}", highlight=False, soft_wrap=True)


def _chosen(names: tuple[str, ...], known: dict[str, Any], reference: str) -> dict[str, Any]:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
            raise InputError(f"no variant {name!r}; {hint}")
    return {name: known[name] for name in known if not names or name in (*names, reference)}


def _print(results: dict[str, Any], console: Console) -> None:
    """A table for each world, and the answer."""
    from rich.table import Table
    from rich.text import Text

    from experiments.relatedness_page import answer

    shown = ("spearman", "kendall", "precision", "auc", "auc_across", "alpha")
    wide = console.width >= _INTERVALS_FROM
    for name, world in results["worlds"].items():
        view = Table(
            title=f"{name}: {len(world['seeds'])} stores of {world['users']:,} users",
            title_justify="left",
            box=None,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        view.add_column("variant", no_wrap=True)
        for metric in shown:
            heading = f"P@{results['k']}" if metric == "precision" else metric.replace("_", " ")
            view.add_column(heading, justify="right", no_wrap=True)
        for variant, row in world["rows"].items():
            view.add_row(variant, *(_cell(row[metric], wide) for metric in shown))
        console.print(view)
    console.print(Text("green: better than taxonomy_cf beyond noise; red: worse", style="dim"))
    console.print(Text(answer(results)))


def _cell(cell: dict[str, Any], with_interval: bool) -> Text:
    from rich.text import Text

    from components.run_report import formats

    if cell["mean"] is None:
        return Text("\N{EN DASH}")
    low, high = cell["against"]["interval"]
    style = "" if low is None else "green" if low > 0 else "red" if high < 0 else ""
    half = f" ±{cell['mean'] - cell['interval'][0]:.3f}" if with_interval and low is not None else ""
    return Text(formats.decimal(cell["mean"]) + half, style=style)
