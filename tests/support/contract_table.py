"""The table of routes and scopes in docs/contract.md, section 5.3, and what the application's routes need."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route

from api.http.access import Requirement, requirement_of
from tests.support.repository import REPOSITORY

_PROJECT = "/api/v1/workspace/{workspaceId}/projects/{projectName}"
_ROW = re.compile(r"^\| (?:`([a-z:-]+)`(?: and `([a-z:-]+)`)?|(any|no key)) \| (.+) \|$", re.MULTILINE)
_CALL = re.compile(r"`([A-Z]+) ([^` ]+)`")


def documented_scopes() -> dict[tuple[str, str], tuple[str, ...]]:
    """The scopes of each method and path, all of which it needs, as the contract has it: none for any key, or none."""
    page = (REPOSITORY / "docs" / "contract.md").read_text("utf-8")
    (section,) = re.findall(r"^### 5\.3 .*?(?=^### )", page, flags=re.DOTALL | re.MULTILINE)
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for scope, other, _, calls in _ROW.findall(section):
        for method, path in _CALL.findall(calls):
            call = (method, path.replace("…", _PROJECT))
            assert call not in found, f"{call} stands in the table twice"
            found[call] = tuple(each for each in (scope, other) if each)
    return found


def routes(app: FastAPI) -> Iterator[tuple[str, str, Requirement | None]]:
    """Method, path and requirement of each route that a client may call."""
    for route in app.routes:
        if isinstance(route, Route):
            needs = requirement_of(route) if isinstance(route, APIRoute) else None
            for method in (route.methods or set()) - {"HEAD", "OPTIONS"}:
                yield method, route.path.replace(":path}", "}"), needs
