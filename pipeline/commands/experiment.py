"""`cabb experiment`: the papers' questions asked of data, one subcommand per experiment."""

from importlib import import_module

import click

_EXPERIMENTS: dict[str, str] = {
    "relatedness": "Which similarity finds the true relatedness of simulated stores",
    "tables": "Tables 1-3 of the paper on your data, with intervals and verdicts",
    "mal": "multi-attribution learning: label combinations, peers and ablations",
    "rolling": "the same models week after week, pooled, against LightGBM",
    "recovery": "how much of a simulated truth the model finds",
    "windows": "what an attribution window of hours does to labels, base rates and NE",
}
"""Name and what it shows; its command is `command` in pipeline/commands/experiments/<name>.py."""


class _Lazy(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(_EXPERIMENTS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _EXPERIMENTS:
            return None
        return import_module(f"pipeline.commands.experiments.{name}").command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Experiments"):
            formatter.write_dl(list(_EXPERIMENTS.items()))


@click.group(cls=_Lazy)
def experiment() -> None:
    """Ask the papers' questions of your data: tables with seeds and intervals.

    \b
    Example:
      cabb experiment relatedness           which scheme finds the true relatedness
    """
