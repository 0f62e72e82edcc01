"""The worker's side of the runtime services, without a Machine."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from callboard.machines.runner.channel import Channel
from tests.support.machines import attempt_of
from tests.support.polling import until


class Waiting:
    """Services that answer only once they are told to, over a connection that notes the answers."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Semaphore(0)
        self.sent: list[dict[str, Any]] = []

    async def answer_request(self, operation: str, arguments: dict[str, Any]) -> str:
        assert operation == "persistent_get"
        self.asked += 1
        await self.answers.acquire()
        return arguments["key"]

    async def send(self, kind: str, /, **message: Any) -> None:
        assert kind == "answer"
        self.sent.append(message)


async def test_requests_are_answered_at_the_same_time_and_none_after_the_attempt() -> None:
    services = Waiting()
    attempt, channel = attempt_of("any", answer_request=services.answer_request), cast("Channel", services)
    for number in range(3):
        attempt.answer({"number": number, "operation": "persistent_get", "arguments": {"key": "k"}}, channel)
    await until(lambda: services.asked == 3)
    services.answers.release()
    await until(lambda: bool(services.sent))
    assert services.sent == [{"number": 0, "value": "k"}]
    await attempt.drop_requests()
    services.answers.release()
    assert len(services.sent) == 1
