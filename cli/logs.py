"""Logs of Attempts: as they are stored, or followed while they are written; and printed for people."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from cli.output import plain
from cli.with_api import Target
from schemas.errors import Unavailable

_PATIENCE = 60.0
"""Seconds for an API that does not answer any more: it may be on its way back."""
_COME_AGAIN_AFTER = 0.5
_COLORS = {"error": "red", "warning": "yellow", "debug": "dim"}


def stored(target: Target, place: str) -> Generator[str]:
    """The lines of a log so far. Raises CallboardError: there is no such log, or the API does not answer."""
    with target.remote.lines(target.place(place)) as lines:
        yield from lines


def followed(target: Target, place: str) -> Generator[str]:
    """The lines of a log, until its Attempt has ended. A stream that breaks off is taken up where it was.

    Raises:
        CallboardError: There is no such log, or the API does not answer, or not again within a minute.
    """
    last = "0"
    give_up_at = time.monotonic()  # where nobody answers the first time
    while True:
        try:
            with target.remote.lines(f"{target.place(place)}?follow=true", {"last-event-id": last}) as lines:
                give_up_at = math.inf
                for event in events(lines):
                    if event.kind == "end":
                        return
                    yield event.data
                    last = event.id
        except Unavailable:
            give_up_at = min(give_up_at, time.monotonic() + _PATIENCE)
            if time.monotonic() > give_up_at:
                raise
        time.sleep(_COME_AGAIN_AFTER)


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


def print_lines(lines: Iterable[str]) -> None:
    """Lines of a log, each as soon as it is there."""
    console = Console(soft_wrap=True)
    for line in lines:
        try:
            said: dict[str, Any] = json.loads(line)
            at, level, source, message = (str(said[name]) for name in ("timestamp", "level", "source", "message"))
        except (ValueError, LookupError, TypeError):  # cut off with its worker
            typer.echo(plain(line))
            continue
        if console.is_terminal:
            at = datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S.%f")[:-3]
            begin = f"{at} {level:7} {plain(source)} "
            console.print(Text.assemble((begin, "dim"), (plain(message).rstrip("\n"), _COLORS.get(level, ""))))
        else:  # a log can have a hundred thousand lines
            typer.echo(f"{at} {level} {plain(source)} {plain(message).rstrip('\n')}")
