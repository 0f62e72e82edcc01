"""Requests that last: they do not outlast their key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from fastapi import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from api.dashboard.auth import SessionDep
from api.http import middleware
from callboard.schemas.errors import Unavailable
from callboard.storage import believed
from tests.support.api_in_process import Api
from tests.support.dashboard_client import signed_in_client


@pytest.fixture
def revoke(api: Api, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(middleware, "_CHECKED_EVERY", 0)
    monkeypatch.setattr(believed, "_READ_TIMEOUT", 60)  # a store that is too slow breaks nothing off

    async def revoke(key: str) -> None:
        await api.services.stored_keys.revoke(key.split("_")[1])

    return revoke


async def ask(api: Api, key: str, method: str, path: str = "/api/lasting", cookie: str = "") -> tuple[list[Any], bool]:
    """The messages of the answer, and whether it came to its end."""
    sent: list[Any] = []

    body = [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not body:
            await asyncio.Event().wait()  # The client stays, and says no more.
        return body.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"cookie", cookie.encode())] if cookie else [(b"x-api-key", key.encode())],
        "client": ("127.0.0.1", 1),
    }
    await api.app(scope, receive, send)
    return sent, not sent[-1].get("more_body")


async def test_a_stream_is_broken_off_once_its_key_is_revoked(api: Api, revoke: Any):
    key = await api.make_key("runs:read")

    async def lines() -> AsyncGenerator[bytes]:
        yield b"first"
        await revoke(key)
        yield b"second"

    async def stream() -> Response:
        return StreamingResponse(lines())

    api.app.add_api_route("/api/lasting", stream)
    sent, is_whole = await ask(api, key, "GET")
    assert [message.get("body") for message in sent[1:]] == [b"first"]
    assert not is_whole


async def test_a_stream_of_the_pages_is_broken_off_once_its_session_has_ended(api: Api, revoke: Any):
    pages = await signed_in_client(api)

    async def lines() -> AsyncGenerator[bytes]:
        yield b"first"
        await pages.send_form("/sign-out")
        yield b"second"

    async def stream(_: SessionDep) -> Response:
        return StreamingResponse(lines())

    api.app.add_api_route("/lasting", stream)
    sent, is_whole = await ask(api, "", "GET", "/lasting", f"callboard-session={pages.cookies['callboard-session']}")
    assert [message.get("body") for message in sent[1:]] == [b"first"]
    assert not is_whole


async def test_an_answer_that_comes_late_is_401(api: Api, revoke: Any):
    key = await api.make_key("runs:read")

    async def wait() -> Response:
        await revoke(key)
        return JSONResponse({"result": "secret"})

    api.app.add_api_route("/api/lasting", wait)
    sent, _ = await ask(api, key, "GET")
    assert sent[0]["status"] == 401
    assert b"secret" not in sent[1]["body"]


@pytest.mark.parametrize("before", [True, False])
async def test_a_change_with_a_late_body_is_not_made_and_one_made_is_told(api: Api, revoke: Any, before: bool):
    key = await api.make_key("runs:read")
    made: list[bytes] = []

    async def change(request: Request) -> Response:
        if before:
            await revoke(key)
        made.append(await request.body())
        await revoke(key)
        return JSONResponse({}, 201)

    api.app.add_api_route("/api/lasting", change, methods=["POST"])
    sent, _ = await ask(api, key, "POST")
    assert (sent[0]["status"], made) == ((401, []) if before else (201, [b"{}"]))


async def test_a_store_that_is_away_for_a_moment_breaks_nothing_off(
    api: Api, revoke: Any, monkeypatch: pytest.MonkeyPatch
):
    key = await api.make_key("runs:read")

    async def away(_key_id: str) -> None:
        raise Unavailable("The artifact store does not say whether the API key is good. Try again.")

    async def lines() -> AsyncGenerator[bytes]:
        yield b"first"
        monkeypatch.setattr(api.services.keys, "check_id", away)
        yield b"second"

    async def stream() -> Response:
        return StreamingResponse(lines())

    api.app.add_api_route("/api/lasting", stream)
    sent, is_whole = await ask(api, key, "GET")
    assert [message.get("body") for message in sent[1:]] == [b"first", b"second", b""]
    assert is_whole
