"""The workflow `Validate`: check the login; if it is bad, recreate and check again.

See docs/contract.md, section 10.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.attempt import AttemptInput, AttemptKind, AttemptStatus
    from callboard.schemas.workflow.auth import AttemptAuth, CheckReport, LoginState
    from callboard.schemas.workflow.auth_session import LoginSpec, RecreateRequest, RecreateResult, ValidateInput
    from callboard.schemas.workflow.base import JsonRef
    from callboard.schemas.workflow.run import ErrorCode, RunOutcome, RunType
    from workflows import auth_outcomes, outcomes
    from workflows.auth_workflow import AuthWorkflow

_ASK_AGAIN_AFTER = timedelta(minutes=1)
"""Time after which an AuthSession that does not answer is asked again: somebody may have ended it by hand, and then
nobody answers."""


@workflow.defn(name=names.VALIDATE)
class ValidateWorkflow(AuthWorkflow):
    """One Validate: a Run of its own, started for another Run or by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._recreate_result: RecreateResult | None = None

    @workflow.run
    async def run(self, input: ValidateInput) -> RunOutcome:
        """Complete with the login that is good now, or close as failed or canceled (see `workflows.outcomes`)."""
        return await self._run_to_close(self._unless_canceled(self._validate_alone(input)))

    async def _validate_alone(self, validate: ValidateInput) -> RunOutcome:
        """Validate when it is this Validate's turn to use the login, if it takes turns."""
        if not validate.takes_lease:
            return await self._validate(validate)
        error = await self._acquire_lease(validate.project, validate.ref, None)
        if self._cancel_requested:
            outcome = outcomes.canceled(0)
        else:
            outcome = await self._validate(validate) if error is None else outcomes.failed_with(error, 0)
        await self._release_lease()
        return outcome

    async def _validate(self, validate: ValidateInput) -> RunOutcome:
        result = await self._check(
            _check_input(validate),
            validate.check_attempts,
            is_run_started=validate.is_run_started,
            queue_timeout=validate.queue_timeout,
        )
        if result.status is AttemptStatus.COMPLETED:
            return auth_outcomes.completed(result.login, result.number)
        if result.bad_login_version is None or not validate.auto_recreate or self._cancel_requested:
            await self._report_expired(validate, result.bad_login_version)
            return auth_outcomes.failed(ErrorCode.CHECK_ATTEMPTS_FAILED, result)

        workflow.set_current_details("The login is not good any more; a Create is awaited")
        recreated = await self._recreate(validate, result.bad_login_version)
        if recreated is None or recreated.login is None:
            error = (recreated and recreated.error) or auth_outcomes.auth_session_deleted(validate.ref.id)
            return outcomes.failed_with(error, self._attempts)

        result = await self._check(
            _check_input(validate, recreated.login), validate.check_attempts, is_run_started=True
        )
        if result.status is AttemptStatus.COMPLETED:
            return auth_outcomes.completed(result.login, result.number)
        await self._report_expired(validate, result.bad_login_version)
        return auth_outcomes.failed(ErrorCode.POST_CREATE_CHECK_ATTEMPTS_FAILED, result)

    async def _recreate(self, validate: ValidateInput, bad_version: int) -> RecreateResult | None:
        """Ask the AuthSession for a new login, and wait for its answer, however long its Create takes.

        Return None if there is no such AuthSession any more, or this Validate was canceled. A Create then goes on, for
        others may wait for it too; a record only if they do.
        """
        request = _recreate_request(validate, bad_version)
        while self._recreate_result is None and not self._cancel_requested:
            try:
                await _auth_session(validate).signal(names.RECREATE, request)
            except FailureError:
                return None
            try:
                await workflow.wait_condition(
                    lambda: self._recreate_result is not None or self._cancel_requested, timeout=_ASK_AGAIN_AFTER
                )
            except TimeoutError:
                continue
        if self._recreate_result is None:
            with suppress(FailureError):  # the AuthSession is gone
                await _auth_session(validate).signal(names.WITHDRAW_RECREATE, request.validate_run_id)
        return self._recreate_result

    async def _report_expired(self, validate: ValidateInput, bad_version: int | None) -> None:
        """Tell the AuthSession that its login is bad, if a check has found it so."""
        if bad_version is None or self._cancel_requested:
            return
        try:
            await _auth_session(validate).signal(names.CHECKED, CheckReport(login_version=bad_version, good=False))
        except FailureError as error:
            workflow.logger.info("AuthSession %s was not told: %s", validate.ref.id, error)

    @workflow.signal(name=names.RECREATED)
    def recreated(self, result: RecreateResult) -> None:
        """Store the AuthSession's answer."""
        self._recreate_result = result


def _auth_session(validate: ValidateInput) -> workflow.ExternalWorkflowHandle[object]:
    return workflow.get_external_workflow_handle(names.auth_session_workflow_id(validate.project, validate.ref.owner))


def _check_input(validate: ValidateInput, initial_login: LoginState | None = None) -> AttemptInput:
    """Return the input of a check of the login with this state, or of the current login without one."""
    return AttemptInput(
        workspace=validate.workspace,
        run_id=workflow.info().workflow_id,
        number=1,
        project=validate.project,
        version=validate.version,
        api=AttemptKind.CHECK.path,
        parameters=JsonRef(text="null", size=4),
        request_timeout=validate.request_timeout,
        trace=validate.trace,
        proxy=validate.proxy,
        kind=AttemptKind.CHECK,
        auth=AttemptAuth(ref=validate.ref, initial_login=initial_login, save_back=validate.save_back),
        parent_run_id=validate.parent_run_id,
        job=validate.job,
    )


def _recreate_request(validate: ValidateInput, bad_version: int) -> RecreateRequest:
    run_id = workflow.info().workflow_id
    return RecreateRequest(
        validate_run_id=run_id,
        seen_login_version=bad_version,
        spec=LoginSpec(
            run_id="",
            type=RunType.AUTH_SESSION_CREATE,
            version=validate.version,
            parameters_key="",
            create_attempts=validate.create_attempts,
            check_attempts=0,
            request_timeout=validate.request_timeout,
            trace=validate.trace,
            proxy=validate.proxy,
            parent_run_id=run_id,
        ),
    )
