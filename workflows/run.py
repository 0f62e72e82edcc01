"""Workflow `Run`: one API, executed by Attempts until one succeeds or none is left (contract section 10)."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contract.flow import names
    from contract.flow.attempt import AttemptInput, AttemptOutcome, AttemptStatus, LostInput
    from contract.flow.auth import AttemptAuth, AuthSessionType, LoginState
    from contract.flow.run import RunInput, RunOutcome, RunStatus, trace_mode
    from workflows import verdict
    from workflows.browser_work import ONCE
    from workflows.handing_over import hand_over
    from workflows.validating import Validating

INTERRUPTIONS = 3
"""An Attempt lost with its worker does not count, and is tried again at most so often."""


@workflow.defn(name=names.RUN)
class RunWorkflow(Validating):
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
        if order.auth is not None and order.auth.ref.type is AuthSessionType.RUNTIME:
            await self._bring_into_being(order, order.auth)
            if self._cancel_asked:
                return verdict.canceled(0)
        while True:
            number += 1
            ended = await self._attempt(order, number)
            if isinstance(ended, RunOutcome):
                return ended
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

    async def _attempt(self, order: RunInput, number: int) -> AttemptOutcome | RunOutcome:
        """One Attempt, after the AuthSession's Validate if there is one. Or the end of the Run without an Attempt."""
        attempt = _attempt(order, number, None)
        if order.auth is not None:
            validating = self._after_check if order.auth.check_with_attempt else self._validated
            ended = await validating(attempt, order.auth)
            if not isinstance(ended, LoginState):
                return ended
            attempt = _attempt(order, number, ended)
        try:
            return await self._on_machine(
                names.ATTEMPT,
                attempt,
                AttemptOutcome,
                project=order.project,
                number=number,
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


def _attempt(order: RunInput, number: int, login: LoginState | None) -> AttemptInput:
    return AttemptInput(
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


def _lost(order: RunInput, number: int, ended: AttemptOutcome) -> LostInput:
    return LostInput(
        workspace=order.workspace,
        run_id=workflow.info().workflow_id,
        number=number,
        project=order.project,
        cause=ended.error.message if ended.error else "",
        trace=trace_mode(order.trace, save_trace=order.save_trace),
    )
