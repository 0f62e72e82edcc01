"""The workflow `Run`: execute Attempts of one API until one succeeds (docs/contract.md, section 10)."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, FailureError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.alert import CountRunInput, EndedRun
    from callboard.schemas.workflow.attempt import AttemptInput, AttemptOutcome, AttemptStatus
    from callboard.schemas.workflow.auth import AttemptAuth, AuthSessionType, LoginState, RunAuth
    from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunInput, RunOutcome, RunReason, RunStatus
    from workflows import outcomes
    from workflows.browser_workflow import MAXIMUM_INTERRUPTIONS, ONCE
    from workflows.cancellation import outcome_of_child
    from workflows.children import start_delivery, start_runtime_auth_session, start_validate
    from workflows.leasing_workflow import LeasingWorkflow
    from workflows.visibility import code_block

_COUNT_TIMEOUT = timedelta(minutes=1)
"""How long a Run that ends waits at most to be counted for alerts, while the store or Temporal fails."""
_LONGEST_COUNT_TRY = timedelta(seconds=20)


@workflow.defn(name=names.RUN)
class RunWorkflow(LeasingWorkflow):
    """One Run. Its id is the Run's id."""

    def __init__(self) -> None:
        super().__init__()
        self._cancel_reason: RunReason | None = None
        """Why the Run is canceled, if nobody asked for that but its JobRun."""
        self._files = 0
        """How many files the last Attempt has left."""

    @workflow.run
    async def run(self, input: RunInput) -> RunOutcome:
        """Execute the Run, and close the workflow as the Run ended (see `workflows.outcomes`)."""
        return await self._run_to_close(self._run_and_deliver(input))

    async def _run_and_deliver(self, run: RunInput) -> RunOutcome:
        if run.auth is not None and run.auth.ref.type is AuthSessionType.RUNTIME:
            await start_runtime_auth_session(run, run.auth)
        outcome = (await self._run_attempts(run)).model_copy(update={"files": self._files})
        await self._release_lease()
        await start_delivery(run, outcome)
        if run.has_alerts and outcome.status is not RunStatus.CANCELED:
            await self._count_for_alerts(run, outcome)
        return outcome

    async def _count_for_alerts(self, run: RunInput, outcome: RunOutcome) -> None:
        """Have the Run counted for the alerts of its project. A failing store holds up its end only for a moment."""
        info = workflow.info()
        ended = EndedRun(id=info.workflow_id, at=workflow.now(), failed=outcome.status is RunStatus.FAILED)
        try:
            await workflow.execute_local_activity(
                names.COUNT_RUN,
                CountRunInput(workspace=run.workspace, project=run.project, run=ended),
                schedule_to_close_timeout=_COUNT_TIMEOUT,
                start_to_close_timeout=_LONGEST_COUNT_TRY,
                retry_policy=RetryPolicy(non_retryable_error_types=["ConfigurationError"]),
            )
        except FailureError as error:
            workflow.logger.warning("Run %s is not counted for alerts: %s", info.workflow_id, error)

    async def _run_attempts(self, run: RunInput) -> RunOutcome:
        number = failures = interruptions = 0
        while not self._cancel_requested:
            number += 1
            login = None if run.auth is None else await self._validate(run, run.auth, number)
            if isinstance(login, RunOutcome):
                return login
            attempt = await self._execute_attempt(run, login, number)
            self._files = attempt.files
            if (end := self._end_by(run, attempt, number)) is not None:
                return end
            wait = timedelta()
            if attempt.status is AttemptStatus.INTERRUPTED:
                interruptions += 1
                is_last = run.maximum_attempts == 1 or interruptions > MAXIMUM_INTERRUPTIONS
            else:
                failures += 1
                is_last = failures == run.maximum_attempts
                wait = run.retry_intervals.after(failures) if attempt.retry_after is None else attempt.retry_after
            # The Attempt's end stands even if a cancel came as it ended; there is only no other Attempt.
            if is_last:
                return outcomes.attempts_failed(attempt, number)
            message = attempt.error.message if attempt.error else "it gave no reason."
            self._last_failure = f"\n\nAttempt {number} {attempt.status}:{code_block(message)}"
            if wait:
                await self._wait_for_attempt(number + 1, wait)
            else:
                self._set_status(RunStatus.STARTED, f"Attempt {number + 1} is next{self._last_failure}")
        return self._canceled(number)

    async def _wait_for_attempt(self, number: int, wait: timedelta) -> None:
        """Wait, without a Machine, until Attempt `number` may begin or the Run is canceled."""
        until = workflow.now() + wait
        when = f"at {until:%Y-%m-%d %H:%M:%S} UTC"
        self._set_status(RunStatus.STARTED, f"Attempt {number} is next, {when}{self._last_failure}")
        self._update_summary(attempts=number - 1, waits_until=until)
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._cancel_requested, timeout=wait, timeout_summary=f"Wait for Attempt {number}"
            )

    def _end_by(self, run: RunInput, attempt: AttemptOutcome, number: int) -> RunOutcome | None:
        """Return how the Run ends by this Attempt; None if another one may follow it."""
        taken = attempt.started_at is not None
        if attempt.error is not None and attempt.error.code is ErrorCode.QUEUE_TIMEOUT:
            return outcomes.failed_with(attempt.error, number if taken else number - 1)
        self._record_start(attempt.started_at, first=number == 1 and run.auth is None)
        match attempt.status:
            case AttemptStatus.COMPLETED:
                return outcomes.completed(attempt, number)
            case AttemptStatus.CANCELED if attempt.reason is not None:
                return outcomes.canceled(number, attempt.reason)
            case AttemptStatus.CANCELED:
                return self._canceled(number if taken or self._location_of(number) is not None else number - 1)
            case AttemptStatus.INTERRUPTED if self._cancel_requested:
                return self._canceled(number)
            case _ if run.auth is not None and outcomes.is_login_missing(attempt):
                return outcomes.not_validated(attempt.error, None, number)
            case _ if attempt.final:
                return outcomes.failed_for_good(attempt, number)
            case _:
                return None

    def _canceled(self, attempts: int) -> RunOutcome:
        return outcomes.canceled(attempts, self._cancel_reason)

    async def _validate(self, run: RunInput, auth: RunAuth, number: int) -> LoginState | RunOutcome:
        """Have the AuthSession validated before Attempt `number`, once it is this Run's turn to use it.

        Return the login that was found good; without one, return how the Run ends.
        """
        if auth.is_exclusive:
            limit = run.queue_timeout if number == 1 else None
            until = None if limit is None else workflow.now() + limit
            error = await self._acquire_lease(run.project, auth.ref, until)
            if self._cancel_requested:
                return self._canceled(number - 1)
            if error is not None:
                is_late = error.code is ErrorCode.QUEUE_TIMEOUT
                return outcomes.failed_with(error, 0) if is_late else outcomes.not_validated(error, None, number - 1)
            if until is not None:
                run = run.model_copy(update={"queue_timeout": max(until - workflow.now(), timedelta(milliseconds=1))})
        workflow.set_current_details(f"The AuthSession is validated before Attempt {number}{self._last_failure}")
        handle = await start_validate(run, auth, number)
        validate = await outcome_of_child(handle, lambda: self._cancel_requested)
        self._record_start(validate.started_at, first=number == 1)
        if self._cancel_requested:
            return self._canceled(number - 1)
        if validate.error is not None and validate.error.code is ErrorCode.QUEUE_TIMEOUT:
            return outcomes.failed_with(validate.error, 0)
        if validate.login is None:
            return outcomes.not_validated(validate.error or validate.reason, handle.id, number - 1)
        self._set_status(RunStatus.STARTED, f"The AuthSession is good; Attempt {number} is next")
        return validate.login

    async def _execute_attempt(self, run: RunInput, login: LoginState | None, number: int) -> AttemptOutcome:
        attempt = _attempt_input(run, login, number)
        is_run_started = number > 1 or run.auth is not None
        try:
            return await self._execute_browser_activity(
                names.ATTEMPT,
                attempt,
                activity_id=f"attempt-{number}",
                retry_policy=ONCE,
                is_run_started=is_run_started,
                summary=f"Attempt {number}",
                queue_timeout=None if is_run_started else run.queue_timeout,
                reads_variables=run.reads_variables or run.auth is not None,
            )
        except ActivityError as error:
            outcome = outcomes.from_activity_error(error)
            if outcome.status is not AttemptStatus.INTERRUPTED:
                return outcome
            return await self._find_outcome(attempt, number, outcome.error) or outcome

    @workflow.signal(name=names.VALIDATE_STARTED)
    def validate_started(self, number: int) -> None:
        """Note that check `number` of this Run's Validate has been on a Machine for a moment."""
        self._set_status(RunStatus.STARTED, f"The AuthSession is validated: check {number} runs")
        self._record_start(workflow.now())
        self._update_summary()

    @workflow.signal(name=names.JOB_RUN_TERMINATED)
    def job_run_terminated(self) -> None:
        """Cancel this Run, as its JobRun is terminated."""
        if not self._cancel_requested:
            message = "The Run was canceled because its JobRun was terminated."
            self._cancel_reason = RunReason(type=ReasonType.JOB_RUN_TERMINATED, message=message)
            self._cancel_requested = True


def _attempt_input(run: RunInput, login: LoginState | None, number: int) -> AttemptInput:
    return AttemptInput(
        workspace=run.workspace,
        run_id=workflow.info().workflow_id,
        number=number,
        project=run.project,
        version=run.version,
        api=run.api,
        parameters=run.parameters,
        request_timeout=run.request_timeout,
        trace=run.trace,
        proxy=run.proxy,
        auth=run.auth and AttemptAuth(ref=run.auth.ref, initial_login=login, save_back=run.auth.save_back),
        job=run.job,
    )
