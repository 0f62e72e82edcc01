"""Workflow `Create`: log in, and see that the login is good (contract 10, rules 3.3 and 6). Update is the same."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from contract.flow import names
    from contract.flow.attempt import AttemptInput, AttemptKind, AttemptStatus
    from contract.flow.auth import AttemptAuth, LoginState
    from contract.flow.auth_session import CreateInput
    from contract.flow.base import JsonText
    from contract.flow.run import ErrorCode, RunOutcome, RunStatus
    from workflows import login_verdict
    from workflows.login_work import LoginWork, of_kind


@workflow.defn(name=names.CREATE)
class CreateWorkflow(LoginWork):
    """One Create or Update, a Run of its own. Always a child of its AuthSession, which keeps what comes of it."""

    @workflow.run
    async def run(self, order: CreateInput) -> RunOutcome:
        """Completed, with the new login; failed, with the contract's code; or canceled."""
        outcome = await self._made(order)
        if self._cancel_asked and outcome.status is not RunStatus.COMPLETED:
            outcome = login_verdict.canceled(self._attempts)
        return self._ended(outcome)

    async def _made(self, order: CreateInput) -> RunOutcome:
        made = await self._create(_attempt(order, AttemptKind.CREATE, None), order.order.create_attempts)
        if made.status is not AttemptStatus.COMPLETED:
            return login_verdict.failed(ErrorCode.CREATE_ATTEMPTS_FAILED, made)
        if order.order.check_attempts == 0:
            return login_verdict.good(made.login, made.number)
        if self._cancel_asked:
            return login_verdict.canceled(self._attempts)
        tried = await self._check(
            _attempt(order, AttemptKind.CHECK, made.login), order.order.check_attempts, begun=True
        )
        if tried.status is AttemptStatus.COMPLETED:
            return login_verdict.good(tried.login, tried.number)
        return login_verdict.failed(ErrorCode.POST_CREATE_CHECK_ATTEMPTS_FAILED, tried)


def _attempt(order: CreateInput, kind: AttemptKind, state: LoginState | None) -> AttemptInput:
    return AttemptInput(
        workspace=order.workspace,
        run_id=workflow.info().workflow_id,
        number=1,
        project=order.project,
        version=order.order.version,
        api=of_kind(kind),
        parameters=JsonText(text="null", size=4),
        request_timeout=order.order.request_timeout,
        save_trace=order.order.save_trace,
        proxy=order.order.proxy,
        kind=kind,
        auth=AttemptAuth(ref=order.ref, state=state, login=order.login, parameters_key=order.order.parameters_key),
        parent_run_id=order.order.parent_run_id,
    )
