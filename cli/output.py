"""What commands print: tables and colour on a terminal, plain text elsewhere, JSON where it is asked for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from schemas.errors import BadRequest

_COLORS = {
    "completed": "green",
    "delivered": "green",
    "READY": "green",
    "failed": "red",
    "EXPIRED": "red",
    "canceled": "yellow",
    "interrupted": "yellow",
    "started": "cyan",
    "PENDING": "cyan",
    "pending": "dim",
}
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal would obey: colours, moves of the cursor, whatever a page or user code has put into its words."""


def print_json(value: Any) -> None:
    """A value as JSON, for people and programs alike."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:  # not every terminal has every letter, and half a surrogate pair has no bytes at all
        text = json.dumps(value, indent=2)
    typer.echo(text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Rows below the names of their columns, a line each: of a cell its first one. A narrow terminal cuts the end."""
    console = Console()
    lines = [tuple(columns), *(tuple(_line(value) for value in row) for row in rows)]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(columns))]
    for number, line in enumerate(lines):
        padded = [text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True)]
        if console.is_terminal:
            cells = [Text(cell, style="" if number else "bold") for cell in padded]
            for cell, text in zip(cells, line, strict=True):
                cell.stylize(_COLORS.get(text, ""))
            row = Text("  ").join(cells)
            row.rstrip()
            console.print(row, no_wrap=True, overflow="ellipsis")
        else:
            typer.echo("  ".join(padded).rstrip())


def print_facts(facts: Mapping[str, Any]) -> None:
    """Names and values, a line each; those without a value are left out."""
    known = {name: value for name, value in facts.items() if value not in (None, "", [])}
    width = max(map(len, known), default=0)
    console = Console(soft_wrap=True)
    for name, value in known.items():
        console.print(Text.assemble((f"{name:{width}}  ", "bold"), _shown(plain(value))))


def print_text(text: str) -> None:
    """Lines of somebody else's."""
    typer.echo(plain(text).rstrip("\n"))


@contextmanager
def writing(file: Path) -> Generator[BinaryIO]:
    """A file that the user has named. Raises BadRequest: it cannot be written."""
    try:
        with file.open("wb") as out:
            yield out
    except OSError as error:
        raise BadRequest(f"{file} cannot be written: {error.strerror}.") from error


def say(text: str, style: str = "") -> None:
    """A line for people, beside what is printed: on stderr."""
    Console(stderr=True, soft_wrap=True).print(Text(plain(text), style=style))


def heading(text: str) -> None:
    """The name of what follows."""
    console = Console(soft_wrap=True)
    console.print()
    console.print(Text(text, style="bold"))


def plain(value: Any) -> str:
    """A value as text that does nothing to a terminal but to stand there. Line ends and tabs stay."""
    return "" if value is None else _CONTROL.sub("", str(value))


def when(text: str | None) -> str:
    """A time of an answer: to the second, where people look; as it came elsewhere."""
    if text is None or not Console().is_terminal:
        return text or ""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def moment(text: str | None) -> str:
    """The same in a table: today's without the day."""
    if text is None or not Console().is_terminal:
        return text or ""
    at = datetime.fromisoformat(text).astimezone()
    return at.strftime("%H:%M:%S" if at.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M")


def took(began: str | None, ended: str | None) -> str:
    """From then to then, in seconds."""
    if began is None or ended is None:
        return ""
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    return f"{seconds:.1f} s"


def _shown(text: str) -> Text:
    return Text(text, style=_COLORS.get(text, ""))


def _line(value: Any) -> str:
    return plain(value).strip().partition("\n")[0]
