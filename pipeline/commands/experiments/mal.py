"""`cabb experiment mal`: Tables 2, 3 and 4 of Multi-Attribution Learning on your data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from pipeline.commands.experiments import setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from experiments.prepared import Prepared
    from pipeline.config import Config


@click.command()
@setting.shared_options("runs/mal")
@setting.journey_options
@click.option(
    "--primary",
    "primaries",
    multiple=True,
    type=click.Choice(["last_click", "mta"]),
    help="Only this primary target; may repeat [both].",
)
def command(
    asked: setting.Asked, journeys: Path | None, columns: tuple[str, ...], primaries: tuple[str, ...]
) -> None:
    """Compare models of attribution views: label combinations, multi-task peers, ablations of MAL.

    Every click is labelled under four views; models learn some or all of them and are judged on how they rank
    clicks by the primary view's credit (weighted AUC and GAUC). With --journeys every touch of the file is
    such a click. Writes mal.json and mal.html below the output.

    \b
    Examples:
      cabb experiment mal --world long_journeys
      cabb experiment mal --config my-store.yaml --no-refit --holdout-days 1
      cabb experiment mal --journeys displays.parquet --column channel=campaign --set split.eval_start=...
    """
    from rich.console import Console

    from experiments import mal, report
    from experiments.page import render_mal
    from experiments.trials import run_trials
    from schemas.output import write_whole

    console = Console()
    config = asked.config("model.model=mal")
    name, prepared = _prepared(config, journeys, columns, lambda text: console.print(f"{text} ..."))
    # Clicks of the last days before evaluation are too young for credits: held-out days lie before those.
    young = math.ceil(config.resolved_attribution().label_days)
    plan = asked.plan(config)
    plan = plan.model_copy(update={"holdout_days": plan.holdout_days + young})
    chosen = [each for each in mal.PRIMARIES if not primaries or each in primaries]
    wanted = [each for primary in chosen for each in mal.variants(primary).values()]
    with setting.training_progress(console) as done:
        trials = run_trials(
            prepared, wanted, plan, config.output / "trials", workers=asked.workers, done=done
        )
    results = {"name": name, **mal.compose(trials, prepared, plan, chosen)}
    report.write_json(results, config.output / "mal.json")
    page = write_whole(config.output / "mal.html", render_mal(results))
    _print(results, console)
    console.print(f"page: {page}", highlight=False, soft_wrap=True)


def _prepared(
    config: Config, journeys: Path | None, columns: tuple[str, ...], say: Callable[[str], None]
) -> tuple[str, Prepared]:
    """What to call the data, and its arrays."""
    if journeys is None:
        from experiments.prepare import prepare

        recipe = setting.recipe_of(config, {"taxonomy_cf": config.similarity})
        return setting.data_name(config), prepare(recipe, config.output / "data", say)
    from experiments.journey_rows import prepare_journeys

    recipe = setting.journey_recipe_of(config, journeys, columns)
    return f"{journeys.name}, each touch as a click", prepare_journeys(recipe, config.output / "data", say)


def _print(results: dict, console: Console) -> None:
    """The tables and the verdicts, in short."""
    from rich.table import Table
    from rich.text import Text

    from components.run_report import formats

    for table in results["tables"]:
        view = Table(title=f"Table {table['number']}: {table['title']}", title_justify="left", box=None)
        view.add_column("variant", no_wrap=True)
        for heading in ("GAUC", "against Base", "95 %", "AUC", "against Base", "parameters", "CPU s"):
            view.add_column(heading, justify="right")
        for row in table["rows"]:
            against, cost = row["gauc"]["against"], row["cost"]
            view.add_row(
                row["name"],
                formats.decimal(row["gauc"]["value"], 4),
                formats.change(against["relative"], 2) if against else "",
                formats.change_interval(against["interval"], 2) if against else "",
                formats.decimal(row["auc"]["value"], 4),
                formats.change(row["auc"]["against"]["relative"], 2) if against else "",
                formats.count(cost["parameters"]) if cost else "",
                formats.decimal(cost["seconds"], 1) if cost else "",
            )
        console.print(view)
    for claim in results["claims"]:
        colour = {"holds": "green", "does not hold": "red"}.get(claim["verdict"], "yellow")
        words = f": {claim['words']} ({claim['primary']}). {claim['why']}"
        console.print(Text.assemble((claim["verdict"], colour), words))
