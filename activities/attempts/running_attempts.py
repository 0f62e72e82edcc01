"""Register the Attempts that run on this worker, and stop them: on a cancel, or because the worker gives them up."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from temporalio import activity
from temporalio.activity import ActivityCancellationDetails

from activities.heartbeat import SILENCE_LIMIT
from schemas.workflow import names
from schemas.workflow.attempt import StopInput

_GIVEN_UP_BY_TEMPORAL = (
    "Temporal has given the Attempt up: its worker was not heard of in time, it was reset there, or its Run was ended."
)


class Cause(Enum):
    """Why an Attempt is stopped."""

    CANCELED = auto()
    """The Run of the Attempt was canceled."""
    INTERRUPTED = auto()
    """This worker cannot go on with the Attempt, which does not count then."""


@dataclass
class RunningAttempt:
    """One running Attempt, and why it is to stop, if it is."""

    task: asyncio.Task[Any]
    cause: Cause | None = None
    message: str = ""

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


class RunningAttempts:
    """All running Attempts of a worker, by Run and number."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], RunningAttempt] = {}

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(list(self._running))

    @contextmanager
    def register(self, run_id: str, number: int, task: asyncio.Task[Any]) -> Generator[RunningAttempt]:
        """Register the Attempt as running for as long as the block lasts."""
        running_attempt = self._running[run_id, number] = RunningAttempt(task)
        try:
            yield running_attempt
        finally:
            del self._running[run_id, number]

    @activity.defn(name=names.STOP_ATTEMPT)
    async def stop_attempt(self, input: StopInput) -> bool:
        """Stop an Attempt, without waiting for its end; return False if it is not here (any more).

        This is the activity with which a workflow reaches one worker process.
        """
        return self.stop(input.run_id, input.number)

    def stop(self, run_id: str, number: int) -> bool:
        """Cancel the Attempt, or another one of its Run that is here by now; return False if there is none."""
        others = (other for (other_run_id, _), other in self._running.items() if other_run_id == run_id)
        running_attempt = self._running.get((run_id, number)) or next(others, None)
        if running_attempt is None:
            return False
        running_attempt.stop(Cause.CANCELED)
        return True

    def interrupt_all(self, message: str) -> None:
        """Interrupt every Attempt."""
        for running_attempt in list(self._running.values()):
            running_attempt.stop(Cause.INTERRUPTED, message)
