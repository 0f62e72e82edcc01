"""What a Run does about its AuthSession: each Attempt comes after a Validate, a Run of its own (contract 10, rule 3).

The first check of a Validate is made by the worker that takes the Attempt, right before it, in one activity: so a login
that is good costs a step in the browser, and nothing that is queued comes between the two. Was it good in no time, the
worker starts the Validate that records it, beside the Attempt. Else the Validate is a child of the Run: once the check
takes more than a moment, so that it can be seen and canceled; or where it failed or was lost, to go on.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ChildWorkflowError, FailureError, WorkflowAlreadyStartedError
from temporalio.workflow import ChildWorkflowCancellationType, ChildWorkflowHandle, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from contract.flow import names
    from contract.flow.attempt import AttemptInput, AttemptOutcome, AttemptStatus, Tried
    from contract.flow.auth import AuthOrder, AuthSessionStatus, LoginState
    from contract.flow.auth_session import (
        AttemptAfterCheckInput,
        AttemptAfterCheckOutcome,
        AuthSessionInput,
        AuthSessionView,
        CheckGood,
        CheckStarted,
        ValidateInput,
    )
    from contract.flow.run import RunInput, RunOutcome, RunStatus, RunType
    from workflows import login_verdict, verdict
    from workflows.attributes import memo_of_login_run, of_login_run
    from workflows.browser_work import ONCE, BrowserWork
    from workflows.login_work import check_of
    from workflows.login_work import lost as lost_check

ValidateHandle = ChildWorkflowHandle[Any, RunOutcome]


class Validating(BrowserWork):
    """State and steps; workflow `Run` inherits them."""

    def __init__(self) -> None:
        super().__init__()
        self._validate: ValidateInput | None = None
        """Of the Attempt that is next, or runs, while the check before it may be made with it."""
        self._number = 0
        """Of that Attempt."""
        self._starting: asyncio.Future[ValidateHandle | None] | None = None
        """The Validate, as soon as it is to be a child of this Run."""
        self._good: Tried | None = None
        """The check, if the worker has said so and gone on to the Attempt."""

    async def _after_check(self, attempt: AttemptInput, auth: AuthOrder) -> AttemptOutcome | LoginState | RunOutcome:
        """Have the AuthSession checked, and the Attempt executed by the same worker.

        Returns:
            How the Attempt ended. Or, if there was none because the check was not good, what came of the Validate:
            the login that the Attempt is to begin with, or the end of the Run.
        """
        number = self._number = attempt.number
        self._starting = self._good = None
        validate = self._validate = _validate_order(attempt, auth, first_check_elsewhere=True)
        order = check_of(names.validate_run_id(attempt.run_id, number), validate)
        ended = lost = None
        try:
            ended = await self._on_machine(
                names.ATTEMPT_AFTER_CHECK,
                AttemptAfterCheckInput(check=order, attempt=attempt, validate_order=validate),
                AttemptAfterCheckOutcome,
                project=attempt.project,
                number=number,
                activity_id=names.attempt_activity_id(number),
                retry=ONCE,
                begun=number > 1,
                summary=f"Check, and Attempt {number}",
            )
        except ActivityError as error:
            if verdict.is_unknown_activity(error):
                self._validate = None
                return await self._validated(attempt, auth)
            lost = error
            check = login_verdict.of_lost_tries(error, begun=1, last=1)
        else:
            check = ended.check
        await self._to_its_end(workflow.wait_condition(workflow.all_handlers_finished))
        # One that has not been announced leaves it to the Attempt to say where it is.
        said = self._where is not None and self._starting is None
        self._validate = self._where = None
        if ended is not None and ended.attempt is not None:
            self._began(check.started_at, first=number == 1)
            if not ended.recorded:
                await self._to_its_end(self._told(validate, check))
            return ended.attempt
        if lost is not None and self._good is not None:
            return verdict.of_lost_attempt(lost)
        if lost is not None and check.status is AttemptStatus.CANCELED and self._starting is None:
            return verdict.canceled(number - 1)  # while it was queued: there was no check
        # Had the check been announced, the Attempt would have begun only when it was known that it was good.
        certain = self._starting is not None or lost is None or verdict.lost_run(lost) == order.run_id
        begun = lost is not None and (said or verdict.lost_run(lost) == attempt.run_id)
        validated = await self._go_on(order, validate, check)
        if validated is None:
            return verdict.of_lost_attempt(lost) if lost is not None else verdict.canceled(number - 1)
        self._began(validated.started_at, first=number == 1)
        if lost is not None and (begun or (verdict.is_lost(lost) and not certain and validated.login is not None)):
            return verdict.of_lost_attempt(lost)
        return self._unless_not_good(validated, number)

    async def _go_on(self, order: AttemptInput, validate: ValidateInput, check: Tried) -> RunOutcome | None:
        """Have the Validate go on from a check that was not good, to its end.

        None: it has ended; the worker has found the check good, and started it.
        """
        details = f"The check before Attempt {self._number}: {check.status}; the Validate goes on"
        self._become(RunStatus.STARTED, details)
        # A Run that is canceled has its Validate end, which must not begin with anything before it hears of the cancel.
        told = login_verdict.nothing_more(check) if self._cancel_asked else check
        running = await self._to_its_end(self._told(validate, told))
        if running is not None and told is not check and check.status is AttemptStatus.INTERRUPTED:
            await self._record_lost(lost_check(order, check))
        try:
            return None if running is None else await self._end_of(running)
        except ChildWorkflowError as error:
            return verdict.of_lost_login_run(error)

    async def _told(self, validate: ValidateInput, check: Tried) -> ValidateHandle | None:
        """The Validate, which knows how its first check has ended. None: it was there already, and is no child."""
        if self._starting is None:
            validate = validate.model_copy(update={"first_checked": check})
            return await self._begin(validate)
        running = await self._starting
        if running is not None:
            try:
                await running.signal(names.FIRST_CHECKED, check)
            except FailureError as error:  # it was canceled
                workflow.logger.info("The Validate was not told how its check ended: %s", error)
        return running

    async def _begin(self, validate: ValidateInput) -> ValidateHandle | None:
        self._starting = asyncio.ensure_future(self._child_unless_there(validate))
        return await self._starting

    async def _child_unless_there(self, validate: ValidateInput) -> ValidateHandle | None:
        try:
            return await self._start_validate(validate, WorkflowIDReusePolicy.REJECT_DUPLICATE)
        except WorkflowAlreadyStartedError:
            return None

    async def _validated(self, attempt: AttemptInput, auth: AuthOrder) -> LoginState | RunOutcome:
        """Have the AuthSession validated by a child, from its first check on.

        Returns:
            The login that the Attempt is to begin with, or the end of the Run.
        """
        number = self._number = attempt.number
        validate = _validate_order(attempt, auth)
        try:
            validated = await self._child(self._start_validate(validate))
        except ChildWorkflowError as error:
            validated = verdict.of_lost_login_run(error)
        self._began(validated.started_at, first=number == 1)
        return self._unless_not_good(validated, number)

    def _unless_not_good(self, validated: RunOutcome, number: int) -> LoginState | RunOutcome:
        if self._cancel_asked or validated.login is None:
            validate = names.validate_run_id(workflow.info().workflow_id, number)
            return verdict.not_validated(validated, validate, number - 1, asked=self._cancel_asked)
        # The check may have been over in no time, and the Attempt may have to wait for its Machine.
        self._become(RunStatus.STARTED, f"The AuthSession is good; Attempt {number} is next")
        return validated.login

    async def _start_validate(
        self, validate: ValidateInput, reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE
    ) -> ValidateHandle:
        run_id = workflow.info().workflow_id
        return await workflow.start_child_workflow(
            names.VALIDATE,
            validate,
            id=names.validate_run_id(run_id, self._number),
            result_type=RunOutcome,
            cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
            id_reuse_policy=reuse,
            memo=memo_of_login_run(validate.workspace, validate.version, run_id),
            search_attributes=of_login_run(validate.project, validate.ref.id, RunType.AUTH_SESSION_VALIDATE),
            static_summary=f"{validate.project}: validate {validate.ref.id}",
        )

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

    @workflow.signal(name=names.CHECK_STARTED)
    async def check_started(self, note: CheckStarted) -> None:
        """The check before an Attempt is on a Machine and has been for a moment: its Validate is to be seen."""
        if self._validate is None or note.number != self._number or self._starting is not None:
            return  # late: it is over
        self._where = note.check.model_copy(update={"number": note.number})
        self._become(RunStatus.STARTED, f"The AuthSession is being checked on Machine {note.check.machine}")
        self._began(note.check.started_at)
        self._summarize()
        await self._begin(self._validate.model_copy(update={"first_check": note.check}))

    @workflow.signal(name=names.CHECK_GOOD)
    async def check_good(self, note: CheckGood) -> None:
        """The check before an Attempt that was announced was good, and the Attempt is next."""
        if self._validate is not None and note.number == self._number and self._good is None:
            self._good = note.check
            await self._told(self._validate, note.check)

    @workflow.signal(name=names.VALIDATE_STARTED)
    def validate_started(self, check: int) -> None:
        """A check of this Run's AuthSession, by its Validate, is on a Machine and has been for a moment."""
        self._become(RunStatus.STARTED, f"The AuthSession is being validated (check {check})")
        self._began(workflow.now())
        self._summarize()


def _validate_order(attempt: AttemptInput, auth: AuthOrder, *, first_check_elsewhere: bool = False) -> ValidateInput:
    return ValidateInput(
        workspace=attempt.workspace,
        project=attempt.project,
        version=attempt.version,
        ref=auth.ref,
        auto_recreate=auth.auto_recreate,
        check_attempts=auth.check_attempts,
        create_attempts=auth.create_attempts,
        request_timeout=auth.request_timeout,
        save_trace=auth.save_trace,
        save_back=auth.save_back,
        proxy=auth.proxy,
        parent_run_id=attempt.run_id,
        begun=attempt.number > 1 or first_check_elsewhere,
        first_check_elsewhere=first_check_elsewhere,
    )
