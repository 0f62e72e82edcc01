"""The site of the benchmark, with a page of 50 items served from memory: `python -m tests.bench.site PORT`."""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

_ITEMS = "".join(
    f"<li>Item {number}: a thing of some length, so that there is something to read</li>" for number in range(50)
)
_PAGE = HTMLResponse(f"<!doctype html><title>Bench</title><h1>Fifty items</h1><ul>{_ITEMS}</ul>")


async def page(_: Request) -> HTMLResponse:
    """Return the page of 50 items."""
    return _PAGE


async def login(_: Request) -> HTMLResponse:
    """Log in whoever requests it, by setting a cookie."""
    answer = HTMLResponse("<!doctype html><title>Welcome</title>")
    answer.set_cookie("session", "of-the-bench", httponly=True)
    return answer


async def account(request: Request) -> HTMLResponse:
    """Answer 200 to clients that are logged in, and 401 to others."""
    known = request.cookies.get("session") == "of-the-bench"
    return HTMLResponse("<!doctype html><title>Account</title>", status_code=200 if known else 401)


_ROUTES = [Route("/", page), Route("/login", login), Route("/account", account)]

if __name__ == "__main__":
    uvicorn.run(Starlette(routes=_ROUTES), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
