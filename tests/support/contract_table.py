"""What the application's routes need, and the tables that say so: docs/contract.md, section 5.3, and docs/pages.md."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route

from api.http.access import Requirement, requirement_of
from tests.support.repository import REPOSITORY

# Page, heading, and what `…` stands for there.
_TABLES = (
    ("contract.md", "### 5.3 ", "/api/v1/workspace/{workspaceId}/projects/{projectName}"),
    ("pages.md", "## Addresses and scopes", "/projects/{projectName}"),
)
_ROW = re.compile(r"^\| (?:`([a-z:-]+)`(?: and `([a-z:-]+)`)?|(any|no key)) \| (.+) \|$", re.MULTILINE)
_CALL = re.compile(r"`([A-Z]+) ([^` ]+)`")


def documented_scopes() -> dict[tuple[str, str], tuple[str, ...]]:
    """The scopes of each method and path, all of which it needs, as the docs have it: none for any key, or none."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for page, heading, project in _TABLES:
        text = (REPOSITORY / "docs" / page).read_text("utf-8")
        _, _, section = text.partition(f"\n{heading}")
        for scope, other, _, calls in _ROW.findall(re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0]):
            for method, path in _CALL.findall(calls):
                call = (method, path.replace("…", project))
                assert call not in found, f"{call} stands in the tables twice"
                found[call] = tuple(each for each in (scope, other) if each)
    return found


def routes(app: FastAPI) -> Iterator[tuple[str, str, Requirement | None]]:
    """Method, path and requirement of each route that a client may call."""
    for route in app.routes:
        if isinstance(route, Route):
            needs = requirement_of(route) if isinstance(route, APIRoute) else None
            for method in (route.methods or set()) - {"HEAD", "OPTIONS"}:
                yield method, route.path.replace(":path}", "}"), needs
