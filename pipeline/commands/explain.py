"""`cabb explain`: why a model says what it says, one subcommand per question."""

import click

from pipeline.lazy_group import LazyGroup

_QUESTIONS = {
    "features": "Which groups of features each head relies on, with intervals.",
    "example": "Why one click got its weight and its scores.",
}
"""Name and what it shows; its command is `command` in pipeline/commands/explanations/<name>.py."""


@click.group(
    cls=LazyGroup,
    package="pipeline.commands.explanations",
    described=_QUESTIONS,
    section="Questions",
    attribute="command",
)
def explain() -> None:
    """Say why a model says what it says.

    \b
    Examples:
      cabb explain features                 what each head of the last run relies on
      cabb explain example --row 0          why one click got its weight and its scores
    """
