"""One Attempt at the Machines of a worker: what is to be executed, and how far it has come.

Whoever wants an Attempt makes a `MachineAttempt` and gives it to a pool. It is the one place that knows whether the
Attempt waits, whether it has begun, and what it has left, also while it runs, and however it ends: a cancel brings no
report.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from callboard.machines.attempt_log_file import AttemptLogFile
from callboard.machines.attempt_spec import AttemptEvidence, AttemptSpec, MachineStart
from callboard.machines.runner.channel import Channel
from callboard.schemas.errors import CallboardError
from callboard.schemas.workflow.attempt import AttemptKind

log = logging.getLogger(__name__)

HARD_LIMIT = timedelta(hours=12)
"""Longest time after a Machine has got the Attempt to which `extend_timeout` can move its end."""
_HELD_WITHIN = 6.5
"""Seconds in which a Machine answers whether its browser is held: it waits up to 5 for the trace to end."""
_NOTE_EXTENSIONS_EVERY = 1.0
"""Least seconds between two log lines about extensions, as user code may extend with every step that it takes."""

AnswerRequest = Callable[[str, dict[str, Any]], Awaitable[str | None]]
"""Answers a request that user code makes of its worker, by its operation and arguments; texts are JSON.

Raises CallboardError if it cannot be met; the message is a sentence.
"""


class RoomTimeoutError(Exception):
    """There was no room for the Attempt for as long as it may wait."""


class MachineAttempt:
    """One Attempt at the Machines of a worker; see the module's docstring."""

    def __init__(
        self, spec: AttemptSpec, *, log: AttemptLogFile | None = None, answer_request: AnswerRequest | None = None
    ) -> None:
        self.spec = spec
        self.log = log
        """The file that the Attempt's log is written to; None: it has no log."""
        self.answer_request = answer_request
        """Answers the requests of user code; None: it makes none."""
        self.preparing_since: datetime | None = None
        """Since when a Machine is started for the Attempt, or changed to its version; None if one was ready."""
        self.start: MachineStart | None = None
        """The beginning of user code; None before that."""
        self.evidence: AttemptEvidence | None = None
        """What the Attempt has left; None if its Machine was ended before it could say so."""
        self.waiting_at = ""
        """The automation's stack when it was told to stop; empty if it is not known."""
        self.clock: asyncio.Timeout | None = None
        """The running clock of the Attempt; None while it does not matter."""
        self._machine: Channel | None = None
        """The way to the Machine; None before user code begins there."""
        self._stoppers = 0
        self._left = 0.0
        """Seconds that are left on the clock while it stands still."""
        self._requests: set[asyncio.Task[None]] = set()
        """Requests of user code that are being answered. The supervisor sees to it that few are open at a time."""
        self._room = asyncio.Event()
        self.begun = asyncio.Event()
        """Set once a Machine has begun with the Attempt."""
        self._noted_extension = -_NOTE_EXTENSIONS_EVERY
        self.hand_over()

    def note(self, message: str, level: str = "info") -> None:
        """Write a line of Callboard's own into the Attempt's log, if it has one."""
        if self.log is not None:
            self.log.write_line(message, level)

    @property
    def waits(self) -> bool:
        """Whether the Attempt has had no room yet: no Machine that it may use, or may start."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Return as soon as the Attempt has room."""
        await self._room.wait()

    def note_room(self) -> None:
        """Note that there is a Machine for the Attempt, or room to start one."""
        self._room.set()

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        """Wait for room within the block. Raises RoomTimeoutError as soon as that takes too long."""
        until = self.spec.wait_until
        limit = asyncio.timeout(None if until is None else (until - datetime.now(UTC)).total_seconds())
        try:
            async with limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise RoomTimeoutError from None
            raise

    def hand_over(self) -> None:
        """Prepare to be told of by a Machine: the first one, or another one if that was lost before user code began."""
        loop = asyncio.get_running_loop()
        self._hard_end = loop.time() + HARD_LIMIT.total_seconds()
        self.done: asyncio.Future[dict[str, Any] | None] = loop.create_future()
        """The Machine's message about the end of user code; None if the Machine is lost."""
        self.left = asyncio.Event()
        """Event that is set once the Machine has said what the Attempt leaves, or is gone."""
        self.cleared = asyncio.Event()
        """Event that is set once nothing of the Attempt is on the Machine any more, or that is gone."""

    def to_message(self) -> dict[str, Any]:
        """Return the fields of the message `attempt` to the Machine."""
        spec, proxy = self.spec, self.spec.proxy
        return {
            "number": spec.number,
            "kind": spec.kind,
            "function": spec.function,
            "parameters": "null" if spec.kind is AttemptKind.CHECK else spec.parameters,
            "session": spec.storage_state,
            "capture": spec.capture,
            "indexedDb": spec.indexed_db,
            "proxy": proxy
            and {
                "server": proxy.server,
                **({"username": proxy.username} if proxy.username is not None else {}),
                **({"password": proxy.password} if proxy.password is not None else {}),
            },
            "runInfo": spec.run_info,
            "variables": dict(spec.variables),
            "evidence": spec.evidence and spec.evidence.to_message(),
            "log": self.log and str(self.log.file),
            "logLimit": self.log.limit if self.log else 0,
        }

    def begin(self, start: MachineStart, machine: Channel) -> None:
        """Note that user code is about to be called, and the way to its Machine."""
        self.note_room()
        self.start, self._machine = start, machine
        self.begun.set()

    async def hold(self, *, calls: bool) -> str | None:
        """Have nothing recorded of what a person does to the browser, and user code's calls wait if `calls`.

        Return why that cannot be, as a sentence. This may be asked for again, also with other `calls`.
        """
        return await self._ask("hold", calls=calls)

    async def release(self) -> None:
        """Have user code go on that is held, unless it has ended."""
        if not self.done.done() and (refusal := await self._ask("release")) is not None:
            log.warning("Run %s: its browser is not released: %s", self.spec.run_id, refusal)

    async def _ask(self, kind: str, **fields: Any) -> str | None:
        if self._machine is None or self.done.done():
            return "The Attempt is at no browser."
        try:
            async with asyncio.timeout(_HELD_WITHIN):
                return (await self._machine.ask(kind, **fields))["refusal"]
        except TimeoutError:
            if kind == "hold":  # it may hold the browser later, when nobody has it
                self._machine.post("release", number=0)
            return "Its Machine does not answer."

    def add_secrets(self, secrets: Iterable[str]) -> None:
        """Have errors not tell these, either."""
        self.spec = replace(self.spec, secrets=(*self.spec.secrets, *secrets))

    @contextmanager
    def clock_stopped(self) -> Generator[None]:
        """Have the clock stand still within the block, but for the hard limit. Blocks may overlap."""
        now = asyncio.get_running_loop().time
        self._stoppers += 1
        if self._stoppers == 1 and (end := self._running_until()) is not None:
            self._left = end - now()
            self._end_at(self._hard_end)
        try:
            yield
        finally:
            self._stoppers -= 1
            if self._stoppers == 0:
                self._end_at(now() + self._left)

    def extend(self) -> None:
        """Restart the clock at its full length."""
        if self._running_until() is not None:
            now, timeout = asyncio.get_running_loop().time(), self.spec.timeout.total_seconds()
            self._left = timeout
            if not self._stoppers:
                self._end_at(now + timeout)
            if now - self._noted_extension > _NOTE_EXTENSIONS_EVERY:
                self._noted_extension = now
                self.note(f"extend_timeout: the clock of {timeout:g} seconds begins anew")

    def prolong(self, by: float) -> None:
        """Put the end off by `by` seconds, for time that the Machine needs and not the automation."""
        if self._stoppers:
            self._left += by
        elif self.clock is not None and (end := self._running_until()) is not None:
            self.clock.reschedule(end + by)

    def _running_until(self) -> float | None:
        """Return when the clock ends the Attempt; None if it does not matter any more."""
        return None if self.clock is None or self.clock.expired() else self.clock.when()

    def _end_at(self, when: float) -> None:
        """Set the clock, but not beyond the hard limit."""
        if self.clock is not None and not self.clock.expired():
            self.clock.reschedule(min(when, self._hard_end))

    def resolve(self, message: dict[str, Any] | None) -> None:
        """Note that user code has ended, or (None) that its Machine is lost. Only the first call counts."""
        if not self.done.done():
            self.done.set_result(message)

    @property
    def has_ended(self) -> bool:
        """Whether the end of user code was heard.

        A cancel of the task that waits for `done` cancels `done`, and does not count as an end.
        """
        return self.done.done() and not self.done.cancelled()

    def leave(self, evidence: AttemptEvidence | None) -> None:
        """Note what the Attempt has left, or (None) that its Machine is gone."""
        self.evidence = evidence or self.evidence
        self.left.set()

    def answer(self, request: dict[str, Any], channel: Channel) -> None:
        """Start to answer a request of user code, in a task of its own."""
        if self.answer_request is not None:
            answering = _answer(self.answer_request, request, channel)
            task = asyncio.create_task(answering, name=f"request {request['operation']}")
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def drop_requests(self) -> None:
        """Cancel the requests of user code that are not answered yet."""
        for task in list(self._requests):
            task.cancel()
        if self._requests:
            await asyncio.wait(self._requests)


async def _answer(answer_request: AnswerRequest, request: dict[str, Any], channel: Channel) -> None:
    answer: dict[str, Any] = {}
    try:
        answer["value"] = await answer_request(request["operation"], request["arguments"])
    except CallboardError as error:
        answer["error"] = error.message
    except Exception:  # the Attempt must get an answer, and we must know of the defect
        log.exception("request %s of an Attempt failed", request["operation"])
        answer["error"] = "Callboard could not do it, by a defect of its own."
    try:
        await channel.send("answer", number=request["number"], **answer)
    except ConnectionError:
        log.debug("the Attempt that asked is gone")
