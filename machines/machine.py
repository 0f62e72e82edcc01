"""One Machine, as the worker sees it: a keeper, and a supervisor with one warm browser that runs one Attempt at a time.

`start_machine` starts a Machine, which then runs Attempts and is closed, always by its `Slot`. User code has a process
of its own, so a Machine survives its Attempt, however that ends. If it can take no other, `retire_reason` says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from machines import attempt_errors
from machines.attempt_spec import AnswerRequest, AttemptReport, AttemptSpec, Version, masker_for
from machines.keeper_process import KeeperProcess
from machines.runner.channel import Channel
from machines.uncancellable import uncancellable
from schemas.errors import CallboardError, MachineError
from schemas.workflow.attempt import AttemptKind, AttemptStatus
from security.masking import mask_url

log = logging.getLogger(__name__)

HARD_LIMIT = timedelta(hours=12)
"""Longest time after the Attempt's start to which `extend_timeout` can move its end."""
IDLE = "idle"
CLOSED = "closed"
PROCESS_ENDED = "its process ended"
"""Reasons why a Machine takes no further Attempt; others are sentences about its clean-up."""

_NOTE_EXTENSIONS_EVERY = 1.0
"""Least seconds between two log lines about extensions, as user code may extend with every step that it takes."""
_STOP_WITHIN = 1.5
"""Seconds that a canceled or timed-out Attempt gets to save what it can."""
_CLEAR_WITHIN = 1.5
"""Seconds after that in which nothing of it may be left; else the Machine is killed."""
_LEAVE_WITHIN = 10.0
"""Seconds that an Attempt gets to save its trace after it has ended by itself."""
_LAST_REPORT_WITHIN = 1.0
_CLEAN_WITHIN = 12.0
"""Seconds in which a Machine is ready for the next Attempt; the child bounds its steps by less."""


class NotBegunError(MachineError):
    """The Machine was lost before user code was called, so another one may take the same Attempt."""


@dataclass(frozen=True)
class AttemptStart:
    """The beginning of an Attempt: its user code is about to be called."""

    machine: str
    browser_version: str
    at: datetime


