"""The end of a workflow is heard, also when the server loses the news of it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from temporalio.client import WorkflowHandle

from callboard.temporal import closing
from tests.support.polling import until


class Deaf:
    """A workflow of whose end the server tells only who asks once more."""

    def __init__(self, ended: Exception | str) -> None:
        self.asked = 0
        self._ended = ended

    async def result(self, *, follow_runs: bool) -> str:
        assert follow_runs
        self.asked += 1
        if self.asked == 1:
            await asyncio.get_running_loop().create_future()
        if isinstance(self._ended, Exception):
            raise self._ended
        return self._ended

    @property
    def handle(self) -> WorkflowHandle[Any, str]:
        return cast("WorkflowHandle[Any, str]", self)


async def test_the_server_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "_FIRST_WAIT_SECONDS", 0.01)
    deaf = Deaf("the result")
    assert await closing.wait_for_result(deaf.handle) == "the result"
    assert deaf.asked == 2


async def test_a_cancel_ends_the_wait() -> None:
    deaf = Deaf("")
    waiting = asyncio.create_task(closing.wait_for_result(deaf.handle))
    await until(lambda: deaf.asked)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
