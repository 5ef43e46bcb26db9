"""`cabb experiment windows`: labels and models under attribution windows of different length."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from pipeline.commands.experiments import setting
from schemas.settings import MOST_DAYS
from simulator.worlds import PRESETS


@click.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="YAML settings of a run.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs/experiments"),
    show_default=True,
    help="Where data and results are kept.",
)
@click.option("--world", type=click.Choice(list(PRESETS)), help="Preset of the simulated store.")
@click.option("--users", type=click.IntRange(min=1), help="Users of the simulated store.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override one setting.")
@click.option(
    "--hours",
    multiple=True,
    type=setting.FiniteRange(0, 24 * MOST_DAYS, min_open=True),
    default=(24.0, 72.0, 168.0),
    show_default=True,
    help="Windows beside the session; may repeat.",
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Trainings per window.")
def command(
    config_path: Path | None,
    output: Path,
    world: str | None,
    users: int | None,
    settings: tuple[str, ...],
    hours: tuple[float, ...],
    seeds: int,
) -> None:
    """Show what the attribution window does to labels and to the model.

    \b
    Examples:
      cabb experiment windows --config my-store.yaml
      cabb experiment windows --world long_journeys --hours 24 --hours 72
    """
    from components.similarity_transform.labels import Hours
    from experiments import report
    from experiments.windows import compare_windows

    console = Console()
    config = setting.configured(config_path, output, world, users, settings)
    recipe = setting.recipe_of(config, {config.similarity.scheme: config.similarity})
    with console.status("windows") as status:
        entries = compare_windows(
            recipe,
            ["session", *(Hours(hours=each) for each in sorted(set(hours)))],
            config.model,
            range(1, seeds + 1),
            config.output / "data",
            lambda words: status.update(words),
        )
    target = config.output / "windows.json"
    report.write_json({"name": setting.data_name(config), "windows": entries}, target)
    console.print(_table(entries))
    clicks = entries[0]["common"]["clicks"]
    console.print(f"Rates and NE are of the {clicks:,} evaluation clicks that are mature under every window.")
    console.print(f"results: {target}", soft_wrap=True, highlight=False, markup=False)


def _table(entries: list[dict]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    titles = ("window", "train", "eval", "CABA", "CABB", "any", "NE CABA", "NE CABB", "NE any")
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    for each in entries:
        common = each["common"]
        table.add_row(
            each["window"],
            f"{each['train']['clicks']:,}",
            f"{each['eval']['clicks']:,}",
            *(f"{100 * common[label]:.1f} %" for label in ("y_caba", "y_cabb", "y_any")),
            *(f"{common['ne'][output]:.3f}" for output in ("p_caba", "p_cabb", "p_conversion")),
        )
    return table
