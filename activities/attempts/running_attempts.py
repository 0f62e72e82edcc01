"""The Attempts that run on this worker: how each is stopped, how far it has come, and its record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.activity import ActivityCancellationDetails

from activities.attempts.attempt_artifacts import UploadedArtifacts
from activities.attempts.attempt_files import StoredFiles
from activities.attempts.attempt_log import AttemptLog, StoredLog
from activities.attempts.live_cast import LiveCast
from activities.attempts.takeovers import Takeovers
from activities.heartbeat import SILENCE_LIMIT
from callboard.machines.attempt_spec import MachineStart
from callboard.machines.machine_attempt import MachineAttempt
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import (
    PREPARES,
    WAITS_FOR_ROOM,
    AttemptInput,
    AttemptOutcome,
    AttemptRecord,
    AttemptStarted,
    AttemptStatus,
    AttemptUsage,
    RecordedVariable,
    StopInput,
)
from callboard.schemas.workflow.run import RunError
from callboard.security.masking import Masker
from callboard.telemetry.tracing import current_trace_id

_GIVEN_UP_BY_TEMPORAL = (
    "Temporal has given the Attempt up: its worker was not heard of in time, it was reset there, or its Run was ended."
)


class Cause(Enum):
    """Why an Attempt is stopped."""

    CANCELED = auto()
    """The Run of the Attempt was canceled."""
    INTERRUPTED = auto()
    """This worker cannot go on with the Attempt, which does not count then."""


class RunningAttempt:
    """One Attempt that runs on this worker, from when its activity begins until its record is stored."""

    task: asyncio.Task[AttemptOutcome]
    """The task that takes the Attempt to a Machine and back."""

    def __init__(
        self, attempt: AttemptInput, info: activity.Info, *, worker: str, log: AttemptLog, folder: Path
    ) -> None:
        """Set up an Attempt that waits for `begin`.

        Args:
            attempt: The Attempt.
            info: What Temporal says of its activity.
            worker: Name of the worker process in Temporal.
            log: The log of the Attempt.
            folder: Its folder on this host.
        """
        self.input = attempt
        self.cause: Cause | None = None
        """Why the Attempt is to stop, if it is."""
        self.message = ""
        """Why the Attempt is interrupted, as a sentence."""
        self.on_machine: MachineAttempt | None = None
        """The Attempt at the Machines of this worker; None before it is given to them."""
        self._given = asyncio.Event()
        self.start_recorded = asyncio.Event()
        """Set once the record has where the Attempt runs, by which those who watch it find its worker."""
        self.log = log
        self.stored_log = StoredLog()
        """What was stored of the log."""
        self.folder = folder
        self.takeovers = Takeovers(self)
        """The times in which people have its browser."""
        self.live = LiveCast(folder, self.takeovers)
        """What its browser shows to those who watch."""
        self.artifacts = UploadedArtifacts()
        """The trace, screenshot and page URL that were stored at the end."""
        self.files = StoredFiles()
        """The files that were stored at the end."""
        self.masker = Masker(())
        """Masks the secrets that the Attempt was given."""
        self._masking = asyncio.Lock()
        self.answers: list[str] = []
        """Secrets that people have told it."""
        self.withheld: str | None = None
        """Why neither trace nor screenshot is kept, as a sentence; None if they are."""
        self.attributes: dict[str, Any] | None = None
        self.unkept: str | None = None
        """What is not kept of its login, and why, masked; None if all of it is."""
        self.variables: tuple[RecordedVariable, ...] | None = None
        """The environment variables of its project that the Attempt was given."""
        self._worker = worker
        # For a further try of a check or create, this is when the try before it ended.
        self._queued_at = info.current_attempt_scheduled_time
        self._accepted_at = info.started_time
        self._ended_at: datetime | None = None
        self._clock_error = datetime.now(UTC) - info.started_time
        """How far this host's clock is ahead of Temporal's. All times of the Attempt are given by Temporal's clock, so
        that they fit those of its Run."""
        self._trace_id = current_trace_id()
        self.execution_id = info.workflow_run_id
        """Temporal's id of the execution of the Run's workflow."""

    def begin(self, work: Coroutine[Any, Any, AttemptOutcome]) -> None:
        """Begin the work, in the task that a stop cancels."""
        self.task = asyncio.create_task(work, name=f"attempt {self.input.run_id} {self.input.number}")

    def stop(self, cause: Cause, message: str = "") -> None:
        """Stop the Attempt. The first cause stays; the teardown of the Machine bounds the time."""
        if self.cause is None and not self.task.done():
            self.cause, self.message = cause, message
            self.task.cancel()

    def on_cancellation(self, details: ActivityCancellationDetails | None) -> None:
        """Stop the Attempt for the reason that Temporal gives.

        A pause stops nothing: it only keeps further tries from being made.
        """
        if details is not None and details.cancel_requested:
            self.stop(Cause.CANCELED)
        elif details is not None and details.reset:
            self.stop(Cause.INTERRUPTED, "The Attempt was reset in Temporal before it ended.")
        elif details is not None and (details.not_found or details.timed_out):
            self.stop(Cause.INTERRUPTED, _GIVEN_UP_BY_TEMPORAL)
        elif details is None or not details.paused:
            self.stop(Cause.INTERRUPTED, "The worker was stopped before the Attempt ended.")

    def on_silence(self, reason: str) -> None:
        """Stop the Attempt before Temporal gives it to another worker, which it does when it records no heartbeats."""
        self.stop(
            Cause.INTERRUPTED,
            f"Temporal has recorded no sign of life of the Attempt for {SILENCE_LIMIT:g} seconds: {reason}",
        )

    async def mask_with(self, find: Callable[[Masker], Masker]) -> None:
        """Mask from here on, in the log as well, with the masker that `find` returns for the one before.

        It is called in a thread, as secrets may be many and large, and for one after the other, so that none is lost.
        """
        async with self._masking:
            self.masker = self.log.file.masker = await asyncio.to_thread(find, self.masker)

    def give_to_machines(self, on_machine: MachineAttempt) -> None:
        """Note that all is prepared, and that the Attempt is given to the Machines of this worker as this."""
        self.on_machine = on_machine
        self._given.set()

    async def room(self) -> None:
        """Return as soon as the Attempt is prepared and there is room for it."""
        await self._given.wait()
        if self.on_machine is not None:
            await self.on_machine.room()

    async def on_browser(self) -> None:
        """Return as soon as a Machine has begun with the Attempt, so that there is something to see."""
        await self._given.wait()
        if self.on_machine is not None:
            await self.on_machine.begun.wait()

    def mark_ended(self) -> None:
        """Note that the Attempt is over; only storing what it leaves is still to be done."""
        self.takeovers.note_end()
        self._ended_at = self.now()

    @property
    def wait_until(self) -> datetime | None:
        """Until when the Attempt may wait for room, by the clock of this host; None if it may for any time."""
        timeout = self.input.queue_timeout
        return None if timeout is None else self._queued_at + timeout + self._clock_error

    @property
    def waits(self) -> bool:
        """Whether the Attempt is still being prepared, or waits until this worker has room for it."""
        return self.on_machine is None or self.on_machine.waits

    @property
    def has_started(self) -> bool:
        """Whether user code was ever called."""
        return self._start is not None

    @property
    def started_at(self) -> datetime:
        """When the Attempt began on its Machine; if it never came to one, when the worker took it."""
        return self._start.at - self._clock_error if self._start else self._accepted_at

    def now(self) -> datetime:
        """Return the time by Temporal's clock."""
        return datetime.now(UTC) - self._clock_error

    @property
    def duration(self) -> timedelta:
        """Time from the Attempt's start to its end, or until now."""
        return (self._ended_at or self.now()) - self.started_at

    def heartbeat_details(self) -> tuple[str, ...]:
        """Return what a heartbeat says of the Attempt."""
        if self.on_machine is None:
            return (PREPARES,)
        return (WAITS_FOR_ROOM,) if self.on_machine.waits else ()

    def start_signal(self) -> AttemptStarted:
        """Return the payload of the start signal: where the Attempt runs or waits, and since when."""
        return AttemptStarted(
            number=self.input.number,
            machine=self._start.machine if self._start else "that is starting",
            worker=self._worker,
            started_at=self.started_at,
            waits=self.waits,
        )

    def record(self, status: AttemptStatus, error: RunError | None = None) -> AttemptRecord:
        """Return the record of the Attempt as it is now."""
        start, preparing_since = self._start, self.on_machine and self.on_machine.preparing_since
        lost = {"log": self.stored_log.missing, "files": self._missing_files, "login": self.unkept}
        missing = {name: reason for name, reason in lost.items() if reason is not None}
        return AttemptRecord(
            run_id=self.input.run_id,
            number=self.input.number,
            kind=self.input.kind,
            status=status,
            api=self.input.api,
            version=self.input.version,
            queued_at=self._queued_at,
            preparing_at=preparing_since and preparing_since - self._clock_error,
            started_at=None if start is None and status is AttemptStatus.STARTED else self.started_at,
            ended_at=self._ended_at,
            machine=start.machine if start else None,
            worker=self._worker,
            browser_version=start.browser_version if start else None,
            error=error,
            page_url=self.artifacts.page_url,
            attributes=self.attributes,
            usage=None if status is AttemptStatus.STARTED else self._usage(),
            log=self.stored_log.size is not None,
            trace=self.artifacts.trace_size is not None,
            trace_picture=self.artifacts.trace_picture,
            screenshot=self.artifacts.screenshot,
            files=self.files.files,
            takeovers=self.takeovers.recorded,
            trace_id=self._trace_id,
            variables=self.variables,
            execution_id=self.execution_id,
            missing={**self.artifacts.missing, **missing},
        )

    @property
    def _missing_files(self) -> str | None:
        """What the Machine has not taken of the files that the Attempt left, and what the store has not, and why."""
        both = (self.artifacts.missing.get("files"), self.files.missing)
        return " ".join(reason for reason in both if reason) or None

    @property
    def _start(self) -> MachineStart | None:
        return None if self.on_machine is None else self.on_machine.start

    def _usage(self) -> AttemptUsage:
        usage = self.stored_log.usage or AttemptUsage()
        return usage.model_copy(update={"log_size": self.stored_log.size, "trace_size": self.artifacts.trace_size})


