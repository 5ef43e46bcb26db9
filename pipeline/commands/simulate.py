"""`cabb simulate`: the logs of a simulated store, with the truth beside them."""

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from simulator.worlds import PRESETS, World, world_named


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("store"),
    show_default=True,
    help="A new directory, or an earlier simulated store to replace.",
)
@click.option(
    "--world",
    "name",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="Preset the store starts from.",
)
@click.option("--users", type=click.IntRange(min=1), help="Users with a click [preset's].")
@click.option("--days", type=click.IntRange(min=1), help="Days of logs [preset's].")
@click.option("--seed", type=click.IntRange(min=0), help="Another seed gives another store [preset's].")
def simulate(output: Path, name: str, users: int | None, days: int | None, seed: int | None) -> None:
    """Write the logs of a simulated store whose truth is known.

    The output has events/, catalog.parquet and truth/: the true probability of every click's outcomes and the
    true relatedness of categories. The same world gives the same bytes; a complete store of it is left alone.

    \b
    Examples:
      cabb simulate --output store
      cabb simulate --output big --users 400000
      cabb simulate --output drift --world drifted --seed 7
    """
    write_and_show(world_named(name, users=users, days=days, seed=seed), output, Console())


def write_and_show(world: World, output: Path, console: Console) -> dict[str, Any]:
    """Simulate with a progress bar, then print what was written."""
    from simulator.store import is_complete
    from simulator.store import simulate as write_store

    there = is_complete(world, output)
    began = time.perf_counter()
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(f"{world.name}: users", total=world.users)
        record = write_store(world, output, lambda done, _: bar.update(task, completed=done))
    seconds = time.perf_counter() - began

    events = sum(record["events"].values())
    table = Table(title=f"simulated store: {world.name}, seed {world.seed}", title_justify="left")
    table.add_column("")
    table.add_column("count", justify="right")
    for event_type, count in record["events"].items():
        table.add_row(event_type, f"{count:,}")
    table.add_row("all events", f"{events:,}", style="bold")
    table.add_row("click examples", f"{record['click_examples']:,}", style="bold", end_section=True)
    for label, column in (
        ("true CABA rate", "p_caba"),
        ("true CABB rate", "p_cabb"),
        ("true conversion rate", "p_conversion"),
        ("mean uplift of a click", "uplift"),
    ):
        table.add_row(label, f"{record['mean'][column]:.4f}")
    console.print(table)
    speed = "complete already" if there else f"{seconds:.1f} s, {events / seconds:,.0f} events/s"
    console.print(f"{speed}: {output}", highlight=False, soft_wrap=True)
    return record
