"""`cabb tune`: settings of the model, searched on training days."""

from __future__ import annotations

import click

from pipeline.commands.experiments import setting


@click.command()
@setting.shared_options("runs/tuning", refit=False)
@click.option(
    "--trials", default=30, show_default=True, type=click.IntRange(1), help="Trials, earlier ones included."
)
@click.option(
    "--origins",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="Times inside the training days at which every trial is trained and judged.",
)
def tune(asked: setting.Asked, trials: int, origins: int) -> None:
    """Search lambda and the model's main sizes on training days; print the settings to paste.

    Every trial trains on the days before an origin and is judged on the days after it, for every seed; the
    evaluation days stay unseen. The same command again goes on where it was, and --trials 60 adds to it.
    Writes tuning.db (Optuna) and tuning.html below the output.

    \b
    Examples:
      cabb tune --config my-store.yaml
      cabb tune --config my-store.yaml --trials 60 --workers 2
      cabb tune --set model.model=last_click --trials 10
    """
    from rich.console import Console

    from experiments import tuning
    from experiments.prepare import prepare
    from experiments.tuning_page import page, snippet
    from schemas.output import write_whole

    console = Console()
    config = asked.config()
    recipe = setting.recipe_of(config, {config.similarity.scheme: config.similarity})
    prepared = prepare(recipe, config.output / "data", lambda text: console.print(f"{text} ..."))
    search = tuning.Search(plan=asked.plan(config), origins=origins)
    with setting.training_progress(console, "tried") as done:
        study = tuning.tune(prepared, search, config.output, trials, workers=asked.workers, done=done)
    path = write_whole(config.output / "tuning.html", page(study, search, setting.data_name(config)))
    start = tuning.start_of(study, config.model)
    had = f"; the start had {start.value:.4f}" if start else ""
    console.print(f"best NE {study.best_value:.4f}{had}", highlight=False)
    console.print(snippet(study, search) or "nothing beat the start", highlight=False, soft_wrap=True)
    console.print(f"page: {path}", highlight=False, soft_wrap=True)