class Machine:
    """One Machine, as the worker sees it; see the module's docstring."""

    def __init__(
        self, name: str, version: Version, keeper: KeeperProcess, channel: Channel, browser_version: str
    ) -> None:
        self.name = name
        self.version = version
        self.attempts = 0
        self.retire_reason: str | None = None
        """Why this Machine should take no further Attempt; None while it may."""
        self._keeper = keeper
        self._channel = channel
        self._browser_version = browser_version
        self.born = time.monotonic()
        """When the Machine was started, by `time.monotonic`."""
        self._hung_up = False
        self.clean = asyncio.Event()
        """Event that is set while everything of the last Attempt is cleaned up."""
        self.clean.set()
        self._attempt: MachineAttempt | None = None
        self._reading = asyncio.create_task(self._read(), name=f"machine {name}")

    @property
    def keeper_pid(self) -> int:
        """Process id of the keeper; all processes of the Machine are below it."""
        return self._keeper.pid

    @property
    def memory(self) -> int:
        """Bytes that all its processes had allocated a moment ago."""
        return self._keeper.memory

    async def wait_clean(self) -> None:
        """Wait until the last Attempt is cleaned up. If that takes too long, set `retire_reason`."""
        try:
            async with asyncio.timeout(_CLEAN_WITHIN):
                await self.clean.wait()
        except TimeoutError:
            self.retire_reason = "the last Attempt could not be cleaned up"

    async def wait_idle(self, within: timedelta) -> None:
        """Wait while the Machine is idle and alive, at most `within`. After that, set `retire_reason`."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._keeper.ended()
        except TimeoutError:
            self.retire_reason = IDLE

    async def run_attempt(self, spec: AttemptSpec, on_start: Callable[[AttemptStart], None]) -> AttemptReport:
        """Run one Attempt. The Machine must be clean and fit.

        A cancel stops the Attempt, and nothing of it is left when CancelledError is raised.

        Raises:
            NotBegunError: The Machine was lost before user code was called, and is gone.
        """
        self.attempts += 1
        self.clean.clear()
        attempt = self._attempt = MachineAttempt(spec, on_start)
        if spec.log is not None:
            spec.log.on_machine(self._keeper.attempt_end())
        spec.note(self._first_line(spec))
        try:
            return await self._run(attempt)
        except asyncio.CancelledError:
            if not attempt.has_ended:
                spec.note("The Attempt is being stopped", "warning")
            await uncancellable(self._stop(attempt))
            if attempt.waiting_at:
                spec.note(f"The automation stood here:\n{attempt.waiting_at.rstrip()}")
            raise
        finally:
            self._attempt = None
            if attempt.rpc_server is not None:
                await attempt.rpc_server.close()

    async def change_version(self, version: Version, setup: dict[str, Any]) -> None:
        """Serve another version of the project in the same browser. The Machine must be clean, and is so again.

        `setup` is what `machine_setup` says of the version, with which it must share Machines.
        """
        self.version = version
        self.clean.clear()
        with contextlib.suppress(ConnectionError):  # its end is noticed all the same
            await self._channel.send("version", **setup)
        await self.wait_clean()

    async def close(self) -> None:
        """End the child and everything below it, in bounded time. A closed Machine stays closed."""
        self.retire_reason = self.retire_reason or CLOSED
        await end_processes(self._keeper, self._channel, hung_up=self._hung_up)
        await self._reading

    def _first_line(self, spec: AttemptSpec) -> str:
        by_proxy = f", by proxy {mask_url(spec.proxy.server)}" if spec.proxy is not None else ""
        what = f"Attempt {spec.number} of Run {spec.run_id}: {spec.function}, version {self.version.version}"
        return f"{what}, on Machine {self.name} with browser {self._browser_version}{by_proxy}"

    async def _run(self, attempt: MachineAttempt) -> AttemptReport:
        try:
            done = await self._wait_done(attempt)
        except TimeoutError:
            return await self._report_timeout(attempt)
        if done is None:
            return await self._report_loss(attempt)
        if attempt.spec.evidence is not None:
            await self._wait_left(attempt)
        return await self._report_end(attempt, done)

    async def _wait_done(self, attempt: MachineAttempt) -> dict[str, Any] | None:
        """Return the child's message about the Attempt's end; None if the Machine is lost.

        Raises:
            TimeoutError: The Attempt's time is over. It still runs.
        """
        spec = attempt.spec
        try:
            try:
                async with asyncio.timeout(spec.timeout.total_seconds()) as attempt.clock:
                    await self._channel.send("attempt", **attempt.to_message())
                    return await attempt.done
            finally:
                attempt.clock = None
        except TimeoutError:
            if attempt.has_ended:  # the outcome came just as the time ran out: it counts
                return attempt.done.result()
            raise
        except ConnectionError:
            return None

    async def _wait_left(self, attempt: MachineAttempt) -> None:
        """Wait until the Attempt has saved what it leaves."""
        try:
            async with asyncio.timeout(_LEAVE_WITHIN):
                await attempt.left.wait()
        except TimeoutError:
            log.warning("Machine %s has not saved its Attempt's trace within %g seconds", self.name, _LEAVE_WITHIN)

    async def _report_timeout(self, attempt: MachineAttempt) -> AttemptReport:
        spec = attempt.spec
        spec.note(f"The time of {spec.timeout.total_seconds():g} seconds is over", "warning")
        await uncancellable(self._stop(attempt))
        # In a thread, as all that masks: the secrets may be very many.
        error = await asyncio.to_thread(attempt_errors.timed_out, spec, self.version, attempt.waiting_at)
        return attempt.report(self.name, error=error)

    async def _report_loss(self, attempt: MachineAttempt) -> AttemptReport:
        await uncancellable(self.close())
        if attempt.begun is None:
            error = NotBegunError(f"Machine {self.name} was lost: {self.retire_reason or PROCESS_ENDED}")
            attempt.spec.note(error.message, "warning")
            raise error
        return attempt.report(self.name, error=attempt_errors.crashed(self._keeper.child_end, self.version))

    async def _report_end(self, attempt: MachineAttempt, done: dict[str, Any]) -> AttemptReport:
        if "error" not in done:
            if reason := done.get("uncaptured"):
                told = await asyncio.to_thread(lambda: masker_for(attempt.spec).mask_text(reason))
                log.warning("Run %s: the state of its AuthSession could not be captured: %s", attempt.spec.run_id, told)
            return attempt.report(
                self.name,
                result=done["result"],
                extended_payloads=done["extendedPayloads"],
                storage_state=done["session"],
                attributes=done["attributes"],
            )
        masker = await asyncio.to_thread(masker_for, attempt.spec)
        error, final = await asyncio.to_thread(attempt_errors.of_user_code, done["error"], self.version, masker)
        seconds = done["error"].get("retryAfter")
        return attempt.report(
            self.name,
            error=error,
            final=final,
            retry_after=None if seconds is None else timedelta(seconds=seconds),
            attributes=done["attributes"],
        )

    async def _stop(self, attempt: MachineAttempt) -> None:
        """Stop the Attempt, also one that has ended. Then nothing of it is left, and perhaps nothing of the Machine."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_STOP_WITHIN):
                await self._channel.send("stop")
                await attempt.left.wait()
            async with asyncio.timeout(_CLEAR_WITHIN):
                await self.clean.wait()
            if self.retire_reason is None:
                return
        await self.close()

    async def _read(self) -> None:
        """Handle the messages of the child until it ends."""
        try:
            async for message in self._channel.messages:
                self._handle(message)
            self._hung_up = True
        except Exception:  # this is a defect of ours, but whoever waits must still hear of an end
            log.exception("Machine %s was not understood", self.name)
        self.retire_reason = self.retire_reason or PROCESS_ENDED
        self.clean.set()
        if self._attempt is not None:
            self._attempt.resolve(None)
            self._attempt.leave(None)

    def _handle(self, message: dict[str, Any]) -> None:
        attempt = self._attempt
        match message["type"]:
            case "idle":
                self.retire_reason = self.retire_reason or message["retireReason"]
                self.clean.set()
                if attempt is not None and self.retire_reason:  # the Attempt could not even begin
                    attempt.resolve(None)
            case "begun" if attempt is not None:
                attempt.begin(AttemptStart(self.name, self._browser_version, datetime.now(UTC)), root=message["root"])
            case "extend" if attempt is not None:
                attempt.extend()
            case "request" if attempt is not None and (answer_request := attempt.spec.answer_request) is not None:
                if attempt.rpc_server is None:
                    attempt.rpc_server = RuntimeRpcServer(answer_request, self._channel)
                attempt.rpc_server.serve(message)
            case "capturing" if attempt is not None:
                attempt.prolong(message["within"])
            case "done" if attempt is not None:
                attempt.resolve(message)
            case "left" if attempt is not None:
                attempt.leave(message)
            case "stopping" if attempt is not None:
                attempt.waiting_at = message["stack"]
            case _:
                pass  # the message is of an Attempt that is over


