"""Start, read and cancel Runs."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
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
from settings import Settings
from temporal import pool_usage, search_attributes
from temporal.client import connect
from temporal.closing import wait_for_outcome
from temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors
from temporal.run_status import Progress, read_progress
from workflows.run import RunWorkflow

_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_REMEMBERED = 10_000
"""How many of the Runs that it has started a process remembers."""
_API_RETRY_TIMEOUT = timedelta(seconds=3)
"""How long the SDK repeats a call: a client of the API is told within seconds that Temporal is away, and may come
again."""


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
class _Owner:
    """The workspace, project and AuthSession that a Run belongs to."""

    workspace: str
    project: str
    auth_session_id: str | None


class Runs:
    """The Runs of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._owners: dict[str, _Owner] = {}
        """Owners of the last Runs that this process has started: a wait for the end of one of them needs no request
        for its owner."""

    @classmethod
    async def connect(cls, settings: Settings) -> Runs:
        """Connect lazily: if Temporal is down, the first call raises `Unavailable`."""
        return cls(await connect(settings, lazy=True, identity="callboard-api", retry_timeout=_API_RETRY_TIMEOUT))

    @property
    def client(self) -> Client:
        """The Temporal client, for other modules in the same process: one connection serves all."""
        return self._client

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
                    RunWorkflow.run,
                    run_input,
                    id=run_id,
                    task_queue=names.CALLBOARD_QUEUE,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    static_summary=f"{run_input.project}/{run_input.api}",
                    static_details=_static_details(run_input),
                    priority=Priority(priority_key=names.PRIORITY_PENDING),
                    memo=search_attributes.run_memo(run_input, fingerprint=fingerprint, rerun_of=rerun_of),
                    search_attributes=search_attributes.run_search_attributes(run_input),
                    rpc_timeout=RPC_TIMEOUT,
                )
            except WorkflowAlreadyStartedError as error:
                description = await self._handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
                known_fingerprint = await description.memo_value(search_attributes.MEMO_FINGERPRINT, default=None)
                if known_fingerprint != fingerprint:
                    raise Conflict(
                        "This Idempotency-Key was used before with another body. Send the same body, or a new key."
                    ) from error
                return False
            self._remember(run_id, run_input)
            return True

    def _remember(self, run_id: str, run_input: RunInput) -> None:
        self._owners[run_id] = _Owner(run_input.workspace, run_input.project, run_input.auth and run_input.auth.ref.id)
        if len(self._owners) > _MAX_REMEMBERED:
            del self._owners[next(iter(self._owners))]

    async def get_state(self, workspace: str, project: str, run_id: str, *, wait: timedelta = timedelta()) -> RunState:
        """Return the Run's state; with `wait`, as soon as it has ended, but at the latest after that time.

        Raises:
            NotFound: No such Run in this workspace and project.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            owner = self._owners.get(run_id)
            if wait > timedelta() and owner is not None and (owner.workspace, owner.project) == (workspace, project):
                with suppress(TimeoutError):
                    outcome = await asyncio.wait_for(self._outcome(run_id), wait.total_seconds())
                    return RunState(run_id, outcome.status, outcome, RunType.API, owner.auth_session_id)
                wait = timedelta()
            description = await self.describe(workspace, project, run_id)
            return await self.resolve_state(description, wait)

    async def cancel(self, workspace: str, project: str, run_id: str, *, wait: timedelta) -> RunState:
        """Ask for the Run's cancellation and wait for its end, at most `wait`. This is idempotent.

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
            return await self.resolve_state(description, wait)

    async def check(self) -> None:
        """Check that Temporal answers for the namespace. Raises Unavailable, or ConfigurationError."""
        with translate_rpc_errors():
            await self._client.count_workflows("WorkflowId = 'readiness'", rpc_timeout=timedelta(seconds=3))

    async def has_pollers(self, project: str) -> bool:
        """Tell whether a worker has polled for this project's Attempts lately.

        Temporal forgets pollers after minutes.
        """
        with translate_rpc_errors():
            response = await self._client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=self._client.namespace,
                    task_queue=TaskQueue(name=names.project_queue(project)),
                    task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
                ),
                timeout=RPC_TIMEOUT,
            )
            return len(response.pollers) > 0

    async def count_offered_machines(self) -> dict[str, int] | None:
        """Return how many Machines the live workers offer for each project, by their heartbeats.

        Return None if the server does not keep heartbeats. A worker appears within ten seconds of its start.
        """
        with translate_rpc_errors():
            found = await pool_usage.read_machine_counts(self._client)
        return None if found is None else {project: machines.offered for project, machines in found.items()}

    def _handle(self, run_id: str) -> WorkflowHandle[RunWorkflow, RunOutcome]:
        return self._client.get_workflow_handle_for(RunWorkflow.run, run_id)

    async def describe(self, workspace: str, project: str, run_id: str) -> WorkflowExecutionDescription:
        """Describe the workflow of a Run in this workspace and project. Raises NotFound, or RPCError."""
        if not _RUN_ID.fullmatch(run_id):
            raise NotFound("There is no such Run.")
        description = await self._handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
        if (
            description.typed_search_attributes.get(search_attributes.PROJECT) != project
            or description.typed_search_attributes.get(search_attributes.RUN_TYPE) is None
            or await description.memo_value(search_attributes.MEMO_WORKSPACE, default=None) != workspace
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
            RunType(description.typed_search_attributes[search_attributes.RUN_TYPE]),
            description.typed_search_attributes.get(search_attributes.AUTH_SESSION),
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
