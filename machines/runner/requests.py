"""Requests of user code to the worker while it runs. An answer is matched to its request by a number."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from .channel import Channel

MOST_OPEN = 16
"""Most requests of an Attempt that wait for their answers at the same time; whoever asks more waits to ask."""


class Requests:
    """The requests that one side of a channel has under way to the other one."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._asking = asyncio.Semaphore(MOST_OPEN)

    async def ask(self, operation: str, **arguments: Any) -> Any:
        """Send a request and return the worker's answer. Raises RuntimeError with the reason if it failed."""
        async with self._asking:
            told = await self.send("request", operation=operation, arguments=arguments)
        if (error := told.get("error")) is not None:
            raise RuntimeError(error)
        return told["value"]

    async def send(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a message of this kind with a number, and return its answer."""
        number = next(self._numbers)
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        try:
            self._channel.post(kind, number=number, **fields)
            return await answer
        finally:
            del self._open[number]

    def answered(self, message: dict[str, Any]) -> None:
        """Hand an answer to the caller that waits for it. If nobody waits any more, drop it."""
        answer = self._open.get(message["number"])
        if answer is not None and not answer.done():
            answer.set_result(message)
