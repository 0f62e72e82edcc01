"""Workflow `Run`: one API, executed by Attempts until one succeeds or none is left (contract section 10)."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, ChildWorkflowError
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from contract.flow import names
    from contract.flow.attempt import AttemptInput, AttemptOutcome, AttemptStatus, LostInput
    from contract.flow.auth import AttemptAuth, AuthOrder, AuthSessionStatus, AuthSessionType, LoginState
    from contract.flow.auth_session import AuthSessionInput, AuthSessionView, ValidateInput
    from contract.flow.run import RunInput, RunOutcome, RunStatus, RunType, trace_mode
    from workflows import verdict
    from workflows.attributes import memo_of_login_run, of_login_run
    from workflows.browser_work import ONCE, BrowserWork
    from workflows.handing_over import hand_over

INTERRUPTIONS = 3
"""An Attempt lost with its worker does not count, and is tried again at most so often."""


@workflow.defn(name=names.RUN)
class RunWorkflow(BrowserWork):
    """One Run. Its id is the Run's id; its result is the outcome, whatever Temporal's close status says."""

    @workflow.run
    async def run(self, order: RunInput) -> RunOutcome:
        """Execute Attempts in turn and return how the Run ended."""
        self._maximum_attempts = order.maximum_attempts
        outcome = await self._attempts(order)
        await hand_over(order, outcome)
        return self._ended(outcome)

    async def _attempts(self, order: RunInput) -> RunOutcome:
        number = failures = interruptions = 0
        login = None
        if order.auth is not None and order.auth.ref.type is AuthSessionType.RUNTIME:
            await self._bring_into_being(order, order.auth)
            if self._cancel_asked:
                return verdict.canceled(0)
        while True:
            number += 1
            if order.auth is not None:
                validated = await self._validate(order, order.auth, number)
                self._began(validated.started_at, first=number == 1)
                if self._cancel_asked or validated.login is None:
                    validate = names.validate_run_id(workflow.info().workflow_id, number)
                    return verdict.not_validated(validated, validate, number - 1, asked=self._cancel_asked)
                login = validated.login
                # The check may have been over in no time, and the Attempt may have to wait for its Machine.
                self._become(RunStatus.STARTED, f"The AuthSession is good; Attempt {number} is next")
            ended = await self._attempt(order, number, login)
            self._began(ended.started_at, first=number == 1 and order.auth is None)
            if ended.status is AttemptStatus.COMPLETED:
                return verdict.completed(ended, number)
            if ended.status is AttemptStatus.CANCELED:
                return verdict.canceled(number if self._was_taken(ended, number) else number - 1)
            if ended.status is AttemptStatus.INTERRUPTED:
                await self._record_lost(_lost(order, number, ended))
                if self._cancel_asked:
                    return verdict.canceled(number)
                interruptions += 1
                none_left = order.maximum_attempts == 1 or interruptions > INTERRUPTIONS
            else:
                failures += 1
                none_left = failures == order.maximum_attempts
            if order.auth is not None and verdict.is_without_login(ended):
                return verdict.not_validated(verdict.failed_for_good(ended, number), None, number, asked=False)
            # How the Attempt ended stands, also if a cancel was asked for as it did; there is only no other.
            if ended.final:
                return verdict.failed_for_good(ended, number)
            if none_left:
                return verdict.attempts_failed(ended, number)
            if self._cancel_asked:
                return verdict.canceled(number)
            self._become(RunStatus.STARTED, f"Attempt {number} {ended.status}; Attempt {number + 1} is next")

    async def _attempt(self, order: RunInput, number: int, login: LoginState | None) -> AttemptOutcome:
        attempt = AttemptInput(
            workspace=order.workspace,
            run_id=workflow.info().workflow_id,
            number=number,
            project=order.project,
            version=order.version,
            api=order.api,
            parameters=order.parameters,
            request_timeout=order.request_timeout,
            save_trace=order.save_trace,
            trace=order.trace,
            proxy=order.proxy,
            auth=order.auth and AttemptAuth(ref=order.auth.ref, state=login, save_back=order.auth.save_back),
        )
        try:
            return await self._on_machine(
                names.ATTEMPT,
                attempt,
                activity_id=names.attempt_activity_id(number),
                retry=ONCE,
                # A Validate before it has begun the Run.
                begun=number > 1 or order.auth is not None,
                summary=f"Attempt {number}",
            )
        except ActivityError as error:
            return verdict.of_lost_attempt(error)

    def _was_taken(self, ended: AttemptOutcome, number: int) -> bool:
        """Whether a worker had the canceled Attempt; one that was still queued is none."""
        return ended.started_at is not None or self._where_is(number) is not None

    async def _validate(self, order: RunInput, auth: AuthOrder, number: int) -> RunOutcome:
        """Have the AuthSession validated by a Run of its own; it is gone from its Machine when this returns."""
        run_id = workflow.info().workflow_id
        validate = ValidateInput(
            workspace=order.workspace,
            project=order.project,
            version=order.version,
            ref=auth.ref,
            auto_recreate=auth.auto_recreate,
            check_attempts=auth.check_attempts,
            create_attempts=auth.create_attempts,
            request_timeout=auth.request_timeout,
            save_trace=auth.save_trace,
            save_back=auth.save_back,
            proxy=auth.proxy,
            parent_run_id=run_id,
            begun=number > 1,
        )
        starting = workflow.start_child_workflow(
            names.VALIDATE,
            validate,
            id=names.validate_run_id(run_id, number),
            result_type=RunOutcome,
            cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
            memo=memo_of_login_run(order.workspace, order.version, run_id),
            search_attributes=of_login_run(order.project, auth.ref.id, RunType.AUTH_SESSION_VALIDATE),
            static_summary=f"{order.project}: validate {auth.ref.id}",
        )
        try:
            return await self._child(starting)
        except ChildWorkflowError as error:
            return verdict.of_lost_login_run(error)

    async def _bring_into_being(self, order: RunInput, auth: AuthOrder) -> None:
        """The AuthSession that lives for this Run alone: it is cancelled, and removes itself, when the Run is over."""
        now = workflow.now()
        view = AuthSessionView(
            id=auth.ref.id,
            type=auth.ref.type,
            status=AuthSessionStatus.PENDING,
            parameters_key=auth.parameters_key,
            proxy=auth.proxy,
            created_at=now,
            updated_at=now,
        )
        starting = workflow.start_child_workflow(
            names.AUTH_SESSION,
            AuthSessionInput(workspace=order.workspace, project=order.project, ref=auth.ref, view=view),
            id=names.auth_session_workflow(order.project, auth.ref.owner),
            cancellation_type=ChildWorkflowCancellationType.ABANDON,
            parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
            memo={names.MEMO_WORKSPACE: order.workspace, names.MEMO_VIEW: view.model_dump(mode="json")},
            static_summary=f"{order.project}: {auth.ref.id}",
        )
        # Also if the Run is canceled just now: only the AuthSession removes the input that it was given.
        await self._to_its_end(starting)

    @workflow.signal(name=names.VALIDATE_STARTED)
    def validate_started(self, check: int) -> None:
        """A check of this Run's AuthSession is on a Machine and has been for a moment."""
        self._become(RunStatus.STARTED, f"The AuthSession is being validated (check {check})")
        self._began(workflow.now())
        self._summarize()


def _lost(order: RunInput, number: int, ended: AttemptOutcome) -> LostInput:
    return LostInput(
        workspace=order.workspace,
        run_id=workflow.info().workflow_id,
        number=number,
        project=order.project,
        cause=ended.error.message if ended.error else "",
        trace=trace_mode(order.trace, save_trace=order.save_trace),
    )
