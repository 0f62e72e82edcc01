"""The workflow `Inbox`: codes that come for one addressee of a project meet the questions that wait for them.

It decides who gets a code, and so nobody gets one twice. See docs/contract.md, section 22.1.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.inbox import (
        KEPT_FOR,
        MOST_CODES,
        MOST_WAITS,
        CodeWait,
        GiveCodeInput,
        GivenCode,
        InboxInput,
        KeptCode,
        PushedCode,
    )
    from workflows.visibility import project_search_attributes

_HEARTBEAT_TIMEOUT = timedelta(seconds=8)
"""Time after which another worker goes on for one that was killed."""


@workflow.defn(name=names.INBOX)
class InboxWorkflow:
    """One Inbox. The first code, or the first question, starts it; it ends as soon as it has neither."""

    @workflow.init
    def __init__(self, input: InboxInput) -> None:
        self._input = input
        self._codes = list(input.codes)
        """The codes that nobody has taken, the oldest first."""
        self._waits = list(input.waits)
        """The questions that wait, in the order in which they were asked."""

    @workflow.run
    async def run(self, _input: InboxInput) -> None:
        """Give each code to the first question that it is something for, until there is neither."""
        await workflow.wait_condition(lambda: bool(self._codes or self._waits))
        while True:
            self._forget()
            if not self._codes and not self._waits:
                return
            if self._is_long():
                successor = self._input.model_copy(update={"codes": tuple(self._codes), "waits": tuple(self._waits)})
                attributes = project_search_attributes(self._input.project)
                workflow.continue_as_new(successor, search_attributes=attributes)
            if (code := self._next_code()) is not None:
                await self._give(code)
                continue
            # Codes that nobody waits for make the history long as well; Temporal ends one that is too long.
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._next_code() is not None or self._is_long(), timeout=self._next_end() - workflow.now()
                )

    @workflow.signal(name=names.PUSH_CODE)
    def push(self, code: PushedCode) -> None:
        """Take a code that has come."""
        self._codes.append(KeptCode(code=code, at=workflow.now()))
        del self._codes[:-MOST_CODES]

    @workflow.signal(name=names.WAIT_FOR_CODE)
    def wait(self, wait: CodeWait) -> None:
        """Let a question wait, once."""
        if all(each.handoff_id != wait.handoff_id for each in self._waits):
            self._waits.append(wait)
            del self._waits[:-MOST_WAITS]

    def _is_long(self) -> bool:
        return workflow.info().is_continue_as_new_suggested()

    def _next_code(self) -> KeptCode | None:
        """Return the newest code that somebody waits for who was not offered it; None if there is none."""
        return next((code for code in reversed(self._codes) if self._takers(code)), None)

    def _takers(self, code: KeptCode) -> tuple[CodeWait, ...]:
        """Return who may take a code, first who has asked first."""
        return tuple(each for each in self._waits if each.since <= code.at and each.handoff_id not in code.tried)

    async def _give(self, code: KeptCode) -> None:
        """Give a code to one of those who may take it. One of which this is not known counts as given."""
        takers = self._takers(code)
        try:
            given = await workflow.execute_activity(
                names.GIVE_CODE,
                GiveCodeInput(
                    workspace=self._input.workspace, project=self._input.project, code=code.code, waits=takers
                ),
                result_type=GivenCode,
                schedule_to_close_timeout=KEPT_FOR,
                heartbeat_timeout=_HEARTBEAT_TIMEOUT,
                retry_policy=RetryPolicy(
                    maximum_interval=timedelta(seconds=10),
                    non_retryable_error_types=["ConfigurationError", "SealError"],  # others wait behind it
                ),
                priority=Priority(
                    priority_key=names.PRIORITY_STARTED, fairness_key=names.fairness_key(self._input.project)
                ),
                summary="Give a code to a question",
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("A code was given to nobody: %s", error.cause)
            self._codes = [each for each in self._codes if each.code.id != code.code.id]
            return
        over = {given.taken_by, *given.closed}
        self._waits = [each for each in self._waits if each.handoff_id not in over]
        asked = {each.handoff_id for each in takers}.union(code.tried)
        tried = tuple(each.handoff_id for each in self._waits if each.handoff_id in asked)
        self._codes = [
            each.model_copy(update={"tried": tried}) if each.code.id == code.code.id else each
            for each in self._codes
            if given.taken_by is None or each.code.id != code.code.id
        ]

    def _next_end(self) -> datetime:
        """Return when the next code or question ends by itself."""
        return min([*(each.at + KEPT_FOR for each in self._codes), *(each.until for each in self._waits)])

    def _forget(self) -> None:
        """Forget what has ended by itself."""
        now = workflow.now()
        self._codes = [each for each in self._codes if now < each.at + KEPT_FOR]
        self._waits = [each for each in self._waits if now < each.until]
