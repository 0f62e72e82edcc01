"""What `Run` and `Validate` share: to use the login of an AuthSession alone, when it is their turn.

The AuthSession (`workflows/auth_session.py`) says whose turn it is.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.auth import AuthSessionRef
    from callboard.schemas.workflow.auth_session import LeaseAnswer, LeaseRequest
    from callboard.schemas.workflow.run import LOGIN_TIMED_OUT, RunError
    from workflows import auth_outcomes
    from workflows.browser_workflow import BrowserWorkflow

_ASK_AGAIN_AFTER = timedelta(minutes=10)
"""Time after which an AuthSession that does not answer is asked again: somebody may have terminated it in Temporal
itself, and then nobody answers. It keeps the place of those that ask again."""


class LeasingWorkflow(BrowserWorkflow):
    """Base class of the workflows that may have to wait until they use a login alone."""

    def __init__(self) -> None:
        super().__init__()
        self._leased_from: workflow.ExternalWorkflowHandle[object] | None = None
        """The AuthSession that was asked for its login."""
        self._lease: LeaseAnswer | None = None
        """Its answer, which comes when it is this workflow's turn."""

    async def _acquire_lease(self, project: str, ref: AuthSessionRef, until: datetime | None) -> RunError | None:
        """Wait until nobody else uses the login that takes turns, or this workflow is canceled.

        Whoever has the login already asks once more before another Attempt, as the AuthSession may be another one.

        Args:
            project: The project of the AuthSession.
            ref: The AuthSession.
            until: How long to wait; None for no limit.

        Returns:
            Why it does not come to that; None if it does, or this workflow is canceled.
        """
        info = workflow.info()
        request = LeaseRequest(run_id=info.workflow_id, at=info.workflow_start_time)
        session = workflow.get_external_workflow_handle(names.auth_session_workflow_id(project, ref.owner))
        workflow.set_current_details(f"Waits for its turn to use the login of AuthSession `{ref.id}`")
        self._leased_from, self._lease = session, None
        while self._lease is None and not self._cancel_requested:
            try:
                await session.signal(names.ACQUIRE_LEASE, request)
            except FailureError:
                return auth_outcomes.auth_session_deleted(ref.id)
            left = None if until is None else until - workflow.now()
            if left is not None and left <= timedelta():
                return LOGIN_TIMED_OUT
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._lease is not None or self._cancel_requested,
                    timeout=_ASK_AGAIN_AFTER if left is None else min(left, _ASK_AGAIN_AFTER),
                    timeout_summary="Wait for the login",
                )
        return None if self._lease is None else self._lease.error

    async def _release_lease(self) -> None:
        """Let the next one use the login, or wait for it no more, if this workflow has asked for it."""
        if self._leased_from is None:
            return
        try:
            await self._leased_from.signal(names.RELEASE_LEASE, workflow.info().workflow_id)
        except FailureError as error:
            workflow.logger.info("AuthSession %s was not told: %s", self._leased_from.id, error)

    @workflow.signal(name=names.LEASED)
    def leased(self, answer: LeaseAnswer) -> None:
        """Note that this workflow uses the login alone from now on, or that the AuthSession is gone."""
        self._lease = answer
