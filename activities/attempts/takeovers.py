"""People's takeovers of the browser of one Attempt: user code waits, its clock stands, and the record tells of each."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

from callboard.schemas.workflow.attempt import RecordedTakeover

if TYPE_CHECKING:  # which owns this
    from activities.attempts.running_attempts import RunningAttempt

_NOT_ON_MACHINE = "The Attempt is at no browser."


class Takeovers:
    """The takeovers of one Attempt, one after the other."""

    def __init__(self, running: RunningAttempt) -> None:
        self._running = running
        self._turn = asyncio.Lock()
        self._current: tuple[datetime, str] | None = None
        """Since when there is one, and whose."""
        self._clock = ExitStack()
        self._past: list[RecordedTakeover] = []
        self.is_held = False
        """Whether the browser is held, so that a person may use it."""
        self.calls_wait = True
        """Whether user code's calls of the browser wait meanwhile. They do not where it has handed the browser over
        itself: it waits anyway, and may ask the browser whether the person is done."""

    async def begin(self, by: str) -> str | None:
        """Hold the browser for somebody, or say in a sentence why that cannot be. It may be held already."""
        async with self._turn:
            if self.is_held:
                return None
            if (on_machine := self._running.on_machine) is None:
                return _NOT_ON_MACHINE
            if self._current is None:  # else nobody has heard of the last answer
                self._current = self._running.now(), by
                self._clock.enter_context(on_machine.clock_stopped())
            if (refusal := await on_machine.hold(calls=self.calls_wait)) is not None:
                self._current = None
                self._clock.close()
                return refusal
            if on_machine.done.done():
                return _NOT_ON_MACHINE
            self.is_held = True
            on_machine.note(f"{by} has the browser: {_WAITS if self.calls_wait else _HANDED}")
            return None

    async def renew(self) -> None:
        """Have user code's calls wait, or not, as `calls_wait` says now."""
        async with self._turn:
            if self.is_held and self._running.on_machine is not None:
                await self._running.on_machine.hold(calls=self.calls_wait)

    async def end(self) -> None:
        """Let user code go on, if it is held."""
        async with self._turn:
            if self._current is not None and self._running.on_machine is not None:
                await self._running.on_machine.release()
                self.note_end()

    def note_end(self) -> None:
        """Note that the takeover is over, if there is one, as its Attempt is."""
        current, self._current, self.is_held = self._current, None, False
        if current is not None and self._running.on_machine is not None:
            self._clock.close()
            (begin, by), until = current, self._running.now()
            self._past.append(RecordedTakeover(begin=begin, until=until, by=by))
            self._running.on_machine.note(f"{by} had the browser from {begin:%H:%M:%S} to {until:%H:%M:%S} UTC")

    @property
    def recorded(self) -> tuple[RecordedTakeover, ...]:
        """Those that are over."""
        return tuple(self._past)


_WAITS = "user code waits, and its clock stands. Nothing is traced of what is done now"
_HANDED = "user code has handed it over. Nothing is traced of what is done now"
