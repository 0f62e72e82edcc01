"""The option `-f NAME=VALUE` of commands that list something."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated

import typer

from schemas.errors import BadRequest

Filters = Annotated[
    list[str] | None,
    typer.Option("--filter", "-f", metavar="NAME=VALUE", help="Filter the list; repeatable."),
]

RUN_FILTERS = ("status", "type", "api", "authSession", "jobId", "jobRunId", "startedAfter", "startedBefore")
_WORDS = ("status", "type")
"""Filters whose values are words of Callboard, which people may write in any case."""


def parse_filters(given: Sequence[str] | None, names: Collection[str]) -> dict[str, list[str]]:
    """Return the values of each filter, by its name.

    Raises:
        BadRequest: A filter has another form, or a name that is none of `names`.
    """
    wanted: dict[str, list[str]] = {}
    for text in given or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if name not in names or not equals or not value:
            raise BadRequest(f"-f {text}: expected one of {', '.join(f'{name}=VALUE' for name in names)}.")
        wanted.setdefault(name, []).append(value.lower() if name in _WORDS else value)
    return wanted
