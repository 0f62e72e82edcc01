"""Activity `attempt_after_check`: the first check of a Validate, and right after it the Attempt that waits for it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.announcement import Word, words_of
from activities.attempt import AttemptActivity
from activities.beside import passing_cancels_to
from activities.course import Course
from activities.records import failure
from activities.ticket import Cause, Ticket, Tickets
from contract.errors import Conflict
from contract.flow import names
from contract.flow.attempt import INTERRUPTED, AttemptInput, AttemptOutcome, AttemptStarted, AttemptStatus, Tried
from contract.flow.auth_session import AttemptAfterCheckInput, AttemptAfterCheckOutcome, CheckGood, CheckStarted
from contract.flow.base import FlowModel
from engine.validates import start_good

log = logging.getLogger(__name__)


class AttemptAfterCheckActivity:
    """The activity with what it works on."""

    def __init__(self, *, client: Client, tickets: Tickets, attempts: AttemptActivity) -> None:
        self._client = client
        self._tickets = tickets
        self._attempts = attempts

    @activity.defn(name=names.ATTEMPT_AFTER_CHECK)
    async def attempt_after_check(self, order: AttemptAfterCheckInput) -> AttemptAfterCheckOutcome:
        """Make the check; if it is good, execute the Attempt. What the check leaves is stored while that begins.

        If the check has taken so long that it was announced, no user code of the Attempt is called before the Run knows
        that it was good: then whoever finds this activity lost can tell whether the Attempt may have begun.

        Raises:
            ApplicationError: As activity `check` does, for the check alone. `AttemptInterrupted`, with the details that
                tell which of the two it was.
        """
        with self._tickets.hold(order.attempt.run_id, order.attempt.number) as ticket:
            return await passing_cancels_to(ticket, self._both(order, ticket))

    async def _both(self, order: AttemptAfterCheckInput, ticket: Ticket) -> AttemptAfterCheckOutcome:
        announced = asyncio.Event()

        def word(started: AttemptStarted) -> CheckStarted:
            announced.set()
            return CheckStarted(number=order.attempt.number, check=started)

        good: asyncio.Future[AttemptOutcome] = asyncio.get_running_loop().create_future()
        course = Course(
            within=ticket,
            words=[Word(order.attempt.run_id, names.CHECK_STARTED, word)],
            followed=True,
            on_good=good.set_result,
        )
        checking = asyncio.create_task(self._attempts.one_try(order.check, course), name="check")
        await asyncio.wait({checking, good}, return_when=asyncio.FIRST_COMPLETED)
        if not good.done():
            return AttemptAfterCheckOutcome(check=_tried(order.check, await checking))
        check = _tried(order.check, good.result())
        recording = asyncio.create_task(
            self._record(order, check, checking, ticket, announced=announced.is_set()), name="record the check"
        )
        try:
            if announced.is_set():
                await self._say(order, check)
            words = [_began_with_check(word, check) for word in words_of(order.attempt)]
            course = Course(within=ticket, words=words, since=check.ended_at, known=course.known)
            attempt = await self._attempt(_with_login(order.attempt, check), course)
        finally:
            await asyncio.wait({recording})
        return AttemptAfterCheckOutcome(check=check, attempt=attempt, recorded=recording.result())

    async def _record(
        self,
        order: AttemptAfterCheckInput,
        check: Tried,
        checking: asyncio.Task[AttemptOutcome],
        ticket: Ticket,
        *,
        announced: bool,
    ) -> bool:
        """See to it that there is a Validate that knows of the check; False if its Run has to."""
        try:
            await checking  # what it leaves is stored by then
            if not announced:
                await start_good(self._client, order.check.run_id, order.validate_order, check)
        except Conflict as error:  # this worker was taken for dead, and another check was made
            ticket.stop(Cause.INTERRUPTED, error.message)
        except Exception:
            log.exception("Run %s: its Validate could not be started", order.attempt.run_id)
        else:
            return True
        return False

    async def _say(self, order: AttemptAfterCheckInput, check: Tried) -> None:
        handle = self._client.get_workflow_handle(order.attempt.run_id, run_id=activity.info().workflow_run_id)
        try:
            await handle.signal(names.CHECK_GOOD, CheckGood(number=order.attempt.number, check=check))
        except RPCError as error:
            message = f"The Run could not be told that its check was good: {error.message}"
            of = (order.check.run_id, order.check.number)
            raise ApplicationError(message, *of, type=INTERRUPTED, non_retryable=True) from error

    async def _attempt(self, order: AttemptInput, course: Course) -> AttemptOutcome:
        try:
            return await self._attempts.held(order, course)
        except ApplicationError as error:
            if error.type == INTERRUPTED:
                raise
            return AttemptOutcome(status=AttemptStatus.FAILED, error=failure(error))
        except Exception as error:
            log.exception("Run %s, Attempt %d", order.run_id, order.number)
            return AttemptOutcome(status=AttemptStatus.FAILED, error=failure(error))


def _began_with_check(word: Word, check: Tried) -> Word:
    """The word that an Attempt is on a Machine; what it belongs to began with the check."""

    def says(started: AttemptStarted) -> FlowModel | int:
        return word.says(started.model_copy(update={"started_at": check.started_at}))

    return replace(word, says=says)


def _tried(order: AttemptInput, ended: AttemptOutcome) -> Tried:
    return Tried(
        status=ended.status,
        number=order.number,
        login=ended.login,
        started_at=ended.started_at,
        ended_at=datetime.now(UTC),
    )


def _with_login(attempt: AttemptInput, check: Tried) -> AttemptInput:
    auth = attempt.auth and attempt.auth.model_copy(update={"state": check.login})
    return attempt.model_copy(update={"auth": auth})
