"""Printing: tables and colour on a terminal, plain text elsewhere, and JSON where it is requested."""

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

from callboard.schemas.errors import BadRequest

_COLORS = {
    "completed": "green",
    "delivered": "green",
    "READY": "green",
    "ACTIVE": "green",
    "SUCCESS": "green",
    "failed": "red",
    "EXPIRED": "red",
    "FAILURE": "red",
    "canceled": "yellow",
    "CANCELED": "yellow",
    "TERMINATED": "yellow",
    "PAUSED": "yellow",
    "PAUSING": "yellow",
    "interrupted": "yellow",
    "started": "cyan",
    "PENDING": "cyan",
    "RESUMING": "cyan",
    "pending": "dim",
}
_BIDI = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that change the direction of a text, so that it reads as another one."""
_CONTROL = re.compile(rf"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}]")
"""Control sequences that a terminal would obey, such as colours and moves of the cursor. Texts of pages and user code
may have any of them."""
_UNESCAPED = re.compile(rf"[\x7f-\x9f{_BIDI}]")
"""Those that JSON may hold as they are."""

_LAST_COLUMN_MIN = 40
"""Fewest columns of a terminal in which the last column of a table may be cut off."""


def print_json(value: Any) -> None:
    """Print a value as JSON, for people and programs alike."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    text = _UNESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        # Not every terminal has every letter, and half a surrogate pair cannot be encoded at all.
        text = json.dumps(value, indent=2)
    typer.echo(text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print the names of the columns and the rows, one line each, with only the first line of each cell.

    A narrow terminal cuts off the end of a row. If that would leave little of the last column, which has the longest
    texts, each of its cells has a line of its own, below its row.
    """
    console = Console()
    lines = [tuple(columns), *(tuple(_first_line(value) for value in row) for row in rows)]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(columns))]
    room = console.width - sum(width + 2 for width in widths[:-1])
    last_below = console.is_terminal and room < min(widths[-1], _LAST_COLUMN_MIN)
    for number, line in enumerate(lines):
        padded = [text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True)]
        if console.is_terminal:
            cells = [Text(cell, style="" if number else "bold") for cell in padded]
            for cell, text in zip(cells, line, strict=True):
                cell.stylize(_COLORS.get(text, ""))
            printed = [Text("  ").join(cells[:-1] if last_below else cells)]
            if last_below and line[-1]:
                printed.append(Text("    ") + cells[-1])
            for row in printed:
                row.rstrip()
                console.print(row, no_wrap=True, overflow="ellipsis")
        else:
            typer.echo("  ".join(padded).rstrip())


def print_fields(facts: Mapping[str, Any]) -> None:
    """Print names and values, one line each, without those that have no value."""
    known = {name: value for name, value in facts.items() if value not in (None, "", [])}
    width = max(map(len, known), default=0)
    console = Console(soft_wrap=True)
    for name, value in known.items():
        console.print(Text.assemble((f"{name:{width}}  ", "bold"), _styled(strip_control(value))))


def print_text(text: str) -> None:
    """Print a text that comes from elsewhere, without its control sequences."""
    typer.echo(strip_control(text).rstrip("\n"))


def output_folder() -> Path:
    """Return the folder `output` of the current folder, which is made if need be. No version of a project holds it.

    Raises:
        BadRequest: It cannot be made.
    """
    folder = Path("output")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise BadRequest(f"The folder {folder} cannot be made: {error.strerror}. Name a file with -o.") from error
    return folder


@contextmanager
def open_output(file: Path) -> Generator[BinaryIO]:
    """Open a file that the user has named for writing.

    Raises:
        BadRequest: The file cannot be written.
    """
    try:
        with file.open("wb") as out:
            yield out
    except OSError as error:
        raise BadRequest(f"{file} cannot be written: {error.strerror}.") from error


def print_message(text: str, style: str = "") -> None:
    """Print a line for people on stderr, apart from the output of the command."""
    Console(stderr=True, soft_wrap=True).print(Text(strip_control(text), style=style))


def print_heading(text: str) -> None:
    """Print the heading of the output that follows."""
    console = Console(soft_wrap=True)
    console.print()
    console.print(Text(text, style="bold"))


def strip_control(value: Any) -> str:
    """Return a value as text without control sequences for a terminal; line ends and tabs stay."""
    return "" if value is None else _CONTROL.sub("", str(value))


def format_time(text: str | None) -> str:
    """Format a time of an answer: to the second on a terminal, and as it came elsewhere."""
    if text is None or not Console().is_terminal:
        return text or ""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def format_short_time(text: str | None) -> str:
    """Format a time for a table: like `format_time`, but without the date if it is today, and else without seconds."""
    if text is None or not Console().is_terminal:
        return text or ""
    at = datetime.fromisoformat(text).astimezone()
    return at.strftime("%H:%M:%S" if at.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M")


def format_elapsed(began: str | None, ended: str | None) -> str:
    """Format the seconds from `began` to `ended`, or return an empty text if one of them is None."""
    if began is None or ended is None:
        return ""
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    return f"{seconds:.1f} s"


def _styled(text: str) -> Text:
    return Text(text, style=_COLORS.get(text, ""))


def _first_line(value: Any) -> str:
    return strip_control(value).strip().partition("\n")[0]
