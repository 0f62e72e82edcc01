"""Start, read and cancel Runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
)
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from schemas.errors import Conflict, NotFound
from schemas.workflow import names
from schemas.workflow.run import RunInput, RunOutcome, RunStatus, RunType
from temporal.closing import wait_for_outcome
from temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors
from temporal.run_status import Progress, read_progress
from workflows import visibility

_MAX_REMEMBERED = 10_000
"""How many of the Runs that it has started a process remembers."""


@dataclass(frozen=True)
class RunState:
    """The state of a Run; `outcome` is set once it has ended."""

    run_id: str
    status: RunStatus
    outcome: RunOutcome | None = None
    type: RunType = RunType.API
    auth_session_id: str | None = None
    paused: bool = False
    """Whether the Run is pending and its next activity is paused in Temporal."""


@dataclass(frozen=True)
class _KnownRun:
    """What this process remembers of a Run that it has started."""

    workspace: str
    project: str
    auth_session_id: str | None


class Runs:
    """The Runs of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known_runs: dict[str, _KnownRun] = {}
        """The last Runs that this process has started: a wait for the end of one of them needs no request to learn
        whom it belongs to."""

    async def start(self, run_id: str, run_input: RunInput, *, fingerprint: str, rerun_of: str | None = None) -> bool:
        """Start workflow `Run` with id `run_id`.

        Args:
            run_id: The id of the Run.
            run_input: The input of the workflow.
            fingerprint: The fingerprint of the request body that starts it.
            rerun_of: The Run whose inputs these are.

        Returns:
            True if it was started, False if a Run with this id and this fingerprint of its body exists.

        Raises:
            Conflict: A Run with this id exists and was started with another body.
            ConfigurationError: Temporal refuses: the namespace or its search attributes are missing.
            Unavailable: Temporal cannot be reached; whether the Run was started is not known.
        """
        with translate_rpc_errors():
            try:
                await self._client.start_workflow(
                    names.RUN,
                    run_input,
                    id=run_id,
                    task_queue=names.CALLBOARD_QUEUE,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    static_summary=f"{run_input.project}/{run_input.api}",
                    static_details=_static_details(run_input),
                    priority=Priority(priority_key=names.PRIORITY_PENDING),
                    memo=visibility.run_memo(run_input, fingerprint=fingerprint, rerun_of=rerun_of),
                    search_attributes=visibility.run_search_attributes(run_input),
                    rpc_timeout=RPC_TIMEOUT,
                )
            except WorkflowAlreadyStartedError as error:
                description = await self._handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
                known_fingerprint = await description.memo_value(visibility.MEMO_FINGERPRINT, default=None)
                if known_fingerprint != fingerprint:
                    raise Conflict(
                        "This Idempotency-Key was used before with another body. Send the same body, or a new key."
                    ) from error
                return False
            self._remember(run_id, run_input)
            return True

    def _remember(self, run_id: str, run_input: RunInput) -> None:
        auth_session_id = run_input.auth and run_input.auth.ref.id
        self._known_runs[run_id] = _KnownRun(run_input.workspace, run_input.project, auth_session_id)
        if len(self._known_runs) > _MAX_REMEMBERED:
            del self._known_runs[next(iter(self._known_runs))]

    async def get_state(self, workspace: str, project: str, run_id: str, *, wait: timedelta = timedelta()) -> RunState:
        """Return the Run's state; with `wait`, as soon as it has ended, but at the latest after that time.

        Raises:
            NotFound: No such Run in this workspace and project.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            known = self._known_runs.get(run_id)
            if wait > timedelta() and known is not None and (known.workspace, known.project) == (workspace, project):
                with suppress(TimeoutError):
                    outcome = await asyncio.wait_for(self._outcome(run_id), wait.total_seconds())
                    return RunState(run_id, outcome.status, outcome, RunType.API, known.auth_session_id)
                wait = timedelta()
            description = await self.describe(workspace, project, run_id)
            return await self.resolve_state(description, wait)

    async def cancel(self, workspace: str, project: str, run_id: str) -> RunState:
        """Request the Run's cancellation, and return its state, without waiting for its end. This is idempotent.

        A Run that has ended is left as it is. Raises as `get_state` does.
        """
        with translate_rpc_errors():
            description = await self.describe(workspace, project, run_id)
            if description.status is WorkflowExecutionStatus.RUNNING:
                try:
                    await self._handle(run_id).cancel(rpc_timeout=RPC_TIMEOUT)
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:  # the Run has ended meanwhile
                        raise
            return await self.resolve_state(description)

    def _handle(self, run_id: str) -> WorkflowHandle[object, RunOutcome]:
        return self._client.get_workflow_handle(run_id, result_type=RunOutcome)

    async def describe(self, workspace: str, project: str, run_id: str) -> WorkflowExecutionDescription:
        """Describe the workflow of a Run in this workspace and project. Raises NotFound, or RPCError."""
        if not names.is_run_id(run_id):
            raise NotFound("There is no such Run.")
        description = await self._handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
        if (
            description.typed_search_attributes.get(visibility.PROJECT) != project
            or description.typed_search_attributes.get(visibility.RUN_TYPE) is None
            or await description.memo_value(names.MEMO_WORKSPACE, default=None) != workspace
        ):
            raise NotFound("There is no such Run.")
        return description

    async def resolve_state(self, description: WorkflowExecutionDescription, wait: timedelta = timedelta()) -> RunState:
        """Return the state of a Run from its description, after waiting for its end at most `wait`. Raises RPCError."""
        outcome = None
        if description.status is not WorkflowExecutionStatus.RUNNING:
            outcome = await self._outcome(description.id)
        elif wait > timedelta():
            try:
                outcome = await asyncio.wait_for(self._outcome(description.id), wait.total_seconds())
            except TimeoutError:
                # The Run is described again: it may have started, or even ended, during the wait.
                description = await self._handle(description.id).describe(rpc_timeout=RPC_TIMEOUT)
                return await self.resolve_state(description, timedelta())
        paused = False
        if outcome is not None:
            status = outcome.status
        else:
            progress = await read_progress(self._client, description)
            status = RunStatus.STARTED if progress is Progress.STARTED else RunStatus.PENDING
            paused = progress is Progress.PAUSED
        return RunState(
            description.id,
            status,
            outcome,
            RunType(description.typed_search_attributes[visibility.RUN_TYPE]),
            description.typed_search_attributes.get(visibility.AUTH_SESSION),
            paused,
        )

    async def _outcome(self, run_id: str) -> RunOutcome:
        return await wait_for_outcome(self._handle(run_id))


def _static_details(run_input: RunInput) -> str:
    """Describe the Run for the reader of the Temporal Web UI, in Markdown, without any secret."""
    lines = [
        f"API `{run_input.api}` of project `{run_input.project}`, version `{run_input.version}`",
        f"Up to {run_input.maximum_attempts} Attempt(s) of {run_input.request_timeout.total_seconds():g} seconds",
    ]
    if run_input.auth is not None:
        lines.append(f"AuthSession `{run_input.auth.ref.id}`, validated before each Attempt")
    if run_input.sink is not None:
        lines.append(f"The result is delivered to `{run_input.sink.target}`")
    return "\n".join(f"- {line}" for line in lines)
