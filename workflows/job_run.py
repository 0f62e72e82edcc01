"""The workflow `JobRun`: execute all items of a Job's payload, each as a Run (docs/contract.md, section 17).

Its steps follow each other: it takes the lock of its Job, prepares, validates the AuthSession, executes items piece by
piece, and notifies webhooks of its end. A piece is one activity, which keeps a window of Runs in flight and returns how
far it has come. So the history grows by a few events for each piece, however many Runs there are. Only what the piece
returns counts: Runs are workflows of their own, which know nothing of pieces.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.job_run import (
        AwaitAuthSessionInput,
        JobItemsInput,
        JobItemsMode,
        JobItemsResult,
        JobLockInput,
        JobLockResult,
        JobRunHandover,
        JobRunInput,
        JobRunPlan,
        JobRunProgress,
        JobRunReason,
        JobRunReasonType,
        JobRunStatus,
        JobRunView,
        PrepareJobRunInput,
    )
    from callboard.schemas.workflow.run import RunStatus
    from workflows import job_run_ends
    from workflows.cancellation import end_of, finish, outcome_of_child
    from workflows.children import start_notifications, start_validate
    from workflows.job_run_display import JobRunDisplay, piece_summary
    from workflows.job_run_ends import JobRunEnd
    from workflows.visibility import job_run_memo, job_run_search_attributes, job_run_view

LONG_HISTORY = 1_500
"""How many events a history has at most before the workflow continues as new: a short one is read quickly when a worker
takes over, and in the Temporal Web UI."""

_HEARTBEAT_TIMEOUT = timedelta(seconds=8)
"""How long a piece may send no heartbeat. Its worker may be lost, and until another one takes over, no Run starts."""
_STEP_TIMEOUT = timedelta(minutes=2)
_PREPARE_TIMEOUT = timedelta(minutes=40)
"""Longest time of the preparation: that of a rerun reads all results of another JobRun."""
_PIECE_TIMEOUT = timedelta(minutes=40)
"""Longest time of a piece: it waits ten minutes for the end of a Run, and as long for a store that fails."""
_RELEASE_TIMEOUT = timedelta(minutes=1)
_RETRIES = RetryPolicy(maximum_interval=timedelta(seconds=30))
_ASK_AGAIN = timedelta(minutes=30)
"""How long a JobRun waits for its turn before it looks whether the one before it, or the lock, was ended in Temporal
itself. Nobody tells it of that. Each look is some ten events, and a JobRun may wait for weeks."""
_POLLS = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=1.5, maximum_interval=timedelta(seconds=15)
)
"""How an activity is tried again that waits for something."""


@workflow.defn(name=names.JOB_RUN)
class JobRunWorkflow:
    """One JobRun. Its id is the JobRun's id."""

    @workflow.init
    def __init__(self, input: JobRunInput) -> None:
        state = input.state
        self._input = input
        self._id = workflow.info().workflow_id
        self._display = JobRunDisplay(job_run_view(input))
        self._plan = state and state.plan
        self._piece = 0 if state is None else state.piece
        self._is_locked = state is not None and state.is_locked
        """Whether this JobRun holds the lock of its Job, waits for it, or may do so."""
        self._has_turn = False
        self._pause = state and state.pause
        self._bad_login = state and state.bad_login
        self._is_piece_lost = False
        self._is_termination_requested = False
        self._are_runs_canceled = False
        """Whether all Runs in flight were canceled."""
        self._is_closing = False

    @workflow.run
    async def run(self, input: JobRunInput) -> JobRunView:
        """Execute the JobRun, and close the workflow as it ended (see `workflows.job_run_ends`).

        A cancel request in Temporal terminates the JobRun as the signal does, and interrupts no step.
        """
        return await finish(self._run_to_close(input.state), self.terminate)

    async def _run_to_close(self, state: JobRunHandover | None) -> JobRunView:
        try:
            end = await self._begin_and_execute() if state is None else await self._execute_items(state.plan)
        except ActivityError as error:
            end = job_run_ends.TERMINATED if self._is_termination_requested else job_run_ends.from_activity_error(error)
        if self._is_locked:
            await self._release_lock()
        self._is_closing = True
        self._display.show_end(end)
        if self._plan is not None:
            await start_notifications(self._plan)
        return job_run_ends.close(self._view)

    @property
    def _view(self) -> JobRunView:
        return self._display.view

    async def _begin_and_execute(self) -> JobRunEnd:
        """Do what comes before the first Run, then execute items.

        Raises:
            ActivityError: The JobRun cannot begin or go on, or its termination was requested.
        """
        self._display.show(started_at=workflow.info().workflow_start_time)
        workflow.set_current_details("The JobRun waits until no other one of its Job is active")
        self._is_locked = True
        active = await self._acquire_lock()
        if active is not None:
            self._is_locked = False
            return job_run_ends.another_is_active(active)
        workflow.set_current_details("The JobRun is being prepared")
        prepare = PrepareJobRunInput(
            workspace=self._input.workspace,
            project=self._input.project,
            job_id=self._input.job_id,
            job_run_id=self._id,
            definition=self._input.definition,
            rerun=self._input.rerun,
        )
        plan = await self._step(
            names.PREPARE_JOB_RUN,
            prepare,
            JobRunPlan,
            "Pin the version, apply defaults",
            timeout=_PREPARE_TIMEOUT,
            heartbeat_timeout=_HEARTBEAT_TIMEOUT,
        )
        self._plan = plan
        self._display.show(version=plan.version, progress=JobRunProgress(total=plan.payload_count))
        return await self._validate(plan) or await self._execute_items(plan)

    async def _acquire_lock(self) -> str | None:
        """Acquire the lock of the Job, waiting for its turn if the Job says so; return who is active instead, if any.

        Raises:
            ActivityError: It has failed for good, or the JobRun is to be terminated.
        """
        while True:
            lock = await self._step(names.ACQUIRE_JOB_LOCK, self._lock_input(), JobLockResult, "Lock the Job")
            if not lock.waits:
                return lock.active
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._has_turn or self._is_termination_requested, timeout=_ASK_AGAIN
                )
            if self._has_turn:
                return None

    async def _step[T](
        self,
        activity: str,
        input: Any,
        result_type: type[T],
        summary: str,
        *,
        timeout: timedelta = _STEP_TIMEOUT,
        heartbeat_timeout: timedelta | None = None,
    ) -> T:
        """Execute an activity that starts no Run; give it up when the JobRun is to be terminated.

        Raises:
            ActivityError: It has failed for good, or was given up.
        """
        handle: ActivityHandle[T] = workflow.start_activity(
            activity,
            input,
            result_type=result_type,
            start_to_close_timeout=timeout,
            heartbeat_timeout=heartbeat_timeout,
            retry_policy=_RETRIES,
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
        )
        return await end_of(handle, lambda: self._is_termination_requested)

    async def _validate(self, plan: JobRunPlan) -> JobRunEnd | None:
        """Have the AuthSession of the Job validated, if it has one; return how the JobRun ends if that is not good."""
        if plan.auth is None or self._is_termination_requested:
            return None
        workflow.set_current_details(f"AuthSession `{plan.auth.ref.id}` is validated before the first Run")
        validate = await start_validate(plan, plan.auth)
        outcome = await outcome_of_child(validate, lambda: self._is_termination_requested)
        if outcome.status is RunStatus.COMPLETED or self._is_termination_requested:
            return None
        return job_run_ends.not_validated(outcome, validate.id)

    async def _execute_items(self, plan: JobRunPlan) -> JobRunEnd:
        """Execute items until there is nothing left to do; continue as new when the history is long.

        Raises:
            ActivityError: A piece has failed for good.
        """
        while not self._has_ended_items(plan):
            is_idle = not self._view.progress.in_flight and not self._is_piece_lost
            if self._mode is JobItemsMode.TERMINATE and is_idle:
                return job_run_ends.TERMINATED
            if self._pause is not None and self._mode is JobItemsMode.DRAIN and is_idle:
                await self._wait_while_paused(plan, self._pause)
                continue
            await self._execute_piece(plan, self._mode)
            self._continue_as_new_if_long(plan)
        return job_run_ends.TERMINATED if self._are_runs_canceled else job_run_ends.SUCCESS

    def _has_ended_items(self, plan: JobRunPlan) -> bool:
        """Tell whether the Runs of all items have ended."""
        progress = self._view.progress
        limit = progress.total if plan.max_runs is None else min(progress.total, plan.max_runs)
        return progress.next >= limit and not progress.in_flight and not self._is_piece_lost

    @property
    def _mode(self) -> JobItemsMode:
        """What to do with items now."""
        if self._is_termination_requested:
            return JobItemsMode.TERMINATE
        return JobItemsMode.RUN if self._pause is None else JobItemsMode.DRAIN

    async def _execute_piece(self, plan: JobRunPlan, mode: JobItemsMode) -> None:
        """Execute one piece; cut it short when there is something else to do.

        Raises:
            ActivityError: It has failed for good.
        """
        self._piece += 1
        self._display.show_details()
        handle = workflow.start_activity(
            names.EXECUTE_JOB_ITEMS,
            JobItemsInput(
                project=plan.project,
                job_run_id=plan.job_run_id,
                piece=self._piece,
                progress=self._view.progress,
                mode=mode,
                is_first=self._is_first_piece(mode),
                follows_lost_piece=self._is_piece_lost,
            ),
            activity_id=f"piece-{self._piece}",
            result_type=JobItemsResult,
            start_to_close_timeout=_PIECE_TIMEOUT,
            heartbeat_timeout=_HEARTBEAT_TIMEOUT,
            retry_policy=_RETRIES,
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=piece_summary(mode, self._view.progress),
        )
        try:
            result = await end_of(handle, lambda: self._mode is not mode)
        except ActivityError:
            if self._mode is mode:
                raise
            self._is_piece_lost = True  # Its worker was lost, too: nobody could tell what it has started.
            return
        self._is_piece_lost = False
        self._are_runs_canceled = mode is JobItemsMode.TERMINATE
        self._display.show(progress=result.progress)
        if result.is_login_bad and self._mode is JobItemsMode.RUN and plan.auth is not None:
            self._pause = job_run_ends.paused_by_bad_login(plan.auth.ref.id)
            self._bad_login = result.bad_login
            self._display.show_status(JobRunStatus.PAUSING, self._pause)
        elif self._view.status is JobRunStatus.RESUMING and mode is JobItemsMode.RUN:
            self._display.show_status(JobRunStatus.PENDING, self._view.reason)

    def _is_first_piece(self, mode: JobItemsMode) -> bool:
        """Tell whether this is the first piece of all, or since the JobRun was resumed or is to be terminated."""
        if mode is JobItemsMode.TERMINATE:
            return not self._are_runs_canceled
        begins = self._view.progress.next == 0 or self._view.status is JobRunStatus.RESUMING
        return mode is JobItemsMode.RUN and begins

    async def _wait_while_paused(self, plan: JobRunPlan, pause: JobRunReason) -> None:
        """Wait until somebody resumes or terminates the JobRun, or mends the login that it lacked."""
        self._display.show_status(JobRunStatus.PAUSED, pause)
        if pause.type is JobRunReasonType.AUTH_SESSION_INVALID and plan.auth is not None:
            login = workflow.start_activity(
                names.AWAIT_AUTH_SESSION,
                AwaitAuthSessionInput(
                    workspace=plan.workspace, project=plan.project, auth=plan.auth, bad_login=self._bad_login
                ),
                start_to_close_timeout=_STEP_TIMEOUT,
                retry_policy=_POLLS,
                cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=f"Wait for another login of AuthSession {plan.auth.ref.id}",
            )
            try:
                await end_of(login, lambda: self._is_over(pause))
            except ActivityError as error:
                workflow.logger.info("JobRun %s does not wait for a login any more: %s", self._id, error.cause)
            else:
                if not self._is_over(pause):
                    self.resume()
        await workflow.wait_condition(lambda: self._is_over(pause))

    def _is_over(self, pause: JobRunReason) -> bool:
        return self._pause is not pause or self._is_termination_requested

    def _continue_as_new_if_long(self, plan: JobRunPlan) -> None:
        info = workflow.info()
        is_long = info.is_continue_as_new_suggested() or info.get_current_history_length() >= LONG_HISTORY
        if not is_long or self._is_piece_lost or self._is_termination_requested:
            return
        state = JobRunHandover(
            view=self._view,
            plan=plan,
            piece=self._piece,
            is_locked=self._is_locked,
            pause=self._pause,
            bad_login=self._bad_login,
        )
        successor = self._input.model_copy(update={"state": state})
        workflow.continue_as_new(
            successor, memo=job_run_memo(successor), search_attributes=job_run_search_attributes(successor)
        )

    async def _release_lock(self) -> None:
        """Release the lock. If that fails, whoever wants it next finds that this JobRun has ended."""
        try:
            await workflow.execute_activity(
                names.RELEASE_JOB_LOCK,
                self._lock_input(),
                start_to_close_timeout=_RELEASE_TIMEOUT,
                schedule_to_close_timeout=_RELEASE_TIMEOUT,
                summary="Release the Job",
            )
        except ActivityError as error:
            workflow.logger.warning("JobRun %s has not released its Job: %s", self._id, error.cause)

    def _lock_input(self) -> JobLockInput:
        return JobLockInput(
            project=self._input.project,
            job_id=self._input.job_id,
            holder=self._id,
            definition=self._input.definition,
        )

    @workflow.signal(name=names.LOCKED)
    def take_turn(self) -> None:
        """Go on, as the JobRun holds the lock for which it has waited."""
        self._has_turn = True

    @workflow.signal(name=names.PAUSE_JOB_RUN)
    def pause(self) -> None:
        """Start no further Run."""
        if self._is_closing or self._is_termination_requested:
            return
        self._pause = job_run_ends.PAUSED_BY_REQUEST
        is_paused = self._view.status is JobRunStatus.PAUSED
        self._display.show_status(JobRunStatus.PAUSED if is_paused else JobRunStatus.PAUSING, self._pause)

    @workflow.signal(name=names.RESUME_JOB_RUN)
    def resume(self) -> None:
        """Go on, if the JobRun is paused or about to be."""
        if self._is_closing or self._is_termination_requested or self._pause is None:
            return
        self._pause = None
        self._display.show_status(JobRunStatus.RESUMING, None)

    @workflow.signal(name=names.TERMINATE_JOB_RUN)
    def terminate(self) -> None:
        """Cancel all Runs, and end."""
        if self._is_closing or self._is_termination_requested:
            return
        self._is_termination_requested = True
        self._display.show_status(self._view.status, job_run_ends.TERMINATED_REASON)
