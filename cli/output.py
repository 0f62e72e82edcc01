"""What commands print: tables and colour on a terminal, plain text elsewhere, JSON where it is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contract.flow.base import clip

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
_CELL = 80
"""Characters of a cell on a terminal."""


def print_json(value: Any) -> None:
    """A value as JSON, for people and programs alike."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Rows below the names of their columns. Elsewhere than on a terminal nothing is cut, boxed or coloured."""
    console = Console()
    if console.is_terminal:
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        console.print(table)
        return
    lines = [tuple(columns), *(tuple(_plain(value) for value in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    for line in lines:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def print_facts(facts: dict[str, Any]) -> None:
    """Names and values, a line each; those without a value are left out."""
    known = {name: value for name, value in facts.items() if value not in (None, "", [])}
    width = max(map(len, known), default=0)
    console = Console(soft_wrap=True)
    for name, value in known.items():
        console.print(Text.assemble((f"{name:{width}}  ", "bold"), _shown(value)))


def say(text: str, style: str = "") -> None:
    """A line for people, beside what is printed: on stderr."""
    Console(stderr=True, soft_wrap=True).print(Text(text, style=style))


def heading(text: str) -> None:
    """The name of what follows."""
    console = Console(soft_wrap=True)
    console.print()
    console.print(Text(text, style="bold"))


def when(text: str | None) -> str:
    """A time of an answer: to the second, where people look; as it came elsewhere."""
    if text is None or not Console().is_terminal:
        return text or ""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def took(began: str | None, ended: str | None) -> str:
    """From then to then, in seconds."""
    if began is None or ended is None:
        return ""
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    return f"{seconds:.1f} s"


def _cell(value: Any) -> Text:
    shown = _shown(value)
    return Text(clip(shown.plain.replace("\n", " "), _CELL), style=shown.style)


def _shown(value: Any) -> Text:
    text = _plain(value)
    return Text(text, style=_COLORS.get(text, ""))


def _plain(value: Any) -> str:
    return "" if value is None else str(value)
