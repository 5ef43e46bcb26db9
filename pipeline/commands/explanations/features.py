"""`cabb explain features`: grouped permutation importance of a run's model on its evaluation clicks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pipeline.quiet_tensorflow import quiet_tensorflow

PAGE_FILE = "feature_importance.html"
RESULTS_FILE = "feature_importance.json"


@click.command()
@click.option(
    "--run",
    "run",
    type=click.Path(path_type=Path),
    default=Path("runs/cabb/runs/latest"),
    show_default=True,
    help="Folder of a run.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Where page and JSON go [the run's folder].")
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(1), help="Random orders.")
@click.option(
    "--rows",
    default=50_000,
    show_default=True,
    type=click.IntRange(1),
    help="Most clicks used; of more, a fixed sample of users.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of orders and intervals.")
def command(run: Path, output: Path | None, repeats: int, rows: int, seed: int) -> None:
    """Say which groups of features each head relies on.

    Every group is permuted between the run's evaluation clicks; the rise of the head's NE is what the model
    owes to it. Groups and families are defined in models/feature_groups.py.

    \b
    Examples:
      cabb explain features
      cabb explain features --run my-results/runs/latest --repeats 10
    """
    quiet_tensorflow()
    from experiments.feature_importance.findings import findings
    from experiments.feature_importance.page import render
    from experiments.feature_importance.permutation import permute, read_clicks
    from experiments.run_artifacts import find_run
    from experiments.served_model import ServedModel
    from schemas.output import write_whole

    console = Console()
    found = find_run(run)
    with console.status("loading the model"):
        model = ServedModel(found.model)
        clicks = read_clicks(found.eval_files, model.inputs, found.settings.label_of_output(), rows)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("permuting", total=None)
        sums = permute(
            model, clicks, repeats, seed, lambda done, of: bar.update(task, completed=done, total=of)
        )
    method = {"repeats": repeats, "resamples": 1000, "level": 0.95, "seed": seed}
    results = {
        "run": {
            "name": found.results["run"]["name"],
            "key": found.results["run"]["key"],
            "model": f"{found.settings.model}, {'pushed version' if found.pushed else 'not pushed'}",
            "rows": len(clicks),
            "users": clicks.users,
        },
        "method": method,
        **findings(sums, method["level"], method["resamples"], seed),
    }
    folder = output or (run if run.is_dir() else run.parent)
    write_whole(folder / RESULTS_FILE, json.dumps(results, indent=1, allow_nan=False) + "\n")
    write_whole(folder / PAGE_FILE, render(results))
    show(results, console)
    console.print(f"page: {folder / PAGE_FILE}", soft_wrap=True, highlight=False, markup=False)


def show(results: dict[str, Any], console: Console) -> None:
    """Prints rises of NE by group and head, and the sentences of the page."""
    from experiments.feature_importance.page import SHORT, sentences

    heads = results["heads"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("rise of NE when permuted")
    for head in heads:
        table.add_column(SHORT[head["output"]], justify="right", no_wrap=True)
    for kind in ("families", "groups"):
        by_name = [{each["name"]: each for each in head[kind]} for head in heads]
        for name in by_name[0]:
            cells = [f"{head[name]['rise']:+.3f} {_margin(head[name]['interval'])}" for head in by_name]
            table.add_row(name, *cells, style="bold" if kind == "families" else "")
    console.print(table)
    for sentence in sentences(results):
        console.print(sentence, highlight=False, markup=False)


def _margin(interval: list[float]) -> str:
    return f"\N{PLUS-MINUS SIGN}{(interval[1] - interval[0]) / 2:.3f}"
