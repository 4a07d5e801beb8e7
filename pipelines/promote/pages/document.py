"""Sections of text, tables and code, written as Markdown or as HTML."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from models.errors import one_line

MARKDOWN_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#"})


@dataclass(frozen=True)
class Table:
    """Rows of text, the first cell of which names the row; `champion` is the name of one that stands out."""

    rows: Sequence[Sequence[str]]
    heading: Sequence[str] = ()
    champion: str = ""


@dataclass(frozen=True)
class Code:
    """Source text in `language`."""

    text: str
    language: str


Block = str | Table | Code


@dataclass(frozen=True)
class Section:
    """A title, and paragraphs of plain text, tables and code under it."""

    title: str
    blocks: Sequence[Block]


def markdown(sections: Sequence[Section]) -> str:
    """The sections in Markdown, with a second-level heading each; text is escaped."""
    parts = [part for section in sections for part in (f"## {section.title}", *map(_markdown, section.blocks))]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Table):
        heading = block.heading or [""] * len(block.rows[0])
        lines = [heading, ["---"] * len(heading), *([plain(cell) for cell in row] for row in block.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if isinstance(block, Code):
        return f"```{block.language}\n{block.text}\n```"
    return plain(block)


def plain(text: str) -> str:
    """Text without meaning for Markdown, on one line."""
    return one_line(text).translate(MARKDOWN_SPECIAL)


def code(text: str) -> str:
    """Text as code in Markdown, on one line, between more backticks than it has in a row."""
    text = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def html(sections: Sequence[Section], level: int) -> str:
    """The sections in HTML, with headings of this level."""
    return "\n".join(_html_section(section, level) for section in sections)


def _html_section(section: Section, level: int) -> str:
    blocks = "\n".join(_html(block, section.title) for block in section.blocks)
    return f"<h{level}>{escape(section.title)}</h{level}>\n{blocks}"


def _html(block: Block, title: str) -> str:
    if isinstance(block, Table):
        return table(block, title)
    if isinstance(block, Code):
        return f'<pre tabindex="0"><code>{escape(block.text)}</code></pre>'
    return f"<p>{escape(block)}</p>"


def table(content: Table, caption: str) -> str:
    """A table in a region that scrolls by itself where the screen is too narrow; `caption` names it for readers."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in content.heading)
    rows = "\n".join(_row(row, content.champion) for row in content.rows)
    body = f"{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>\n{rows}\n</tbody>"
    name = escape(caption, quote=True)
    return f'<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table>{body}</table></div>'


def _row(row: Sequence[str], champion: str) -> str:
    style = ' class="champion"' if champion and row[0] == champion else ""
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
    return f'<tr{style}><th scope="row">{escape(row[0])}</th>{cells}</tr>'
