"""The workflow `Create`: log in and check the login (docs/contract.md, section 10). Update and record are the same."""

from __future__ import annotations

import json

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.attempt import AttemptInput, AttemptKind, AttemptStatus
    from callboard.schemas.workflow.auth import AttemptAuth, LoginState
    from callboard.schemas.workflow.auth_session import CreateInput
    from callboard.schemas.workflow.base import JsonRef
    from callboard.schemas.workflow.run import ErrorCode, RunOutcome
    from callboard.schemas.workflow.trace import TraceMode
    from workflows import auth_outcomes
    from workflows.auth_workflow import AuthWorkflow
    from workflows.browser_workflow import MAXIMUM_INTERRUPTIONS


@workflow.defn(name=names.CREATE)
class CreateWorkflow(AuthWorkflow):
    """One Create, Update or record: a Run of its own, a child of its AuthSession, which keeps the resulting login."""

    @workflow.run
    async def run(self, input: CreateInput) -> RunOutcome:
        """Complete with the new login, or close as failed or canceled (see `workflows.outcomes`)."""
        return await self._run_to_close(self._unless_canceled(self._log_in(input)))

    async def _log_in(self, create: CreateInput) -> RunOutcome:
        if create.spec.start_url is None:
            activity, kind, tries = names.CREATE_LOGIN, AttemptKind.CREATE, create.spec.create_attempts
        else:  # whoever has declined, or has not come, is not asked again; only a record that was lost is made again
            activity, kind, tries = names.RECORD_LOGIN, AttemptKind.RECORD, 1 + MAXIMUM_INTERRUPTIONS
        created = await self._execute_retryable(
            activity, _attempt_input(create, kind, None), tries, is_run_started=True
        )
        if created.status is AttemptStatus.COMPLETED and create.spec.check_attempts == 0:
            return auth_outcomes.completed(created.login, created.number)
        if created.status is not AttemptStatus.COMPLETED:
            return auth_outcomes.failed(ErrorCode.CREATE_ATTEMPTS_FAILED, created)

        check_input = _attempt_input(create, AttemptKind.CHECK, created.login)
        result = await self._check(check_input, create.spec.check_attempts, is_run_started=True)
        if result.status is AttemptStatus.COMPLETED:
            return auth_outcomes.completed(result.login, result.number)
        return auth_outcomes.failed(ErrorCode.POST_CREATE_CHECK_ATTEMPTS_FAILED, result)


def _attempt_input(create: CreateInput, kind: AttemptKind, initial_login: LoginState | None) -> AttemptInput:
    spec = create.spec
    parameters, trace = "null", spec.trace
    if kind is AttemptKind.RECORD:  # whatever the Run says whose login has expired: a trace would have what is typed
        parameters, trace = json.dumps({"startUrl": spec.start_url}), TraceMode.NEVER
    return AttemptInput(
        workspace=create.workspace,
        run_id=workflow.info().workflow_id,
        number=1,
        project=create.project,
        version=spec.version,
        api=kind.path,
        parameters=JsonRef(text=parameters, size=len(parameters)),
        request_timeout=spec.request_timeout,
        trace=trace,
        proxy=spec.proxy,
        kind=kind,
        auth=AttemptAuth(
            ref=create.ref,
            initial_login=initial_login,
            new_login_version=create.login_version,
            parameters_key=spec.parameters_key,
        ),
        parent_run_id=spec.parent_run_id,
    )
