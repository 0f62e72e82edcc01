"""The log of an Attempt as a client follows it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    data: str
    id: int | None = None
    kind: str = "message"


@asynccontextmanager
async def followed_log(
    client: httpx.AsyncClient, place: str, last: int | None = None
) -> AsyncGenerator[AsyncGenerator[Event]]:
    """Follow the log of the Attempt at this place, behind the event `last`."""
    headers = {} if last is None else {"last-event-id": str(last)}
    async with client.stream("GET", f"{place}/log?follow=true", headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer)


async def _events(answer: httpx.Response) -> AsyncGenerator[Event]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            number = fields.get("id")
            yield Event(fields["data"], None if number is None else int(number), fields.get("event", "message"))
            fields = {}
