"""`cabb experiment rolling`: week after week, trained on the days before, pooled."""

from __future__ import annotations

import click

from pipeline.commands.experiments import setting
from schemas.settings import MOST_DAYS


@click.command()
@setting.shared_options("runs/experiments")
@click.option(
    "--weeks",
    default=5,
    show_default=True,
    type=click.IntRange(1, MOST_DAYS // 7),
    help="Weeks to judge, counted back from the end of the evaluation days.",
)
def command(asked: setting.Asked, weeks: int) -> None:
    """Judge the variants on several weeks, each by models of the days before it, and pool the weeks.

    One lucky week decides nothing. Logs are read once; finished trainings are kept, so an interrupted run
    goes on where it was. Writes rolling.json and rolling.html below the output.

    \b
    Examples:
      cabb experiment rolling --config my-store.yaml
      cabb experiment rolling --config my-store.yaml --weeks 3 --seeds 5
    """
    from rich.console import Console
    from rich.table import Table

    from components.run_report import formats
    from experiments import report, rolling, tables
    from experiments.page import render
    from experiments.prepare import prepare
    from experiments.trials import run_trials
    from schemas.output import write_whole

    console = Console()
    config = asked.config()
    schemes = {"taxonomy_cf": tables.schemes(config.similarity)["taxonomy_cf"]}
    recipe = setting.recipe_of(config, schemes)
    plan = asked.plan(config)
    known = tables.variants(list(schemes))
    done = []
    for windows in rolling.weeks(recipe.windows, weeks):
        console.print(f"week from {windows.eval_start}", highlight=False)
        origin = recipe.model_copy(update={"windows": windows})
        prepared = prepare(origin, config.output / "data", lambda text: console.print(f"{text} ..."))
        wanted = [known[name] for name in rolling.ROWS]
        with setting.training_progress(console) as progress:
            trials = run_trials(
                prepared, wanted, plan, config.output / "trials", workers=asked.workers, done=progress
            )
        done.append(rolling.Week(prepared, trials))
    results = {"name": setting.data_name(config), **rolling.compose(done, plan)}
    report.write_json(results, config.output / "rolling.json")
    page = write_whole(config.output / "rolling.html", render("rolling.html.j2", results))

    view = Table(title="All weeks together, NE after recalibration", title_justify="left", box=None)
    view.add_column("variant", no_wrap=True)
    for heading in ("CABA", "CABB", "overall", "95 %", "overall against LightGBM"):
        view.add_column(heading, justify="right")
    for row in results["rows"]:
        trees = row["trees"]["overall"]["ratio_interval"] if row["trees"] else None
        view.add_row(
            row["name"],
            *(formats.decimal(row["targets"][name]["platt"]["ne"]) for name in ("caba", "cabb", "overall")),
            formats.interval(row["targets"]["overall"]["platt"]["interval"]),
            formats.interval(trees) if trees else "",
        )
    console.print(view)
    console.print(f"page: {page}", highlight=False, soft_wrap=True)
