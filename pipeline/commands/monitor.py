"""`cabb monitor`: what serving sees, and how well its scores hold."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from schemas.errors import InputError


@click.command()
@click.argument("log", type=click.Path(path_type=Path))
@click.option(
    "--serving-dir",
    type=click.Path(path_type=Path),
    help="Where versions are published [the one below runs/cabb].",
)
@click.option(
    "--version", type=click.IntRange(1), help="Whose scores to look at [the version in production]."
)
@click.option("--events", multiple=True, help="Log files that hold the scored clicks and what followed.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("monitor.html"),
    show_default=True,
    help="The page to write; it opens without a network.",
)
def monitor(
    log: Path, serving_dir: Path | None, version: int | None, events: tuple[str, ...], output: Path
) -> None:
    """Compare the scored rows in LOG with what the version learned from, and with what happened.

    LOG is the folder of a client's score log. Features are compared with the statistics of the training split
    by the distances and limits of the schema. With --events every click finds the last score of its user and
    item, and normalised entropy and calibration are shown by day.

    \b
    Examples:
      cabb monitor logs/scores
      cabb monitor logs/scores --events "logs/2016-10-1*.parquet" --output monitor.html
    """
    from rich.console import Console

    from components.monitoring.logged import columns_of, read_log
    from components.monitoring.page import render
    from components.monitoring.skew import skew
    from pipeline.commands.serve import default_serving_dir
    from schemas.lineage import production, versions
    from schemas.output import write_whole
    from serving.score_log import VERSION

    home = serving_dir or default_serving_dir()
    found = {each.number: each for each in versions(home)}
    chosen = found.get(version) if version else production(home)
    if chosen is None:
        raise InputError(f"{home}: no version {version or 'at all'}; there are: {sorted(found) or 'none'}")
    examples = read_log(log)
    of = columns_of(examples, [VERSION])[VERSION].to_list()
    examples = [each for each, number in zip(examples, of, strict=True) if number == chosen.number]
    if not examples:
        raise InputError(
            f"{log}: no row was scored by version {chosen.number}; they are of {sorted(set(of))}"
        )
    with _without_notes():
        distances = skew(examples, chosen.path)
    outcomes = _outcomes(examples, chosen.path, list(events)) if events else []
    write_whole(output, render(f"version {chosen.number}", len(examples), distances, outcomes))

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"version {chosen.number}: {len(examples):,} scored rows")
    for each in distances:
        if not each.value <= each.threshold:
            console.print(
                f"moved: {each.feature}: {each.measure} {each.value:.3f} (limit {each.threshold:g})"
            )
    for each in outcomes:
        if each["day"] is None:
            console.print(
                f"{each['output']}: {each['clicks']:,} clicks, NE {each['ne']:.4f}, "
                f"calibration {each['calibration']:.3f}, base rate {each['base_rate']:.1%}"
            )
    console.print(f"page: {output}")


@contextmanager
def _without_notes() -> Iterator[None]:
    """Drops what TFDV's library writes to standard error, a line per column."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _outcomes(examples: list[bytes], version: Path, events: list[str]) -> list[dict[str, Any]]:
    from components.feature_state.snapshot import Snapshot
    from components.monitoring.logged import columns_of
    from components.monitoring.outcomes import KEYS, clicks_with_outcomes, judged, with_scores
    from components.session_example_gen.checked_logs import read_logs
    from components.session_example_gen.formats import layout_of
    from components.session_example_gen.sessions import to_sessions
    from models.features import LABEL_OF_OUTPUT
    from schemas.lineage import FEATURE_STATE_DIR
    from serving.requests import DESCRIPTION_FILE

    snapshot = Snapshot(version / FEATURE_STATE_DIR)
    facts = snapshot.facts
    source = facts.source.model_copy(update={"events": events})
    separator = layout_of(source).category_separator
    sessions = to_sessions(read_logs(source).events, snapshot.products, source, separator)
    clicks = clicks_with_outcomes(sessions, source, facts.labels)
    scored = columns_of(examples, [*KEYS, *LABEL_OF_OUTPUT])
    if scored[KEYS[0]].null_count() == scored.height:
        raise InputError("the scored rows carry no user_id: score with it in the columns, and log again")
    joined = with_scores(clicks, scored, timedelta(minutes=source.session_gap_minutes))
    if not joined.height:
        raise InputError("no click of the events was scored before it; give the events of the scored hours")
    description = json.loads((version / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    return judged(joined, description.get("labels") or LABEL_OF_OUTPUT)
