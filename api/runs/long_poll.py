"""Long poll: wait for a Run's end on behalf of a client, and no longer than the client waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from starlette.requests import ClientDisconnect, Request

from api.dependencies import Services
from temporal.runs import RunState


async def poll_run_state(services: Services, request: Request, project: str, run_id: str, wait: timedelta) -> RunState:
    """Return the Run's state when it ends, after `wait`, or when the process shuts down, whatever comes first.

    No task outlives the call.

    Raises:
        NotFound: There is no such Run.
        Unavailable: Temporal does not answer.
        ClientDisconnect: The client has left, so there is nobody to answer.
    """
    workspace = services.settings.workspace
    if wait <= timedelta():
        return await services.runs.get_state(workspace, project, run_id)
    state = asyncio.create_task(services.runs.get_state(workspace, project, run_id, wait=wait))
    disconnect = asyncio.create_task(_wait_for_disconnect(request))
    shutdown = asyncio.create_task(services.shutting_down.wait())
    try:
        await asyncio.wait((state, disconnect, shutdown), return_when=asyncio.FIRST_COMPLETED)
        if state.done():
            return state.result()
        if disconnect.done():
            raise ClientDisconnect
    finally:
        for task in (state, disconnect, shutdown):
            task.cancel()
        await asyncio.gather(state, disconnect, shutdown, return_exceptions=True)
    return await services.runs.get_state(workspace, project, run_id)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass  # this message is a part of the request's body, which nobody needs
