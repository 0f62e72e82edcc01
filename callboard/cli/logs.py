"""Reading logs of Attempts, as stored or while they are written, and printing them for people."""

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

from callboard.cli.api_client import ApiClient
from callboard.cli.output import strip_control
from callboard.schemas.errors import Unavailable

_RECONNECT_SECONDS = 60.0
"""Seconds to wait for an API that does not answer any more, as it may be restarting."""
_RECONNECT_DELAY = 0.5
_COLORS = {"error": "red", "warning": "yellow", "debug": "dim"}


def stream_stored(target: ApiClient, place: str) -> Generator[str]:
    """Yield the lines of a log so far.

    Raises:
        CallboardError: There is no such log, or the API does not answer.
    """
    with target.stream_lines(place) as lines:
        yield from lines


def stream_followed(target: ApiClient, place: str) -> Generator[str]:
    """Yield the lines of a log until its Attempt has ended, and resume a stream that breaks off.

    Raises:
        CallboardError: There is no such log, or the API does not answer, or does not answer again within a minute.
    """
    last = "0"
    give_up_at = time.monotonic()  # If the API does not answer the first time, there is no second try.
    while True:
        try:
            with target.stream_lines(f"{place}?follow=true", {"last-event-id": last}) as lines:
                give_up_at = math.inf
                for event in parse_events(lines):
                    if event.kind == "end":
                        return
                    yield event.data
                    last = event.id
        except Unavailable:
            give_up_at = min(give_up_at, time.monotonic() + _RECONNECT_SECONDS)
            if time.monotonic() > give_up_at:
                raise
        time.sleep(_RECONNECT_DELAY)


@dataclass(frozen=True)
class ServerSentEvent:
    """A server-sent event."""

    kind: str
    data: str
    id: str


def parse_events(lines: Iterable[str]) -> Generator[ServerSentEvent]:
    """Yield the events in `lines`, without those that have no data and only keep the connection open."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            yield ServerSentEvent(fields.get("event", "message"), fields["data"], fields.get("id", ""))
        fields = {}


def print_log(lines: Iterable[str]) -> None:
    """Print the lines of a log, each as soon as it comes."""
    console = Console(soft_wrap=True)
    for line in lines:
        try:
            entry: dict[str, Any] = json.loads(line)
            at, level, source, message = (str(entry[name]) for name in ("timestamp", "level", "source", "message"))
        except (ValueError, LookupError, TypeError):  # The line was cut off when its worker died.
            typer.echo(strip_control(line))
            continue
        if console.is_terminal:
            at = datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S.%f")[:-3]
            begin = f"{at} {level:7} {strip_control(source)} "
            console.print(Text.assemble((begin, "dim"), (strip_control(message).rstrip("\n"), _COLORS.get(level, ""))))
        else:  # This avoids rich, as a log can have a hundred thousand lines.
            typer.echo(f"{at} {level} {strip_control(source)} {strip_control(message).rstrip('\n')}")
