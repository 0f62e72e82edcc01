"""Logs of Attempts: followed while they are written, and printed for people."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from cli.exits import Exit
from cli.target import Target
from contract.errors import Unavailable

_PATIENCE = 60.0
"""Seconds for an API that does not answer any more: it may be on its way back."""
_COLORS = {"error": "red", "warning": "yellow", "debug": "dim"}


def followed(target: Target, place: str) -> Generator[str]:
    """The lines of a log, until its Attempt has ended. A stream that breaks off is taken up where it was.

    Raises:
        CallboardError: There is no such log, or the API does not come back.
    """
    last, broken_since = "0", 0.0
    while True:
        try:
            with target.remote.lines(f"{target.place(place)}?follow=true", {"last-event-id": last}) as lines:
                for event in events(lines):
                    if event.kind == "end":
                        return
                    yield event.data
                    last, broken_since = event.id or last, 0.0
        except Unavailable:
            broken_since = broken_since or time.monotonic()
            if time.monotonic() - broken_since > _PATIENCE:
                raise
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None
        time.sleep(0.5)


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    kind: str
    data: str
    id: str


def events(lines: Iterable[str]) -> Generator[Event]:
    """The events that lines make. Those without data are only there to keep the connection open."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            yield Event(fields.get("event", "message"), fields["data"], fields.get("id", ""))
        fields = {}


def print_line(line: str, *, as_json: bool) -> None:
    """A line of a log."""
    if as_json:
        typer.echo(line)
        return
    try:
        said: dict[str, Any] = json.loads(line)
        parts = [str(said[name]) for name in ("timestamp", "level", "source", "message")]
    except (ValueError, LookupError, TypeError):  # cut off with its worker
        typer.echo(line)
        return
    *before, message = parts
    text = Text.assemble((" ".join(before), "dim"), " ", (message, _COLORS.get(parts[1], "")))
    Console(soft_wrap=True).print(text)
