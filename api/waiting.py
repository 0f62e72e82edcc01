"""Waiting for a Run's end on behalf of a client, and no longer than the client does."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from starlette.requests import ClientDisconnect, Request

from api.parts import Parts
from engine.runs import RunState


async def state_within(parts: Parts, request: Request, project: str, run_id: str, wait: timedelta) -> RunState:
    """How the Run stands at its end, or after `wait`, or when the process is told to stop, whatever comes first.

    No task outlives the call.

    Raises:
        NotFound, Unavailable: As the engine says.
        ClientDisconnect: The client has left; there is nobody to be answered.
    """
    workspace = parts.settings.workspace
    if wait <= timedelta():
        return await parts.runs.state(workspace, project, run_id)
    asking = asyncio.create_task(parts.runs.state(workspace, project, run_id, wait=wait))
    leaving = asyncio.create_task(_left(request))
    closing = asyncio.create_task(_set(parts.closing))
    try:
        await asyncio.wait((asking, leaving, closing), return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            return asking.result()
        if leaving.done():
            raise ClientDisconnect
    finally:
        for task in (asking, leaving, closing):
            task.cancel()
        await asyncio.gather(asking, leaving, closing, return_exceptions=True)
    return await parts.runs.state(workspace, project, run_id)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass  # the rest of a body that nobody reads


async def _set(event: asyncio.Event) -> None:
    await event.wait()
