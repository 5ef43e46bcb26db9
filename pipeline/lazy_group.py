"""Commands that are imported when they run, so that help stays fast."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose subcommands are modules of a package; a dash in a name is an underscore in its module's.

    Args:
        package: dotted name of the package.
        described: name of every subcommand, and what it does.
        section: what help calls them.
        attribute: what a module calls its command; None: as itself.
    """

    def __init__(
        self,
        *args: Any,
        package: str,
        described: dict[str, str],
        section: str = "Commands",
        attribute: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._package, self._described, self._section = package, described, section
        self._attribute = attribute

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self._described)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self._described:
            return None
        module = name.replace("-", "_")
        return getattr(import_module(f"{self._package}.{module}"), self._attribute or module)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(self._section):
            formatter.write_dl(list(self._described.items()))