async def end_processes(keeper: KeeperProcess, channel: Channel, *, hung_up: bool = False) -> None:
    """End a Machine's child and everything below it, in bounded time.

    With `hung_up`, the child has closed its end by itself: it is about to end, and its keeper is about to tell how.
    """
    if hung_up:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_REPORT_WITHIN):
                await keeper.ended()
    channel.close()
    await keeper.kill()


class MachineAttempt:
    """The running Attempt of a Machine, as the worker sees it: its clock, its beginning, its end."""

    def __init__(self, spec: AttemptSpec, on_start: Callable[[AttemptStart], None]) -> None:
        self.spec = spec
        self._on_start = on_start
        self._loop = asyncio.get_running_loop()
        self._started_at = datetime.now(UTC)
        self._hard_end = self._loop.time() + HARD_LIMIT.total_seconds()
        self._noted_extension = -_NOTE_EXTENSIONS_EVERY
        self.rpc_server: RuntimeRpcServer | None = None
        """Answers the requests of user code, from the first one on."""
        self._ended_at: datetime | None = None
        self.begun: AttemptStart | None = None
        self.clock: asyncio.Timeout | None = None
        """The running clock of the Attempt; None once it no longer matters."""
        self.done: asyncio.Future[dict[str, Any] | None] = self._loop.create_future()
        self.waiting_at = ""
        """The automation's stack when it was told to stop; empty if it is not known."""
        self.left = asyncio.Event()
        """Event that is set once the child has said what the Attempt leaves, or the child is gone."""

    def to_message(self) -> dict[str, Any]:
        """Return the fields of the message `attempt` to the child."""
        spec, proxy = self.spec, self.spec.proxy
        return {
            "number": spec.number,
            "kind": spec.kind,
            "function": spec.function,
            "parameters": "null" if spec.kind is AttemptKind.CHECK else spec.parameters,
            "session": spec.storage_state,
            "capture": spec.capture,
            "proxy": proxy
            and {
                "server": proxy.server,
                **({"username": proxy.username} if proxy.username is not None else {}),
                **({"password": proxy.password} if proxy.password is not None else {}),
            },
            "runInfo": spec.run_info,
            "variables": dict(spec.variables),
            "evidence": spec.evidence and spec.evidence.to_message(),
            "log": spec.log and str(spec.log.file),
            "logLimit": spec.log.limit if spec.log else 0,
        }

    def begin(self, begun: AttemptStart, *, root: str) -> None:
        """Begin the Attempt: user code is about to be called, in the copy of the project at `root`."""
        self.begun = begun
        if self.spec.evidence is not None:
            self.spec.evidence.project_root = root
        self._on_start(begun)

    def extend(self) -> None:
        """Restart the clock at its full length."""
        if self.clock is not None and not self.clock.expired():
            now = self._loop.time()
            self.clock.reschedule(min(now + self.spec.timeout.total_seconds(), self._hard_end))
            if now - self._noted_extension > _NOTE_EXTENSIONS_EVERY:
                self._noted_extension = now
                seconds = f"{self.spec.timeout.total_seconds():g}"
                self.spec.note(f"extend_timeout: the clock of {seconds} seconds begins anew")

    def prolong(self, by: float) -> None:
        """Put the end off by `by` seconds, for time that the Machine needs and not the automation."""
        if self.clock is not None and not self.clock.expired() and (end := self.clock.when()) is not None:
            self.clock.reschedule(end + by)

    def leave(self, message: dict[str, Any] | None) -> None:
        """Record what the Attempt has left, or (None) that its Machine has ended."""
        if message is not None and self.spec.evidence is not None:
            self.spec.evidence.record_report(message)
        self.left.set()

    @property
    def has_ended(self) -> bool:
        """Whether the end of the Attempt was heard.

        A cancel of the task that waits for `done` cancels `done`, and does not count as an end.
        """
        return self.done.done() and not self.done.cancelled()

    def resolve(self, message: dict[str, Any] | None) -> None:
        """Record that the Attempt is done, or (None) lost. Only the first call counts."""
        if not self.done.done():
            self._ended_at = datetime.now(UTC)
            self.done.set_result(message)

    def report(self, machine: str, **fields: Any) -> AttemptReport:
        """Return the report of the Attempt; `fields` are further fields of `AttemptReport`."""
        return AttemptReport(
            status=AttemptStatus.COMPLETED if "result" in fields else AttemptStatus.FAILED,
            machine=machine,
            browser_version=self.begun.browser_version if self.begun else None,
            started_at=self.begun.at if self.begun else self._started_at,
            ended_at=self._ended_at or datetime.now(UTC),
            **fields,
        )


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
