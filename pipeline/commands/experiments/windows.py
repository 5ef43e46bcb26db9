"""`cabb experiment windows`: labels and models under attribution windows of different length."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from pipeline.commands.run import parse_setting


@click.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="YAML settings, as of a run.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one setting.")
@click.option(
    "--hours",
    multiple=True,
    type=click.FloatRange(0, min_open=True),
    default=(24.0, 72.0, 168.0),
    show_default=True,
    help="Windows beside the session's; may repeat.",
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Trainings per window.")
def command(
    config_path: Path | None, overrides: tuple[str, ...], hours: tuple[float, ...], seeds: int
) -> None:
    """Show what the attribution window does to labels and to the model.

    \b
    Examples:
      cabb experiment windows --config my-store.yaml
      cabb experiment windows --set store.name=long_journeys --hours 24 --hours 72
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from components.run_report.results import write_whole
    from components.similarity_transform.labels import Hours
    from experiments.prepare import Recipe
    from experiments.windows import compare_windows
    from pipeline.config import load_config
    from pipeline.run_inputs import resolve

    console = Console()
    config = load_config(config_path, dict(map(parse_setting, overrides)))
    inputs = resolve(config)
    recipe = Recipe(
        source=inputs.source,
        fingerprint=inputs.fingerprint,
        windows=inputs.windows,
        schemes={config.similarity.scheme: config.similarity},
        labels=config.labels,
        preprocessing=config.preprocessing,
        partitions=config.beam.partitions,
    )
    windows = ["session", *(Hours(hours=each) for each in sorted(set(hours)))]
    with console.status("windows") as status:
        entries = compare_windows(
            recipe,
            windows,
            config.model,
            range(1, seeds + 1),
            config.output / "experiments",
            lambda words: status.update(words),
        )
    target = config.output / "experiments" / "windows.json"
    write_whole(target, json.dumps(entries, indent=1) + "\n")
    console.print(_table(entries))
    console.print(
        f"NE is of the {entries[0]['common']['clicks']:,} evaluation clicks mature under every window"
    )
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
