"""Serve the requests that user code makes of the worker while its Attempt runs, over the Machine's channel."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from machines.attempt_spec import AnswerRequest
from machines.runner.channel import Channel
from schemas.errors import CallboardError

log = logging.getLogger(__name__)


class RuntimeRpcServer:
    """Server that answers the requests of one Attempt concurrently, and ends with the Attempt.

    The supervisor sees to it that few are open at a time.
    """

    def __init__(self, answer_request: AnswerRequest, channel: Channel) -> None:
        self._answer_request = answer_request
        self._channel = channel
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, message: dict[str, Any]) -> None:
        """Start to answer the request in a task of its own."""
        task = asyncio.create_task(self._answer(message), name=f"request {message['operation']}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel the requests that are not answered yet."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _answer(self, message: dict[str, Any]) -> None:
        answer: dict[str, Any] = {}
        try:
            answer["value"] = await self._answer_request(message["operation"], message["arguments"])
        except CallboardError as error:
            answer["error"] = error.message
        except Exception:  # the Attempt must get an answer, and we must know of the defect
            log.exception("request %s of an Attempt failed", message["operation"])
            answer["error"] = "Callboard could not do it, by a defect of its own."
        try:
            await self._channel.send("answer", number=message["number"], **answer)
        except ConnectionError:
            log.debug("the Attempt that asked is gone")
