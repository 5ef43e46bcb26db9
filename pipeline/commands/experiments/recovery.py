"""`cabb experiment recovery`: how much of the simulated store's truth the model finds."""

from __future__ import annotations

from dataclasses import replace

import click

from pipeline.commands.experiments import setting
from schemas.errors import InputError


@click.command()
@setting.shared_options("runs/experiments")
@click.option(
    "--times",
    default=10,
    show_default=True,
    type=click.IntRange(2),
    help="How many times the shoppers the larger store has.",
)
def command(asked: setting.Asked, times: int) -> None:
    """Compare the model's scores with a known truth, and with those of a model that saw more of it.

    Simulates a store and one of --times the shoppers, trains the product's model with static alpha on both,
    and reports calibration by decile, NE against more data, and the gap to the truth. --users is rounded to
    whole chunks of the simulator, which both stores share. Writes recovery.json and recovery.html below the
    output.

    \b
    Examples:
      cabb experiment recovery
      cabb experiment recovery --world high_cabb --users 32768
    """
    from rich.console import Console

    from components.run_report import formats
    from experiments import recovery, report, tables
    from experiments.page import render
    from experiments.prepare import prepare
    from experiments.trials import run_trials
    from schemas.output import write_whole

    console = Console()
    config = asked.config()
    if config.data is not None:
        raise InputError("recovery needs a known truth: it runs on the simulated store, without `data`")
    fewer = recovery.whole_chunks(config.store.users, config.store.users_per_chunk)
    few = replace(asked, output=asked.output / "small", users=fewer).config()
    many = replace(asked, users=fewer * times).config()
    plan = asked.plan(few)
    learned = []
    for config in (few, many):
        recipe = setting.recipe_of(config, tables.schemes(config.similarity))
        prepared = prepare(recipe, config.output / "data", lambda text: console.print(f"{text} ..."))
        with setting.training_progress(console) as progress:
            trials = run_trials(
                prepared,
                [recovery.MODEL],
                plan,
                config.output / "trials",
                workers=asked.workers,
                done=progress,
            )
        learned.append(recovery.Learned(prepared, trials[recovery.MODEL.name]))
    results = {
        "name": setting.data_name(many),
        **recovery.compose(*learned, many.output / "store" / "truth", plan),
    }
    report.write_json(results, many.output / "recovery.json")
    page = write_whole(many.output / "recovery.html", render("recovery.html.j2", results))
    for row in results["ne"]:
        cell = row["platt"]
        console.print(
            f"{row['target']}: NE {formats.decimal(cell['small'])}, {times} x the data "
            f"{formats.decimal(cell['large'])} (ratio {formats.decimal(cell['ratio'])}), truth "
            f"{formats.decimal(row['truth'])}",
            highlight=False,
        )
    for row in results["calibration"]:
        for size in ("small", "large"):
            cells = row[size]["platt"]
            judged = [each for each in cells["deciles"] if each["inside"] is not None]
            console.print(
                f"{row['target']}, {'fewer' if size == 'small' else 'more'} clicks: calibration "
                f"{formats.decimal(cells['overall']['calibration'])}; within 5 % in "
                f"{sum(each['inside'] for each in judged)} of {len(judged)} deciles with enough clicks",
                highlight=False,
            )
    console.print(f"page: {page}", highlight=False, soft_wrap=True)
