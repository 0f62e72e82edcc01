"""The option `-f NAME=VALUE` of commands that list something."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from callboard.schemas.errors import BadRequest

Filters = Annotated[
    list[str] | None,
    typer.Option("--filter", "-f", metavar="NAME=VALUE", help="Filter the list; repeatable."),
]

_FORM = re.compile(r"([A-Za-z_]+)\s*(=|>=|<|>|<=)\s*(.+)", re.DOTALL)

_RUNS = {
    ("status", "="): "status",
    ("type", "="): "type",
    ("runtype", "="): "type",
    ("runid", "="): "runId",
    ("api", "="): "api",
    ("apiname", "="): "api",
    ("authsession", "="): "authSession",
    ("jobid", "="): "jobId",
    ("jobrunid", "="): "jobRunId",
    ("errorcode", "="): "errorCode",
    ("tag", "="): "tag",
    ("q", "="): "q",
    ("startedafter", "="): "startedAfter",
    ("startedbefore", "="): "startedBefore",
    ("startedat", ">="): "startedAfter",
    ("startedat", "<"): "startedBefore",
}
_AUDIT = ("actor", "action", "project", "since", "until")
_CASE_INSENSITIVE = ("status", "type")
"""Filters whose values are not case-sensitive."""


def parse_run_filters(given: Sequence[str] | None) -> dict[str, list[str]]:
    """Return the query parameters of a list of Runs.

    Raises:
        BadRequest: A filter is not one that Runs have.
    """
    query: dict[str, list[str]] = {}
    for text in given or ():
        name, operator, value = _split(text)
        field = _RUNS.get((_normalize(name), operator))
        if field is None:
            raise BadRequest(
                f"-f {text}: unknown filter. Use status=, type=, runId=, api=, authSession=, jobId=, jobRunId=,"
                " errorCode=, tag=, q=, startedAfter= or startedBefore= (or started_at>= and started_at<)."
            )
        query.setdefault(field, []).append(value.lower() if field in _CASE_INSENSITIVE else value)
    return query


def parse_audit_filters(given: Sequence[str] | None) -> dict[str, list[str]]:
    """Return the query parameters of a list of the audit.

    Raises:
        BadRequest: A filter is not one that entries have.
    """
    query: dict[str, list[str]] = {}
    for text in given or ():
        name, operator, value = _split(text)
        if operator != "=" or _normalize(name) not in _AUDIT:
            raise BadRequest(f"-f {text}: expected one of {', '.join(f'{name}=' for name in _AUDIT)}.")
        query.setdefault(_normalize(name), []).append(value)
    return query


def parse_field_filters(given: Sequence[str] | None, fields: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the values, in lower case, that each field may have, for lists that the API does not filter.

    Args:
        given: The filters as typed.
        fields: The fields of an answer, by the names that people may use, in lower case.

    Raises:
        BadRequest: A filter has no such form, or there is no such field.
    """
    wanted: dict[str, set[str]] = {}
    for text in given or ():
        name, operator, value = _split(text)
        if operator != "=" or _normalize(name) not in fields:
            raise BadRequest(f"-f {text}: expected one of {', '.join(f'{name}=' for name in fields)}.")
        wanted.setdefault(fields[_normalize(name)], set()).add(value.lower())
    return wanted


def _split(text: str) -> tuple[str, str, str]:
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadRequest(f"-f {text}: expected NAME=VALUE, such as status=failed.")
    name, operator, value = match.groups()
    return name, operator, value


def _normalize(name: str) -> str:
    """Return the name without underscores and in lower case: `auth_session` and `authSession` are the same."""
    return name.replace("_", "").lower()
