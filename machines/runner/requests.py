"""Send requests of user code to the worker while it runs. An answer is matched to its request by a number."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from .channel import Channel


class Requests:
    """The requests of one child to the worker."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, operation: str, **arguments: Any) -> Any:
        """Send a request and return the worker's answer. Raises RuntimeError with the reason if it failed."""
        number = next(self._numbers)
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        try:
            self._channel.post("request", number=number, operation=operation, arguments=arguments)
            return await answer
        finally:
            del self._open[number]

    def answered(self, message: dict[str, Any]) -> None:
        """Hand an answer to the caller that waits for it. If nobody waits any more, drop it."""
        answer = self._open.get(message["number"])
        if answer is None or answer.done():
            return
        if (error := message.get("error")) is not None:
            answer.set_exception(RuntimeError(error))
        else:
            answer.set_result(message["value"])
