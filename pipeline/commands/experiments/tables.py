"""`cabb experiment tables`: the paper's Tables 1, 2 and 3 on your data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands.experiments import setting

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@setting.shared_options("runs/experiments")
@click.option(
    "--table",
    "numbers",
    multiple=True,
    type=click.IntRange(1, 3),
    help="Only this table; may repeat [all three].",
)
@click.option(
    "--lambda",
    "lambdas",
    multiple=True,
    type=setting.FiniteRange(0),
    help="A lambda of Table 2, beside 0 and 0.75; may repeat [the paper's].",
)
def command(asked: setting.Asked, numbers: tuple[int, ...], lambdas: tuple[float, ...]) -> None:
    """Make the paper's Tables 1-3 from raw logs, with seeds, intervals and a verdict on every direction.

    Data are prepared once for all variants; finished trainings are kept, so an interrupted run goes on where
    it was. Writes tables.json and tables.html below the output.

    \b
    Examples:
      cabb experiment tables
      cabb experiment tables --config my-store.yaml --seeds 5
      cabb experiment tables --world high_cabb --users 300000 --table 1
      cabb experiment tables --lambda 0.5 --lambda 2 --table 2
    """
    from rich.console import Console

    from experiments import report, tables
    from experiments.page import render_tables
    from experiments.prepare import prepare
    from experiments.trials import run_trials
    from schemas.output import write_whole

    console = Console()
    config = asked.config()
    schemes = tables.schemes(config.similarity)
    recipe = setting.recipe_of(config, schemes)
    prepared = prepare(recipe, config.output / "data", lambda text: console.print(f"{text} ..."))
    plan = asked.plan(config)
    rows = (list(schemes), lambdas or tables.LAMBDAS)
    chosen = [each for each in tables.tables(*rows) if not numbers or each.number in numbers]
    wanted = tables.trained(chosen, tables.variants(*rows))
    with setting.training_progress(console) as done:
        trials = run_trials(
            prepared, wanted, plan, config.output / "trials", workers=asked.workers, done=done
        )
    results = {"name": setting.data_name(config), **tables.compose(chosen, wanted, trials, prepared, plan)}
    report.write_json(results, config.output / "tables.json")
    page = write_whole(config.output / "tables.html", render_tables(results))
    _print(results, console)
    console.print(f"page: {page}", highlight=False, soft_wrap=True)


def _print(results: dict, console: Console) -> None:
    """The tables and the verdicts, in short."""
    from rich.table import Table
    from rich.text import Text

    from components.run_report import formats

    for table in results["tables"]:
        view = Table(title=f"Table {table['number']}: {table['title']}", title_justify="left", box=None)
        view.add_column("variant", no_wrap=True)
        for heading in ("CABA NE", "CABB NE", "overall NE", "raw", "95 %", f"against {table['reference']}"):
            view.add_column(heading, justify="right")
        for row in table["rows"]:
            caba, cabb, overall = (row["targets"][name] for name in ("caba", "cabb", "overall"))
            against = overall["against"]
            view.add_row(
                row["name"],
                formats.decimal(caba["platt"]["ne"]),
                formats.decimal(cabb["platt"]["ne"]),
                formats.decimal(overall["platt"]["ne"]),
                formats.decimal(overall["raw"]["ne"]),
                formats.interval(overall["platt"]["interval"]),
                formats.change_interval([each - 1 for each in against["ratio_interval"]]) if against else "",
            )
        console.print(view)
    for table in results["tables"]:
        for claim in table["claims"]:
            colour = {"holds": "green", "does not hold": "red"}.get(claim["verdict"], "yellow")
            console.print(Text.assemble((claim["verdict"], colour), f": {claim['words']}. {claim['why']}"))
