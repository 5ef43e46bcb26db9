"""`cabb experiment`: the papers' questions asked of data, one subcommand per experiment."""

import click

from pipeline.lazy_group import LazyGroup

_EXPERIMENTS: dict[str, str] = {
    "relatedness": "Which similarity finds the true relatedness of simulated stores",
    "tables": "Tables 1-3 of the paper on your data, with intervals and verdicts",
    "mal": "multi-attribution learning: label combinations, peers and ablations",
    "rolling": "the same models week after week, pooled, against LightGBM",
    "recovery": "how much of a simulated truth the model finds",
    "windows": "what an attribution window of hours does to labels, base rates and NE",
}
"""Name and what it shows; its command is `command` in pipeline/commands/experiments/<name>.py."""


@click.group(
    cls=LazyGroup,
    package="pipeline.commands.experiments",
    described=_EXPERIMENTS,
    section="Experiments",
    attribute="command",
)
def experiment() -> None:
    """Ask the papers' questions of your data: tables with seeds and intervals.

    \b
    Example:
      cabb experiment relatedness           which scheme finds the true relatedness
    """
