"""The clock of an Attempt, and its wait for room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from callboard.machines.attempt_spec import MachineStart, Version
from callboard.machines.capacity import Capacity
from callboard.machines.machine import Machine
from callboard.machines.machine_attempt import RoomTimeoutError
from tests.support.machines import attempt_of
from tests.support.polling import until


async def test_the_clock_can_be_extended_often_but_not_past_the_hard_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("callboard.machines.machine_attempt.HARD_LIMIT", timedelta(seconds=0.5))
    loop = asyncio.get_running_loop()
    began = loop.time()
    attempt = attempt_of("any", timeout=0.2)

    async def extend() -> None:
        async with asyncio.timeout(0.2) as attempt.clock:
            while True:
                attempt.extend()
                await asyncio.sleep(0.01)

    with pytest.raises(TimeoutError):
        await extend()
    assert loop.time() - began >= 0.5
    attempt.extend()  # too late, and no error


async def test_the_clock_stands_still_within_blocks_and_goes_on_where_it_stood() -> None:
    loop = asyncio.get_running_loop()
    attempt = attempt_of("any", timeout=60)
    async with asyncio.timeout(60) as attempt.clock:
        whole = attempt.clock.when()
        assert whole is not None
        with attempt.clock_stopped():
            with attempt.clock_stopped():
                await asyncio.sleep(0.05)
            assert attempt.clock.when() == pytest.approx(loop.time() + 43_200, abs=30), "only the hard limit counts"
        stood = attempt.clock.when()
        assert stood is not None
        assert stood >= whole + 0.05
        with attempt.clock_stopped():
            await asyncio.sleep(0.05)
            attempt.extend()
            attempt.prolong(5)
        assert attempt.clock.when() == pytest.approx(loop.time() + 65, abs=1)
        with attempt.clock_stopped():
            attempt.clock = None  # as the Machine does when the Attempt has ended: that is no error


async def test_a_hold_that_a_machine_does_not_answer_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callboard.machines.machine_attempt._HELD_WITHIN", 0)
    attempt, told = attempt_of("any"), list[str]()

    async def ask(kind: str, **_fields: Any) -> None:
        told.append(kind)
        await asyncio.Event().wait()

    def post(kind: str, **_fields: Any) -> None:
        told.append(kind)

    channel = SimpleNamespace(ask=ask, post=post)
    attempt.begin(MachineStart("lab-1", "1", datetime.now(UTC), "/nowhere"), cast("Any", channel))
    assert await attempt.hold(calls=True) == "Its Machine does not answer."
    assert told == ["hold", "release"], "it may hear of both later"


async def test_what_is_heard_first_counts() -> None:
    attempt = attempt_of("any")
    attempt.resolve({"result": "1"})
    attempt.resolve(None)
    assert await attempt.done == {"result": "1"}


class Talk:
    """What a Machine without processes says."""

    def __init__(self) -> None:
        self._said = asyncio.Queue[dict[str, Any] | None]()
        self.heard: list[str] = []
        """The kinds of messages that it was sent."""
        channel = cast("Any", SimpleNamespace(messages=self._messages(), send=self._send))
        self.machine = Machine("lab-1", Version("lab", "1", Path("/nowhere"), 0, 0, 0), cast("Any", None), channel, "1")

    def say(self, kind: str, /, **fields: Any) -> None:
        self._said.put_nowait({"type": kind, **fields})

    async def end(self) -> None:
        self._said.put_nowait(None)
        await until(lambda: self.machine.retire_reason)

    async def _messages(self) -> AsyncGenerator[dict[str, Any]]:
        while (message := await self._said.get()) is not None:
            yield message

    async def _send(self, kind: str, /, **_message: Any) -> None:
        self.heard.append(kind)


async def test_an_outcome_that_is_heard_together_with_the_time_out_counts() -> None:
    talk = Talk()

    def say() -> None:
        talk.say("done", result="1", extendedPayloads=None, session=None, attributes={})
        time.sleep(0.2)  # so that the loop hears of this and of the end of the time at once

    asyncio.get_running_loop().call_later(0.1, say)
    report = await talk.machine.run_attempt(attempt_of("any", timeout=0.2))
    assert report.result == "1"
    await talk.end()


async def test_a_cancel_waits_for_the_clean_up_and_not_for_what_the_next_attempt_needs() -> None:
    talk = Talk()
    running = asyncio.create_task(talk.machine.run_attempt(attempt_of("any")))
    await until(lambda: talk.heard == ["attempt"])
    running.cancel()
    await until(lambda: talk.heard == ["attempt", "stop"])
    talk.say("left", pageUrl=None, missing={})
    await asyncio.wait({running}, timeout=0.05)
    assert not running.done()
    talk.say("cleared")
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not talk.machine.clean.is_set()
    await talk.end()


async def test_it_waits_until_there_is_room_however_often_it_stands_in_line() -> None:
    attempt = attempt_of("any")
    over = asyncio.create_task(attempt.room())
    for _ in ("for its turn", "for room at the worker"):
        async with attempt.waiting():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert attempt.waits
        assert not over.done()
    attempt.note_room()
    await over
    assert not attempt.waits


async def test_what_it_waited_for_when_its_time_was_over_goes_to_the_next() -> None:
    capacity = Capacity(1)
    await capacity.take()
    attempt = attempt_of("any", wait_until=datetime.now(UTC) + timedelta(seconds=0.05))
    with pytest.raises(RoomTimeoutError):
        async with attempt.waiting():
            await capacity.take()
    capacity.give_back()
    assert capacity.has_room


async def test_a_wait_that_begins_after_its_time_is_over_at_once() -> None:
    with pytest.raises(RoomTimeoutError):
        async with attempt_of("any", wait_until=datetime.now(UTC) - timedelta(hours=1)).waiting():
            await asyncio.Event().wait()


async def test_another_time_out_is_not_taken_for_its_own() -> None:
    with pytest.raises(TimeoutError):
        async with attempt_of("any").waiting():
            raise TimeoutError