class RunningAttempts:
    """All running Attempts of a worker, by Run and number."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], RunningAttempt] = {}

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(list(self._running))

    @contextmanager
    def register(self, running: RunningAttempt) -> Generator[None]:
        """Register the Attempt, which has begun, as running for as long as the block lasts."""
        key = (running.input.run_id, running.input.number)
        self._running[key] = running
        try:
            yield
        finally:
            del self._running[key]

    def find(self, run_id: str, number: int) -> RunningAttempt | None:
        """Return an Attempt that runs here."""
        return self._running.get((run_id, number))

    @activity.defn(name=names.STOP_ATTEMPT)
    async def stop_attempt(self, input: StopInput) -> bool:
        """Stop an Attempt, without waiting for its end; return False if it is not here (any more).

        This is the activity with which a workflow reaches one worker process.
        """
        return self.stop(input.run_id, input.number)

    def stop(self, run_id: str, number: int) -> bool:
        """Cancel the Attempt, or another one of its Run that is here by now; return False if there is none."""
        others = (other for (other_run_id, _), other in self._running.items() if other_run_id == run_id)
        running = self._running.get((run_id, number)) or next(others, None)
        if running is None:
            return False
        running.stop(Cause.CANCELED)
        return True

    def interrupt_all(self, message: str) -> None:
        """Interrupt every Attempt."""
        for running in list(self._running.values()):
            running.stop(Cause.INTERRUPTED, message)
