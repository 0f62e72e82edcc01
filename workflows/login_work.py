"""What `Validate` and `Create` have in common: checks and creates, each tried as often as Temporal's policy allows."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from contract.flow import names
    from contract.flow.attempt import AttemptInput, AttemptKind, AttemptOutcome, AttemptStatus, LostInput, Tried
    from contract.flow.auth import AttemptAuth, LoginState
    from contract.flow.auth_session import ValidateInput
    from contract.flow.base import JsonText
    from workflows.browser_work import BrowserWork
    from workflows.login_verdict import of_lost_tries

_INTERRUPTIONS = 3
"""Checks that were lost with their workers are begun anew at most so often: they say nothing about the login."""


class LoginWork(BrowserWork):
    """State and steps; a workflow inherits them."""

    def __init__(self) -> None:
        super().__init__()
        self._attempts = 0
        """Numbers that were taken."""

    async def _check(self, order: AttemptInput, tries: int, *, begun: bool) -> Tried:
        """Check until one is good, `tries` times at most."""
        for _ in range(_INTERRUPTIONS):
            tried = await self._tried(names.CHECK, order, tries, begun=begun)
            if tried.status is not AttemptStatus.INTERRUPTED or self._cancel_asked:
                return tried
            begun = True
        return await self._tried(names.CHECK, order, tries, begun=begun)

    async def _create(self, order: AttemptInput, tries: int) -> Tried:
        """Log in until it succeeds, `tries` times at most, also if some of them were lost with their workers."""
        return await self._tried(names.CREATE_LOGIN, order, tries, begun=True)

    async def _tried(self, activity: str, order: AttemptInput, tries: int, *, begun: bool) -> Tried:
        first = self._attempts + 1
        again = RetryPolicy(initial_interval=timedelta(milliseconds=1), backoff_coefficient=1.0, maximum_attempts=tries)
        try:
            ended = await self._on_machine(
                activity,
                order.model_copy(update={"number": first}),
                AttemptOutcome,
                project=order.project,
                number=first,
                activity_id=f"{activity}-{first}",
                retry=again,
                begun=begun,
                summary=f"{activity.capitalize()}, {tries} at most",
            )
        except ActivityError as error:
            known = self._where.number if self._where else first
            tried = of_lost_tries(error, begun=max(first, known), last=first + tries - 1)
            if tried.status is AttemptStatus.INTERRUPTED:
                await self._record_lost(lost(order, tried))
        else:
            number = ended.number or first
            tried = Tried(status=ended.status, number=number, login=ended.login, started_at=ended.started_at)
        self._note(tried)
        return tried

    def _note(self, tried: Tried) -> None:
        self._began(tried.started_at, first=tried.number == 1)
        self._attempts = tried.number


def of_kind(kind: AttemptKind) -> str:
    """What is called, as the `api` of an order."""
    return f"auth-sessions/{kind.value}"


def check_of(validate_run_id: str, order: ValidateInput, state: LoginState | None = None) -> AttemptInput:
    """A check of this Validate. Without a state, of whatever login is the current one."""
    return AttemptInput(
        workspace=order.workspace,
        run_id=validate_run_id,
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


def lost(order: AttemptInput, tried: Tried) -> LostInput:
    """What is to be written down of a check or create that was lost with its worker."""
    return LostInput(
        workspace=order.workspace,
        run_id=order.run_id,
        number=tried.number,
        project=order.project,
        cause=tried.error.message if tried.error else "",
        trace=order.tracing,
        kind=order.kind,
    )
