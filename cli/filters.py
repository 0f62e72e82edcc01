"""`-f NAME=VALUE` of lists."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from schemas.errors import BadRequest

Filters = Annotated[
    list[str] | None,
    typer.Option("--filter", "-f", metavar="NAME=VALUE", help="Only those. May be given several times."),
]

_FORM = re.compile(r"([A-Za-z_]+)\s*(=|>=|<|>|<=)\s*(.+)", re.DOTALL)

_RUNS = {
    ("status", "="): "status",
    ("type", "="): "type",
    ("runtype", "="): "type",
    ("api", "="): "api",
    ("apiname", "="): "api",
    ("authsession", "="): "authSession",
    ("startedafter", "="): "startedAfter",
    ("startedbefore", "="): "startedBefore",
    ("startedat", ">="): "startedAfter",
    ("startedat", "<"): "startedBefore",
}
_WORDS = ("status", "type")
"""Of which it does not matter whether they are in capitals."""


def run_filters(given: Sequence[str] | None) -> dict[str, list[str]]:
    """The query of a list of Runs. Raises BadRequest."""
    query: dict[str, list[str]] = {}
    for text in given or ():
        name, operator, value = _split(text)
        field = _RUNS.get((_plain(name), operator))
        if field is None:
            raise BadRequest(
                f"-f {text}: Runs are filtered by status=, type=, api=, authSession=, startedAfter= and startedBefore="
                " (or started_at>= and started_at<)."
            )
        query.setdefault(field, []).append(value.lower() if field in _WORDS else value)
    return query


def matching(given: Sequence[str] | None, fields: Mapping[str, str]) -> dict[str, set[str]]:
    """For lists that the API does not filter: the values that each field may have, in lower case.

    Args:
        given: As typed.
        fields: From the names that people may use, in lower case, to the fields of an answer.

    Raises:
        BadRequest: There is no such field.
    """
    wanted: dict[str, set[str]] = {}
    for text in given or ():
        name, operator, value = _split(text)
        if operator != "=" or _plain(name) not in fields:
            raise BadRequest(f"-f {text}: expected one of {', '.join(f'{name}=' for name in fields)}.")
        wanted.setdefault(fields[_plain(name)], set()).add(value.lower())
    return wanted


def _split(text: str) -> tuple[str, str, str]:
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadRequest(f"-f {text}: expected NAME=VALUE, such as status=failed.")
    name, operator, value = match.groups()
    return name, operator, value


def _plain(name: str) -> str:
    """`auth_session` and `authSession` are one."""
    return name.replace("_", "").lower()
