"""Requests of user code to the worker while it runs. An answer is matched to its request by a number."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from .channel import Channel


class Requests:
    """The requests that the process of user code has under way, to the worker and to the supervisor."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, operation: str, **arguments: Any) -> Any:
        """Send a request and return the worker's answer. Raises RuntimeError with the reason if it failed."""
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


class ForwardedRequests:
    """The supervisor's side: requests of all its Attempts, on their way to the worker under numbers of its own.

    Each Attempt counts from one, so an answer that comes late would else be taken for that to another one's request.
    """

    def __init__(self, worker: Channel) -> None:
        self._worker = worker
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[Channel, int]] = {}

    def forward(self, asking: Channel, message: dict[str, Any]) -> None:
        """Send a request on to the worker. `asking` is who gets the answer."""
        number = next(self._numbers)
        self._open[number] = asking, message["number"]
        self._worker.post("request", number=number, operation=message["operation"], arguments=message["arguments"])

    def answered(self, message: dict[str, Any]) -> None:
        """Send the worker's answer on to whoever has asked."""
        asking, number = self._open.pop(message["number"], (None, 0))
        if asking is not None:
            told = {name: value for name, value in message.items() if name in ("value", "error")}
            asking.post("answer", number=number, **told)

    def end(self) -> None:
        """Forget the requests of an Attempt that has ended."""
        self._open.clear()
