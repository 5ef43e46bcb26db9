"""One self-contained HTML page: an answer in sentences, then sections of charts and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources

import jinja2
from markupsafe import Markup


@dataclass(frozen=True)
class Table:
    """Cells as text; every column but the first is set as numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading, what to know before reading on, charts beside each other (caption, SVG), tables."""

    title: str
    lead: Sequence[str] = ()
    charts: Sequence[tuple[str, Markup]] = ()
    tables: Sequence[Table] = field(default_factory=tuple)


def render(title: str, subtitle: str, answer: str, sentences: Sequence[str], sections: Sequence[Section]):
    """HTML with nothing to load from elsewhere. Equal arguments give equal bytes; text is escaped."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = resources.files(__package__).joinpath("findings_page.html.j2").read_text(encoding="utf-8")
    style = resources.files("components.run_report").joinpath("report.css").read_text(encoding="utf-8")
    return environment.from_string(page).render(
        title=title,
        subtitle=subtitle,
        answer=answer,
        sentences=sentences,
        sections=sections,
        style=Markup(style),
    )
