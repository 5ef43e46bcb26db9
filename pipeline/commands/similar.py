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
@click.argument("category", required=False)
@click.option("--item", help="Show an item's closest items instead (scheme i2i).")
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
def similar(category: str | None, item: str | None, run: Path, similarity: Path | None, k: int) -> None:
    """Show the categories most related to CATEGORY, with the evidence for each.

    CATEGORY is a whole path or its last level, if only one category ends with it.

    \b
    Examples:
      cabb similar "Coffee Makers"
      cabb similar "Home > Kitchen > Coffee Makers" -k 3
      cabb similar Drinkware --run runs/my-store
      cabb similar --item G00107
    """
    from components.category_similarity.similarity import SimilarityTable

    if (category is None) == (item is None):
        raise InputError("name a category or an --item")
    home = similarity or latest_similarity(run)
    try:
        table = SimilarityTable.load(home)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{home}: holds no readable similarity ({error}); name the folder with its meta.json"
        ) from None
    if item is not None:
        _show_items(table, item, k)
    else:
        _show_leaves(table, find_leaf(table, category), k)


def _show_leaves(table: SimilarityTable, leaf: str, k: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    settings = table.settings
    unit = f"{settings.unit}s"
    at = table.leaves.tolist().index(leaf)
    console = Console()
    console.print(
        f"[bold]{escape(leaf)}[/]  {table.users[at]:,} {unit}, {table.events[at]:,} events", highlight=False
    )
    console.print(f"[dim]{escape(settings.in_words())}[/]", highlight=False, soft_wrap=True)
    if settings.scheme == "static":
        return
    related = table.top(leaf, k)
    if not related:
        console.print("Related to no other category.", highlight=False)
        return
    view = Table("related category", box=None, header_style="bold", pad_edge=False)
    for heading in ("S", f"{unit} of both", f"{unit} of it"):
        view.add_column(heading, justify="right", no_wrap=True)
    for each in related:
        view.add_row(escape(each.leaf), f"{each.cosine:.3f}", f"{each.both:,}", f"{each.support:,}")
    console.print(view)


def _show_items(table: SimilarityTable, item: str, k: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if table.items is None:
        raise InputError(f"scheme {table.settings.scheme} relates categories, not items; name a category")
    try:
        nearest = table.items.nearest(item, k)
    except KeyError:
        raise InputError(
            f"no embedding of item {item!r}: fewer than {table.settings.item_support} {table.settings.unit}s "
            "engaged with it; its category relates it"
        ) from None
    (users,) = table.items.support(item)
    console = Console()
    console.print(f"[bold]{escape(item)}[/]  {users:,} {table.settings.unit}s", highlight=False)
    view = Table("closest item", box=None, header_style="bold", pad_edge=False)
    for heading in ("S", f"{table.settings.unit}s of it"):
        view.add_column(heading, justify="right", no_wrap=True)
    for name, cosine, support in nearest:
        view.add_row(escape(name), f"{cosine:.3f}", f"{support:,}")
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
