"""One slot of a project: it owns at most one Machine, keeps it warm, and starts and recycles it when that is due."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from callboard.machines.attempt_spec import AttemptReport, Version
from callboard.machines.lease import LeaseEndedError
from callboard.machines.machine import CLOSED, IDLE, PROCESS_ENDED, Machine, NotBegunError
from callboard.machines.machine_attempt import MachineAttempt
from callboard.machines.machine_start import LaunchOptions, RecycleCause, machine_setup, start_machine
from callboard.machines.uncancellable import uncancellable
from callboard.schemas.errors import MachineError
from callboard.schemas.workflow.run import ErrorCode

log = logging.getLogger(__name__)

_CAUSES = {
    IDLE: RecycleCause.IDLE,
    CLOSED: RecycleCause.STOPPED,
    PROCESS_ENDED: RecycleCause.LOST,
}
"""The cause that is counted for each reason to retire a Machine. Any other reason is about its clean-up."""

_REPLACED = (RecycleCause.STOPPED, RecycleCause.LOST, RecycleCause.UNFIT)
"""Causes of which somebody wants to hear, as the next Attempt waits for another Machine."""


@dataclass(frozen=True)
class RecycleLimits:
    """Limits at which a Machine is stopped or replaced: idle time, number of Attempts, and age."""

    idle: timedelta
    attempts: int = 200
    """Attempts after which a Machine is replaced: browsers grow with use, and Playwright's driver with each connection,
    which its listener for the browser's end holds until then."""
    age: timedelta = timedelta(hours=2)
    """Age at which a Machine is replaced, for the same reason."""


