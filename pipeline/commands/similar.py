"""`cabb similar`: what a run learned about a category."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schemas.errors import InputError

if TYPE_CHECKING:
    from components.category_similarity.similarity import SimilarityTable


@click.command()
@click.argument("category")
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    default=Path("runs/cabb"),
    show_default=True,
    help="Output folder of a run; its latest similarity is shown.",
)
@click.option(
    "--similarity",
    type=click.Path(path_type=Path),
    help="Folder of one similarity, instead of a run's latest.",
)
@click.option("-k", default=10, show_default=True, type=click.IntRange(1), help="How many to show.")
def similar(category: str, run: Path, similarity: Path | None, k: int) -> None:
    """Show the categories most related to CATEGORY, with the evidence for each.

    CATEGORY is a whole path or its last level, if only one category ends with it.

    \b
    Examples:
      cabb similar "Coffee Makers"
      cabb similar "Home > Kitchen > Coffee Makers" -k 3
      cabb similar Drinkware --run runs/my-store
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from components.category_similarity.similarity import SimilarityTable

    home = similarity or latest_similarity(run)
    try:
        table = SimilarityTable.load(home)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{home}: holds no readable similarity ({error}); name the folder with its meta.json"
        ) from None
    leaf = find_leaf(table, category)
    settings = table.meta.get("settings", {})
    unit = f"{settings.get('unit', 'user')}s"
    at = table.leaves.tolist().index(leaf)
    console = Console()
    console.print(
        f"[bold]{escape(leaf)}[/]  {table.users[at]:,} {unit}, {table.events[at]:,} events", highlight=False
    )
    if settings.get("scheme") == "static":
        console.print("This run used the static scheme: every pair of categories weighs 1.", highlight=False)
        return
    related = table.top(leaf, k)
    if not related:
        console.print(f"No {unit[:-1]} engaged with another category too.", highlight=False)
        return
    view = Table("related category", box=None, header_style="bold", pad_edge=False)
    for heading in ("cosine", f"{unit} of both", f"{unit} of it"):
        view.add_column(heading, justify="right", no_wrap=True)
    for each in related:
        view.add_row(escape(each.leaf), f"{each.cosine:.3f}", f"{each.both:,}", f"{each.support:,}")
    console.print(view)


def latest_similarity(run: Path) -> Path:
    """The newest similarity below a run's output folder.

    Raises:
        InputError: the run has none.
    """
    found = [path.parent for path in run.glob("**/CategorySimilarity/similarity/*/meta.json")]
    if not found:
        raise InputError(
            f"{run}: no run has left a similarity here; run `cabb run` first or pass --run or --similarity"
        )
    return max(found, key=lambda path: (int(path.name) if path.name.isdigit() else -1, path.name))


def find_leaf(table: SimilarityTable, category: str) -> str:
    """The leaf that `category` names: exactly, but for case, or as the last level of one leaf only.

    Raises:
        InputError: no leaf or several; the message names the nearest.
    """
    wanted = category.strip().casefold()
    leaves = [str(leaf) for leaf in table.leaves]
    whole = [leaf for leaf in leaves if leaf == category.strip()] or [
        leaf for leaf in leaves if leaf.casefold() == wanted
    ]
    named = whole or [leaf for leaf in leaves if leaf.split(" > ")[-1].casefold() == wanted]
    if len(named) == 1:
        return named[0]
    if named:
        raise InputError(
            f"{category!r} is the name of {len(named)} categories: {_quoted(named[:5])}; give the whole path"
        )
    by_name = {name.casefold(): leaf for leaf in leaves for name in (leaf, leaf.split(" > ")[-1])}
    near = [by_name[name] for name in difflib.get_close_matches(wanted, by_name, n=3, cutoff=0.5)]
    near = near or [leaf for leaf in leaves if wanted in leaf.casefold()][:3]
    hint = (
        f"did you mean {_quoted(list(dict.fromkeys(near)))}?"
        if near
        else f"there are {len(leaves)} categories"
    )
    raise InputError(f"no category {category!r}; {hint}")


def _quoted(leaves: list[str]) -> str:
    return ", ".join(f'"{leaf}"' for leaf in leaves)
