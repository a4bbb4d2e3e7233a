"""A report as a list of parts, written as Markdown or as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2024; background: #fff; margin: 0; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #d5d9de; padding-bottom: .25rem; }
p { margin: .5rem 0; max-width: 46rem; }
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e6e9ec; }
th { background: #f3f5f7; font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
th:first-child { background: #f3f5f7; }
figure { margin: 1rem 0; }
img { width: 52rem; max-width: 100%; height: auto; display: block; }
figcaption { font-size: .875rem; color: #555c64; max-width: 46rem; }
summary { cursor: pointer; margin: .5rem 0; }
"""


@dataclass(frozen=True)
class Heading:
    """A heading of a section.

    Attributes:
        text: What it says.
    """

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: What it says.
    """

    text: str


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        head: The names of the columns.
        rows: The cells of each row.
        folded: What to click to see it, where it is long; "" for a table that is always seen.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        name: Name of its PNG file.
        png: Its content.
        caption: What it shows.
    """

    name: str
    png: bytes
    caption: str


Part = Heading | Text | Table | Picture


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: What it is about.
        parts: Its parts in order.
    """

    title: str
    parts: Sequence[Part]

    @property
    def pictures(self) -> dict[str, bytes]:
        """The PNG files by name."""
        return {part.name: part.png for part in self.parts if isinstance(part, Picture)}

    def to_markdown(self) -> str:
        """Return the report as Markdown, which refers to its pictures by their names."""
        return "\n\n".join([f"# {_escaped(self.title)}", *map(_markdown, self.parts)]) + "\n"

    def to_html(self) -> str:
        """Return the report as one HTML page, with its pictures in it."""
        title = html.escape(self.title)
        body = "\n".join(map(_html, self.parts))
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
            f"{body}\n</main>\n</body>\n</html>\n"
        )


def _markdown(part: Part) -> str:
    if isinstance(part, Heading):
        return f"## {_escaped(part.text)}"
    if isinstance(part, Text):
        return _escaped(part.text)
    if isinstance(part, Picture):
        return f"![{_escaped(part.caption)}]({part.name})"
    lines = [part.head, [":--", *["--:"] * (len(part.head) - 1)], *part.rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(text: str) -> str:
    return re.sub(r"([|*_`<])", r"\\\1", text)


def _html(part: Part) -> str:
    if isinstance(part, Heading):
        return f"<h2>{html.escape(part.text)}</h2>"
    if isinstance(part, Text):
        return f"<p>{html.escape(part.text)}</p>"
    if isinstance(part, Picture):
        data, caption = base64.b64encode(part.png).decode(), html.escape(part.caption)
        image = f'<img src="data:image/png;base64,{data}" alt="{caption}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in part.head)
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in part.rows
    )
    table = f'<div class="wide"><table>\n<tr>{head}</tr>\n{rows}\n</table></div>'
    if not part.folded:
        return table
    return f"<details><summary>{html.escape(part.folded)}</summary>{table}</details>"
