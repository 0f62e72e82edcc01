"""Workflow `Validate`: is the login good? If not, and if it may be, it is made anew (contract 10, rule 3)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from contract.flow import names
    from contract.flow.attempt import AttemptInput, AttemptKind, AttemptStatus
    from contract.flow.auth import AttemptAuth, AuthSessionType, Checked, LoginState
    from contract.flow.auth_session import LoginOrder, Recreate, Recreated, ValidateInput
    from contract.flow.base import JsonText
    from contract.flow.run import ErrorCode, RunOutcome, RunStatus, RunType
    from workflows import login_verdict
    from workflows.login_work import LoginWork, of_kind

_ASK_AGAIN = timedelta(minutes=1)
"""An AuthSession that does not answer is asked again: it may have been ended by hand, and then nobody would."""


@workflow.defn(name=names.VALIDATE)
class ValidateWorkflow(LoginWork):
    """One Validate, a Run of its own, started for another Run or by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: Recreated | None = None

    @workflow.run
    async def run(self, order: ValidateInput) -> RunOutcome:
        """Completed, with the login that is good now; failed, with the contract's code; or canceled."""
        outcome = await self._validated(order)
        if self._cancel_asked and outcome.status is not RunStatus.COMPLETED:
            outcome = login_verdict.canceled(self._attempts)
        return self._ended(outcome)

    async def _validated(self, order: ValidateInput) -> RunOutcome:
        tried = await self._check(_check(order, None), order.check_attempts, begun=order.begun)
        if tried.status is AttemptStatus.COMPLETED:
            return login_verdict.good(tried.login, tried.number)
        may_be_made = order.auto_recreate and order.ref.type is not AuthSessionType.RECORDER
        if tried.seen is None or not may_be_made or self._cancel_asked:
            await self._tell(order, tried.seen)
            return login_verdict.failed(ErrorCode.CHECK_ATTEMPTS_FAILED, tried)
        return await self._made_anew(order, tried.seen)

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
        tried = await self._check(_check(order, answer.state), order.check_attempts, begun=True)
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

    @workflow.signal(name=names.RECREATED)
    def recreated(self, answer: Recreated) -> None:
        """The AuthSession's answer."""
        self._answer = answer


def _owner(order: ValidateInput) -> workflow.ExternalWorkflowHandle[object]:
    return workflow.get_external_workflow_handle(names.auth_session_workflow(order.project, order.ref.owner))


def _check(order: ValidateInput, state: LoginState | None) -> AttemptInput:
    return AttemptInput(
        workspace=order.workspace,
        run_id=workflow.info().workflow_id,
        number=1,
        project=order.project,
        version=order.version,
        api=of_kind(AttemptKind.CHECK),
        parameters=JsonText(text="null", size=4),
        request_timeout=order.request_timeout,
        save_trace=order.save_trace,
        proxy=order.proxy,
        kind=AttemptKind.CHECK,
        auth=AttemptAuth(ref=order.ref, state=state, save_back=order.save_back),
        parent_run_id=order.parent_run_id,
    )
