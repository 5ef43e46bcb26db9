"""`cabb attribution`: who gets the credit of a purchase, under every attribution view."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.experiments.setting import column_names, configured, journey_options
from schemas.errors import InputError
from simulator.worlds import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from components.similarity_transform.attribution_views import AttributionSettings
    from experiments.attribution.credited import Credited
    from pipeline.config import Config

_SHOWN_DIMENSIONS = 3


@click.command()
@click.option("--run", type=click.Path(path_type=Path), help="Output folder of a run; its newest data.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="YAML settings of a run.")
@journey_options
@click.option("--world", type=click.Choice(list(PRESETS)), help="Preset of the simulated store.")
@click.option("--users", type=click.IntRange(min=1), help="Users of the simulated store.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs/attribution"),
    show_default=True,
    help="Where attribution.html and attribution.json go.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override one setting; may repeat."
)
def attribution(
    run: Path | None,
    config_path: Path | None,
    journeys: Path | None,
    columns: tuple[str, ...],
    world: str | None,
    users: int | None,
    output: Path,
    settings: tuple[str, ...],
) -> None:
    """Show who gets the credit of a purchase: positive clicks by attribution view, and credit by position,
    channel and category.

    The data are those of a run, of a configuration, of a file of journeys, or else of the simulated store,
    where credit is also compared with what each touch really added.

    \b
    Examples:
      cabb attribution
      cabb attribution --run runs/cabb
      cabb attribution --config my-store.yaml --set attribution.scope=same_leaf
      cabb attribution --journeys displays.parquet --column channel=campaign --column time=t_sec
    """
    from rich.console import Console

    from experiments.attribution.page import render_attribution
    from experiments.attribution.tables import compose
    from experiments.report import write_json
    from schemas.output import write_whole

    if sum(each is not None for each in (run, journeys)) > 1 or (run and config_path):
        raise InputError("--run, --journeys: data of one place only; --config does not go with --run")
    console = Console()
    config = _configured(run, config_path, world, users, output, settings)
    chosen = config.attribution
    if not chosen.views:
        from models.features import VIEWS

        chosen = chosen.model_copy(update={"views": VIEWS})
    with console.status("reading") as status:

        def say(what: str) -> None:
            status.update(what)

        if journeys:
            from experiments.attribution.journey_file import (
                credited_journeys,
                journeys_of_touches,
                read_touches,
            )

            read = journeys_of_touches(read_touches(journeys, column_names(columns)))
            say("crediting")
            credited = credited_journeys(read, chosen, str(journeys.name))
        else:
            credited = _of_store(run, config, chosen, say)
        say("resampling users")
        results = compose(credited, chosen)
    write_json(results, output / "attribution.json")
    page = write_whole(output / "attribution.html", render_attribution(results))
    _print(results, console)
    console.print(f"page: {page}", highlight=False, soft_wrap=True)


def _configured(
    run: Path | None,
    config_path: Path | None,
    world: str | None,
    users: int | None,
    output: Path,
    settings: tuple[str, ...],
) -> Config:
    if run:
        newest = run / "runs" / "latest"
        if not newest.is_dir():
            raise InputError(f"{run}: no output of a run; name the folder that has runs/latest")
        config_path = newest / "config.yaml"
    return configured(config_path, output, world, users, settings)


def _of_store(
    run: Path | None, config: Config, chosen: AttributionSettings, say: Callable[[str], None]
) -> Credited:
    from experiments.attribution.inputs import of_logs, of_run
    from experiments.attribution.store import credited_store
    from pipeline.commands.experiments.setting import data_name
    from pipeline.run_inputs import logs

    with tempfile.TemporaryDirectory(prefix="cabb-attribution-") as scratch:
        if run:
            config = config.model_copy(update={"output": run.resolve()})
        source, windows = logs(config)
        if run:
            inputs = of_run(run, chosen, source, Path(scratch), say)
        else:
            partitions = config.beam.partitions
            inputs = of_logs(source, windows, config.similarity, chosen, partitions, Path(scratch), say)
        say("crediting")
        truth = config.output / "store" / "truth" if config.data is None else None
        return credited_store(
            inputs.sessions, inputs.similarity, chosen, inputs.mta, data_name(config), truth
        )


def _print(results: dict[str, Any], console: Console) -> None:
    """Positives, agreement with the truth, and credit by the first dimensions."""
    from rich.table import Table

    from components.run_report import formats

    def words(estimate: dict[str, float], digits: int = 3) -> str:
        bounds = formats.interval([estimate["low"], estimate["high"]], digits)
        return f"{formats.decimal(estimate['value'], digits)} ({bounds})"

    def table(title: str, headings: list[str], rows: list[list[str]]) -> None:
        view = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
        for number, heading in enumerate(headings):
            view.add_column(heading, justify="right" if number else "left")
        for row in rows:
            view.add_row(*row)
        console.print(view)

    table(
        f"Positive clicks by view: {results['source']}",
        ["view", "positives", "share of clicks", f"ratio to {results['reference']}", "credit of a positive"],
        [
            [
                row["view"],
                formats.count(row["positives"]),
                formats.percent(row["share"]),
                words(row["ratio"]),
                formats.decimal(row["mean_credit"]),
            ]
            for row in results["positives"]
        ],
    )
    if "auc" in results["mta"]:
        fit = results["mta"]
        console.print(
            f"P(conversion | touches) on users it never saw: AUC {fit['auc']:.3f}, NE {fit['ne']:.3f} "
            f"({fit['journeys']:,} journeys, {formats.percent(fit['base_rate'])} converted)",
            highlight=False,
        )
    if results["uplift"]:
        table(
            "Rank correlation of credit with planted uplift",
            ["view", "within a path", "pooled"],
            [[row["view"], words(row["within"]), words(row["pooled"])] for row in results["uplift"]],
        )
    for each in results["credit"][:_SHOWN_DIMENSIONS]:
        table(
            f"Credit by {each['dimension']}",
            [each["dimension"], "touches", *results["views"]],
            [
                [
                    row["value"],
                    formats.count(row["touches"]),
                    *(formats.percent(row["shares"][view]["value"]) for view in results["views"]),
                ]
                for row in each["rows"]
            ],
        )
