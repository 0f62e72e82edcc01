"""Long poll: wait for a Run's end on behalf of a client, and no longer than the client waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from starlette.requests import ClientDisconnect, Request

from api.dependencies import Services
from temporal.runs import RunState


async def poll_run_state(services: Services, request: Request, project: str, run_id: str, wait: timedelta) -> RunState:
    """Return the Run's state at its end, after `wait`, or when the process is told to stop, whatever comes first.

    No task outlives the call.

    Raises:
        NotFound: There is no such Run.
        Unavailable: Temporal does not answer.
        ClientDisconnect: The client has left, so there is nobody to answer.
    """
    workspace = services.settings.workspace
    if wait <= timedelta():
        return await services.runs.get_state(workspace, project, run_id)
    asking = asyncio.create_task(services.runs.get_state(workspace, project, run_id, wait=wait))
    leaving = asyncio.create_task(_left(request))
    closing = asyncio.create_task(_set(services.closing))
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
    return await services.runs.get_state(workspace, project, run_id)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass  # this message is a part of the request's body, which nobody needs


async def _set(event: asyncio.Event) -> None:
    await event.wait()
