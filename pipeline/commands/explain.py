"""`cabb explain`: why a model says what it says, one subcommand per question."""

from importlib import import_module

import click

_QUESTIONS = {
    "features": "Which groups of features each head relies on, with intervals.",
    "example": "Why one click got its weight and its scores.",
}
"""Name and what it shows; its command is `command` in pipeline/commands/explanations/<name>.py."""


class _Lazy(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(_QUESTIONS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _QUESTIONS:
            return None
        return import_module(f"pipeline.commands.explanations.{name}").command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Questions"):
            formatter.write_dl(list(_QUESTIONS.items()))


@click.group(cls=_Lazy)
def explain() -> None:
    """Say why a model says what it says.

    \b
    Examples:
      cabb explain features                 what each head of the last run relies on
      cabb explain example --row 0          why one click got its weight and its scores
    """
