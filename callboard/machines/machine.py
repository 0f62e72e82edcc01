"""One Machine, as the worker sees it: a keeper, and a supervisor with one warm browser that runs one Attempt at a time.

`start_machine` starts a Machine, which then runs Attempts and is closed, always by its `Slot`. User code has a process
of its own, so a Machine survives its Attempt, however that ends. If it can take no other, `retire_reason` says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from callboard.machines import attempt_errors
from callboard.machines.attempt_spec import (
    AttemptEvidence,
    AttemptReport,
    AttemptSpec,
    MachineStart,
    Version,
    masker_for,
)
from callboard.machines.keeper_process import KeeperProcess
from callboard.machines.machine_attempt import MachineAttempt
from callboard.machines.runner.channel import Channel
from callboard.machines.uncancellable import uncancellable
from callboard.schemas.errors import MachineError
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.security.masking import mask_url

log = logging.getLogger(__name__)

IDLE = "idle"
CLOSED = "closed"
PROCESS_ENDED = "its process ended"
"""Reasons why a Machine takes no further Attempt; others are sentences about its clean-up."""

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

    async def run_attempt(self, attempt: MachineAttempt) -> AttemptReport:
        """Run one Attempt. The Machine must be clean and fit.

        A cancel stops the Attempt, and nothing of it is left when CancelledError is raised.

        Raises:
            NotBegunError: The Machine was lost before user code was called, and is gone.
        """
        self.attempts += 1
        self.clean.clear()
        self._attempt = attempt
        attempt.hand_over()
        if attempt.log is not None:
            attempt.log.on_machine(self._keeper.attempt_end())
        attempt.note(self._first_line(attempt.spec))
        try:
            return await self._run(attempt)
        except asyncio.CancelledError:
            if not attempt.has_ended:
                attempt.note("The Attempt is being stopped", "warning")
            await uncancellable(self._stop(attempt))
            if attempt.waiting_at:
                attempt.note(f"The automation stood here:\n{attempt.waiting_at.rstrip()}")
            raise
        finally:
            self._attempt = None
            await attempt.drop_requests()

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
        try:
            try:
                async with asyncio.timeout(attempt.spec.timeout.total_seconds()) as attempt.clock:
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
        attempt.note(f"The time of {spec.timeout.total_seconds():g} seconds is over", "warning")
        await uncancellable(self._stop(attempt))
        # In a thread, as all that masks: the secrets may be very many.
        error = await asyncio.to_thread(attempt_errors.timed_out, spec, self.version, attempt.waiting_at)
        return self._report(error=error)

    async def _report_loss(self, attempt: MachineAttempt) -> AttemptReport:
        await uncancellable(self.close())
        if attempt.start is None:
            error = NotBegunError(f"Machine {self.name} was lost: {self.retire_reason or PROCESS_ENDED}")
            attempt.note(error.message, "warning")
            raise error
        return self._report(error=attempt_errors.crashed(self._keeper.child_end, self.version))

    async def _report_end(self, attempt: MachineAttempt, done: dict[str, Any]) -> AttemptReport:
        if "error" not in done:
            if (unkept := done.get("unkept")) is not None:
                unkept = await asyncio.to_thread(_masked, unkept, attempt.spec, done["session"])
                log.warning("Run %s: %s", attempt.spec.run_id, unkept)
            return self._report(
                result=done["result"],
                extended_payloads=done["extendedPayloads"],
                storage_state=done["session"],
                unkept=unkept,
                attributes=done["attributes"],
            )
        masker = await asyncio.to_thread(masker_for, attempt.spec)
        error, final = await asyncio.to_thread(attempt_errors.of_user_code, done["error"], self.version, masker)
        seconds = done["error"].get("retryAfter")
        return self._report(
            error=error,
            final=final,
            retry_after=None if seconds is None else timedelta(seconds=seconds),
            attributes=done["attributes"],
        )

    def _report(self, **fields: Any) -> AttemptReport:
        """Return the report of the Attempt; `fields` are further fields of `AttemptReport`."""
        status = AttemptStatus.COMPLETED if "result" in fields else AttemptStatus.FAILED
        return AttemptReport(status=status, machine=self.name, **fields)

    async def _stop(self, attempt: MachineAttempt) -> None:
        """Stop the Attempt, also one that has ended. Then nothing of it is left, and perhaps nothing of the Machine."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_STOP_WITHIN):
                await self._channel.send("stop")
                await attempt.left.wait()
            async with asyncio.timeout(_CLEAR_WITHIN):
                await attempt.cleared.wait()
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
            self._attempt.cleared.set()

    def _handle(self, message: dict[str, Any]) -> None:
        attempt = self._attempt
        match message["type"]:
            case "idle":
                self.retire_reason = self.retire_reason or message["retireReason"]
                self.clean.set()
                if attempt is not None:
                    attempt.cleared.set()
                    if self.retire_reason:  # the Attempt could not even begin
                        attempt.resolve(None)
            case "cleared" if attempt is not None:
                attempt.cleared.set()
            case "begun" if attempt is not None:
                start = MachineStart(self.name, self._browser_version, datetime.now(UTC), message["root"])
                attempt.begin(start, self._channel)
            case "extend" if attempt is not None:
                attempt.extend()
            case "request" if attempt is not None:
                attempt.answer(message, self._channel)
            case "capturing" if attempt is not None:
                attempt.prolong(message["within"])
            case "done" if attempt is not None:
                attempt.resolve(message)
            case "left" if attempt is not None:
                attempt.leave(AttemptEvidence(message["pageUrl"], message["missing"]))
            case "stopping" if attempt is not None:
                attempt.waiting_at = message["stack"]
            case _:
                pass  # the message is of an Attempt that is over


def _masked(text: str, spec: AttemptSpec, storage_state: str | None) -> str:
    """Return a text that may show secrets of the login, as it was and as it is now."""
    now = masker_for(replace(spec, storage_state=storage_state))
    return now.mask_text(masker_for(spec).mask_text(text))


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
