"""Workflow `Validate`: is the login good? If not, and if it may be, it is made anew (contract 10, rule 3)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from contract.flow import names
    from contract.flow.attempt import AttemptStatus, Tried
    from contract.flow.auth import AuthSessionType, Checked
    from contract.flow.auth_session import LoginOrder, Recreate, Recreated, ValidateInput
    from contract.flow.run import ErrorCode, RunOutcome, RunStatus, RunType
    from workflows import login_verdict
    from workflows.login_work import LoginWork, check_of, lost

_ASK_AGAIN = timedelta(minutes=1)
"""An AuthSession that does not answer is asked again: it may have been ended by hand, and then nobody would."""
_TOLD_WITHIN = timedelta(minutes=1)
"""How long a canceled Validate waits to be told how its first check has ended. Its Run may have been ended by hand; the
check has been stopped by then, as its worker does not get an answer to its heartbeats."""


@workflow.defn(name=names.VALIDATE)
class ValidateWorkflow(LoginWork):
    """One Validate, a Run of its own, started for another Run or by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: Recreated | None = None
        self._first_checked: Tried | None = None

    @workflow.run
    async def run(self, order: ValidateInput) -> RunOutcome:
        """Completed, with the login that is good now; failed, with the contract's code; or canceled."""
        outcome = await self._validated(order)
        if self._cancel_asked and outcome.status is not RunStatus.COMPLETED:
            outcome = login_verdict.canceled(self._attempts)
        return self._ended(outcome)

    async def _validated(self, order: ValidateInput) -> RunOutcome:
        tried = await self._look(order)
        if tried.status is AttemptStatus.COMPLETED:
            return login_verdict.good(tried.login, tried.number)
        may_be_made = order.auto_recreate and order.ref.type is not AuthSessionType.RECORDER
        if tried.seen is None or not may_be_made or self._cancel_asked:
            await self._tell(order, tried.seen)
            return login_verdict.failed(ErrorCode.CHECK_ATTEMPTS_FAILED, tried)
        return await self._made_anew(order, tried.seen)

    async def _look(self, order: ValidateInput) -> Tried:
        """Check whatever login is the current one, as often as is allowed."""
        check = check_of(workflow.info().workflow_id, order)
        if not order.first_check_elsewhere:
            return await self._check(check, order.check_attempts, begun=order.begun)
        first = order.first_checked or await self._told(order)
        self._note(first)
        left = order.check_attempts
        if first.status is AttemptStatus.INTERRUPTED:
            await self._record_lost(lost(check, first))
        else:
            left -= 1
        failed = first.status in {AttemptStatus.FAILED, AttemptStatus.INTERRUPTED}
        if not failed or first.final or first.none_to_see or left == 0 or self._cancel_asked:
            return first
        self._become(RunStatus.STARTED, f"Check {first.number}: {first.status}; the next follows")
        return await self._check(check, left, begun=True)

    async def _told(self, order: ValidateInput) -> Tried:
        """How the first check has ended, which is made elsewhere. A cancel stops it there."""
        if order.first_check is not None:
            self.attempt_started(order.first_check)
        try:
            await workflow.wait_condition(lambda: self._first_checked is not None)
        except asyncio.CancelledError:
            self._cancel_asked = True
            await workflow.wait_condition(lambda: True)  # hear all that came with it
            if self._first_checked is None and order.first_check is not None:
                await self._stopped(order.first_check)
            with suppress(TimeoutError):
                await workflow.wait_condition(lambda: self._first_checked is not None, timeout=_TOLD_WITHIN)
        return self._first_checked or Tried(status=AttemptStatus.CANCELED, number=1)

    async def _made_anew(self, order: ValidateInput, seen: int) -> RunOutcome:
        self._become(RunStatus.STARTED, "The login is not good any more; a Create is waited for")
        answer = await self._ask(order, seen)
        if self._cancel_asked:  # nothing of ours is on a Machine, and the Create is for others, too
            return login_verdict.canceled(self._attempts)
        if answer is None:
            return login_verdict.failed_with(login_verdict.gone(order.ref.id), self._attempts)
        if answer.state is None:
            error = answer.error or login_verdict.gone(order.ref.id)
            return login_verdict.failed_with(error, self._attempts)
        check = check_of(workflow.info().workflow_id, order, answer.state)
        tried = await self._check(check, order.check_attempts, begun=True)
        if tried.status is AttemptStatus.COMPLETED:
            return login_verdict.good(tried.login, tried.number)
        await self._tell(order, tried.seen)
        return login_verdict.failed(ErrorCode.POST_CREATE_CHECK_ATTEMPTS_FAILED, tried)

    async def _ask(self, order: ValidateInput, seen: int) -> Recreated | None:
        """The AuthSession's answer, however long its Create takes; None: there is no such AuthSession any more."""
        question = Recreate(
            asker=workflow.info().workflow_id,
            login=seen,
            order=LoginOrder(
                run_id="",
                type=RunType.AUTH_SESSION_CREATE,
                version=order.version,
                parameters_key="",
                create_attempts=order.create_attempts,
                check_attempts=0,
                request_timeout=order.request_timeout,
                save_trace=order.save_trace,
                proxy=order.proxy,
                parent_run_id=workflow.info().workflow_id,
            ),
        )
        while self._answer is None and not self._cancel_asked:
            try:
                await self._to_its_end(_owner(order).signal(names.RECREATE, question))
            except FailureError:
                break
            try:
                await workflow.wait_condition(
                    lambda: self._answer is not None or self._cancel_asked, timeout=_ASK_AGAIN
                )
            except TimeoutError:
                continue
            except asyncio.CancelledError:
                self._cancel_asked = True
        return self._answer

    async def _tell(self, order: ValidateInput, seen: int | None) -> None:
        """Tell the AuthSession that its login was found bad, if it was."""
        if seen is None or self._cancel_asked:
            return
        try:
            await self._to_its_end(_owner(order).signal(names.CHECKED, Checked(login=seen, good=False)))
        except FailureError as error:
            workflow.logger.info("AuthSession %s was not told: %s", order.ref.id, error)

    @workflow.signal(name=names.FIRST_CHECKED)
    def first_checked(self, tried: Tried) -> None:
        """How the first check has ended. Who says it first is right: a worker that was given up may say it, too."""
        self._first_checked = self._first_checked or tried

    @workflow.signal(name=names.RECREATED)
    def recreated(self, answer: Recreated) -> None:
        """The AuthSession's answer."""
        self._answer = answer


def _owner(order: ValidateInput) -> workflow.ExternalWorkflowHandle[object]:
    return workflow.get_external_workflow_handle(names.auth_session_workflow(order.project, order.ref.owner))
