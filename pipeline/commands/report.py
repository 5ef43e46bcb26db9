"""`cabb report`: the verdict and the metrics of a finished run, and where its page is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.run_report import formats
from components.run_report.results import PAGE_FILE, load_results

_INTERVAL_FROM = 118
"""Terminal width at which the intervals fit."""
_STYLES = {"better": "green", "worse": "red", "tie": "dim", "not defined": "dim"}
_HEADLINES = {"pushed": "bold green", "blocked": "bold red", "held": "bold yellow"}


@click.command()
@click.option(
    "--run",
    "run",
    type=click.Path(path_type=Path),
    default=Path("runs/cabb/runs/latest"),
    show_default=True,
    help="Folder of a run, or its results.json.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def report(run: Path, open_page: bool) -> None:
    """Show the verdict and metrics of the last run, and its page.

    \b
    Examples:
      cabb report
      cabb report --open
      cabb report --run my-results/runs/latest
    """
    console = Console()
    print_results(load_results(run), console)
    page = (run if run.is_dir() else run.parent) / PAGE_FILE
    console.print(f"report: {page}", soft_wrap=True, highlight=False, markup=False)
    if open_page:
        click.launch(page.resolve().as_uri())


def print_results(results: Mapping[str, Any], console: Console) -> None:
    """Prints the verdict in words, the reason of every check, and a metric table against the baseline.

    Args:
        results: results.json as a mapping.
        console: where to; wide tables are cut to its width.
    """
    verdict = results["verdict"]
    console.print()
    console.print(Text(verdict["headline"], style=_HEADLINES[verdict["state"]]))
    for sentence in verdict["sentences"]:
        console.print(Text(sentence))
    for check in verdict["checks"]:
        mark, style = ("passed ", "green") if check["passed"] else ("blocked", "red")
        console.print(Text.assemble(("  " + mark, style), "  ", check["words"]), soft_wrap=True)
    said = {check["words"] for check in verdict["checks"]}
    for reason in verdict["reasons"]:
        if reason not in said:
            console.print(Text(f"  {reason}"), soft_wrap=True)
    console.print()
    console.print(_table(results, console.width))
    for head in results["heads"]:
        for sentence in formats.undefined_words(head["candidate"]["undefined"]):
            console.print(Text(f"{head['output']}: {sentence}", style="dim"))
    if results["outage"]:
        console.print(Text(f"outage: {results['outage']}", style="yellow"))
    if verdict["path"]:
        console.print(Text(f"version {verdict['version']}: {verdict['path']}"), soft_wrap=True)


def _table(results: Mapping[str, Any], width: int) -> Table:
    """Metrics beside the baseline's NE; a narrow terminal leaves the intervals to the page."""
    level = formats.percent(results["method"]["level"], 0)
    titles = ["prediction", "base rate", "clicks", "NE", results["baseline"]["short"], "change"]
    titles += ["AUC", "GAUC", "calibration"]
    titles += [f"{level} interval of change", "GAUC covers"] if width >= _INTERVAL_FROM else []
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    for head in results["heads"]:
        table.add_row(*_cells(head)[: len(titles)])
        if head["alpha_weighted"]:
            table.add_row(*_alpha_cells(head["alpha_weighted"]), style="dim")
    return table


def _cells(head: Mapping[str, Any]) -> list[str | Text]:
    new, old, change = head["candidate"], head["baseline"] or {}, head["change"]
    return [
        head["output"],
        _short(formats.percent(head["base_rate"])),
        formats.count(head["rows"]),
        _short(formats.decimal(new["ne"])),
        _short(formats.decimal(old.get("ne"))),
        Text(_short(formats.change(change["relative"])), style=_STYLES[change["words"]]),
        _short(formats.decimal(new["auc"])),
        _short(formats.decimal(new["gauc"])),
        _short(formats.decimal(new["calibration"], 2)),
        _short(formats.change_interval(change["interval"])),
        _short(formats.percent(new["gauc_coverage"])),
    ]


def _alpha_cells(weighted: Mapping[str, Any]) -> list[str]:
    new, old = weighted["candidate"], weighted["baseline"] or {}
    return [
        "  by alpha",
        _short(formats.percent(weighted["base_rate"])),
        "",
        _short(formats.decimal(new["ne"])),
        _short(formats.decimal(old.get("ne"))),
        _short(formats.change(weighted["change"])),
        "",
        "",
        _short(formats.decimal(new["calibration"], 2)),
    ]


def _short(text: str) -> str:
    """Tables hold a dash for what the lines below them explain."""
    return "\N{EN DASH}" if text == formats.NOT_DEFINED else text
