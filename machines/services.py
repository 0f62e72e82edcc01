"""The worker's side of the runtime services: it answers the requests of user code in a running Attempt."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from machines.frames import Frames
from machines.runner.requests import MOST_OPEN
from schemas.errors import CallboardError

log = logging.getLogger(__name__)


class RuntimeServices(Protocol):
    """The services that an Attempt may ask for. Values are JSON text."""

    async def persistent_get(self, key: str) -> str | None:
        """Return the project's value of `key`, or None."""
        ...

    async def persistent_set(self, key: str, value: str) -> None:
        """Keep `value` for the project under `key`."""
        ...

    async def auth_session_parameters(self) -> str:
        """Return the parameters that the Run's AuthSession was made from.

        Raises:
            CallboardError: There are none; the message is a sentence.
        """
        ...


class Answering:
    """Server that answers the requests of one Attempt concurrently, and ends with the Attempt."""

    def __init__(self, services: RuntimeServices, frames: Frames) -> None:
        self._services = services
        self._frames = frames
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False

    async def request(self, message: dict[str, Any]) -> None:
        """Start to answer the request in a task of its own, as soon as fewer than `MOST_OPEN` are open."""
        while len(self._tasks) >= MOST_OPEN:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if self._ended:
            return
        task = asyncio.create_task(self._answer(message), name=f"request {message['operation']}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cancel the requests that are not answered yet, and take no more."""
        self._ended = True
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _answer(self, message: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"type": "answer", "number": message["number"]}
        try:
            answer["value"] = await self._do(message["operation"], message["arguments"])
        except CallboardError as error:
            answer["error"] = error.message
        except Exception:  # the Attempt must get an answer, and we must know of the defect
            log.exception("request %s of an Attempt failed", message["operation"])
            answer["error"] = "Callboard could not do it, by a defect of its own."
        try:
            await self._frames.send(answer)
        except ConnectionError:
            log.debug("the Attempt that asked is gone")

    async def _do(self, operation: str, arguments: dict[str, Any]) -> str | None:
        match operation:
            case "persistent_get":
                return await self._services.persistent_get(arguments["key"])
            case "persistent_set":
                await self._services.persistent_set(arguments["key"], arguments["value"])
                return None
            case "auth_session_parameters":
                return await self._services.auth_session_parameters()
            case _:
                raise ValueError(f"no such operation: {operation}")
