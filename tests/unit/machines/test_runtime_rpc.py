"""The worker's side of the runtime services, without a Machine."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from machines.message_channel import MessageChannel
from machines.runtime_rpc import RuntimeRpcServer
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

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


async def test_the_worker_answers_sixteen_requests_at_a_time_and_none_after_the_attempt() -> None:
    services = Waiting()
    server = RuntimeRpcServer(services.answer_request, cast("MessageChannel", services))

    async def ask(count: int) -> None:
        for number in range(count):
            await server.serve({"number": number, "operation": "persistent_get", "arguments": {"key": "k"}})

    asking = asyncio.create_task(ask(40))
    await until(lambda: services.asked == 16)
    assert not asking.done()
    services.answers.release()
    await until(lambda: services.asked == 17)
    assert len(services.sent) == 1
    await server.close()
    await until(asking.done)
    assert services.asked == 17