class Slot:
    """The owner of one Machine at a time. The pool ensures that one Attempt at a time uses it."""

    def __init__(self, name: str, launch: LaunchOptions, limits: RecycleLimits) -> None:
        self._name = name
        self._launch = launch
        self._limits = limits
        self._started = 0
        self.machine: Machine | None = None
        """The Machine that the slot has now, if any."""
        self._after: asyncio.Task[None] | None = None
        """Task that runs between two Attempts: it waits for the clean-up, and recycles or stops the idle Machine."""
        self._changing: asyncio.Task[None] | None = None
        """Task that has the idle Machine change to another version ahead."""

    def warm_for(self, version: Version) -> bool:
        """Tell whether the slot has a Machine of this version."""
        return self.machine is not None and self.machine.version == version

    def can_serve(self, version: Version) -> bool:
        """Tell whether the slot has a Machine that can change to this version."""
        return self.machine is not None and self.machine.version.shares_machines_with(version)

    def ready_for(self, version: Version) -> bool:
        """Tell whether the slot has a Machine of this version that has cleaned up after its last Attempt."""
        return self.machine is not None and self.machine.version == version and self.machine.clean.is_set()

    async def run_attempt(self, version: Version, attempt: MachineAttempt) -> AttemptReport:
        """Run one Attempt, on the warm Machine or a new one.

        Raises:
            NotBegunError: A second Machine, too, was lost before user code was called.
            MachineError: No Machine could be started.
            LeaseEndedError: The worker's lease is over, so the Machine was ended or may not be started.
            RoomTimeoutError: There was no room for another Machine for as long as the Attempt may wait.
        """
        try:
            report = await self._run_attempt(version, attempt)
        except MachineError as error:
            self._check_lease(error)
            raise
        finally:
            if self.machine is not None:
                self._after = asyncio.create_task(self._keep(self.machine), name=f"slot {self._name}")
        if report.error is not None and report.error.code is ErrorCode.SCRIPT_PROCESS_CRASHED:
            self._check_lease()
        return report

    async def _run_attempt(self, version: Version, attempt: MachineAttempt) -> AttemptReport:
        try:
            return await (await self._ready(version, attempt)).run_attempt(attempt)
        except NotBegunError as error:
            # A browser that died while idle is noticed only now. User code has not been called: take a new Machine.
            log.warning("%s; starting another", error)
            return await (await self._ready(version, attempt)).run_attempt(attempt)

    def _check_lease(self, cause: Exception | None = None) -> None:
        if self._launch.lease.ended:
            raise LeaseEndedError("The worker's lease of its Machines has ended.") from cause

    async def warm(self, version: Version) -> None:
        """Start a Machine before an Attempt needs it. The slot must have none, and must not be used meanwhile.

        Raises:
            MachineError: The Machine did not start.
        """
        await self._leave_after()
        await self._launch.capacity.take()
        self.machine = await self._start(version)
        self._after = asyncio.create_task(self._keep(self.machine), name=f"slot {self._name}")

    def change_ahead(self, version: Version) -> None:
        """Have the idle Machine change to this version before an Attempt needs it. The slot can be taken meanwhile."""
        if self.machine is not None and (self._changing is None or self._changing.done()):
            self._changing = asyncio.create_task(self._change_ahead(self.machine, version), name=f"slot {self._name}")

    async def close(self) -> None:
        """Stop the Machine, in bounded time."""
        await self._leave_after()
        await self._drop(RecycleCause.SURPLUS)

    async def _ready(self, version: Version, attempt: MachineAttempt) -> Machine:
        await self._leave_after()
        if self.machine is not None:
            await self.machine.wait_clean()
            if self.can_serve(version) and not (self.warm_for(version) or self._recycle_reason(self.machine)):
                attempt.preparing_since = datetime.now(UTC)
                await self._change(self.machine, version)
            if self._recycle_reason(self.machine) or not self.warm_for(version):
                await uncancellable(self._drop(RecycleCause.VERSION))
        if self.machine is None:
            waits = "" if self._launch.capacity.has_room else " as soon as its worker has room for one"
            attempt.note(f"Machine {self._next_name} is being started{waits}")
            async with attempt.waiting():
                await self._launch.capacity.take()
            attempt.note_room()
            attempt.preparing_since = datetime.now(UTC)
            self.machine = await self._start(version)
        attempt.note_room()
        return self.machine

    async def _change(self, machine: Machine, version: Version) -> None:
        setup = await machine_setup(machine.name, version, self._launch)
        await machine.change_version(version, setup)

    async def _change_ahead(self, machine: Machine, version: Version) -> None:
        await machine.wait_clean()
        if self._recycle_reason(machine) is None:
            try:
                await self._change(machine, version)
            except MachineError as error:  # the next Attempt tries again, and hears why
                log.warning("Machine %s cannot serve another version: %s", machine.name, error)

    @property
    def _next_name(self) -> str:
        return f"{self._name}-{self._started + 1}"

    async def _start(self, version: Version) -> Machine:
        """Start a Machine in the place that was taken for it; without a Machine, the place is given back."""
        try:
            self._check_lease()
            name = self._next_name
            self._started += 1
            machine = await start_machine(name, version, self._launch)
        except BaseException:
            self._launch.capacity.give_back()
            raise
        self._launch.on_started(version.project)
        return machine

    async def _keep(self, machine: Machine) -> None:
        await machine.wait_clean()
        if self._recycle_reason(machine) is not None:
            await self._drop(RecycleCause.UNFIT)
            return
        with self._launch.capacity.offered() as wanted:
            idle = asyncio.create_task(machine.wait_idle(self._limits.idle), name=f"idle {machine.name}")
            try:
                await asyncio.wait({idle, wanted}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                idle.cancel()
                await uncancellable(asyncio.wait({idle}))
            # Its process may have ended a moment before it is noticed.
            await self._drop(RecycleCause.ROOM if wanted.done() else RecycleCause.LOST)

    def _recycle_reason(self, machine: Machine) -> RecycleCause | None:
        """Return why the Machine should take no further Attempt; None if it may."""
        match machine.retire_reason:
            case None if machine.attempts >= self._limits.attempts:
                return RecycleCause.ATTEMPTS
            case None if time.monotonic() - machine.born >= self._limits.age.total_seconds():
                return RecycleCause.AGE
            case None:
                return None
            case reason:
                return _CAUSES.get(reason, RecycleCause.UNFIT)

    async def _leave_after(self) -> None:
        """End the tasks of the time after an Attempt. If one closes the Machine already, wait until that is done."""
        tasks = {task for task in (self._after, self._changing) if task is not None}
        self._after = self._changing = None
        for task in tasks:
            task.cancel()
        if tasks:
            await uncancellable(asyncio.wait(tasks))
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                log.error("Machines of %s: one could not be kept", self._name, exc_info=error)

    async def _drop(self, otherwise: RecycleCause) -> None:
        """Close the Machine, if there is one. `otherwise` is why, unless it should take no further Attempt anyway."""
        machine, self.machine = self.machine, None
        if machine is not None:
            cause = self._recycle_reason(machine) or otherwise
            level = logging.WARNING if cause in _REPLACED else logging.DEBUG
            log.log(level, "Machine %s is closed: %s", machine.name, machine.retire_reason or cause)
            self._launch.on_recycled(machine.version.project, cause)
            try:
                await uncancellable(machine.close())
            finally:
                self._launch.capacity.give_back()
