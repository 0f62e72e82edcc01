"""Start, read and cancel Runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from callboard.schemas.errors import Conflict, NotFound
from callboard.schemas.workflow import names
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.handoff import Handoff
from callboard.schemas.workflow.run import RunInput, RunOutcome, RunStatus, RunType
from callboard.telemetry import metrics
from callboard.temporal.closing import wait_for_outcome
from callboard.temporal.coalescing import Coalescer
from callboard.temporal.handoffs import find_handoffs, first_open
from callboard.temporal.rpc_errors import RPC_TIMEOUT, is_overload, translate_rpc_errors, unless_missing
from callboard.temporal.run_status import Progress, read_progress
from callboard.temporal.run_waits import RunWaits
from workflows import visibility
from workflows.priorities import run_priority

_MAX_REMEMBERED = 50_000
"""How many Runs a process remembers: more than the number of clients that may wait at the same time."""

_READINGS = 10
"""How many states of Runs are read at once for clients that wait. Thousands may want one at the same moment; more
readings at once would hold up the lookups that tell which Runs have ended."""

_READING_TIMEOUT = 5.0
"""Seconds that a client whose time is over waits for the state of its Run, before it is told the last known one."""

_OVERLOAD_PAUSE = 0.5
"""Seconds after which a client that waits asks once more whether there is such a Run, if Temporal could not say."""


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
    preparing: bool = False
    """Whether the Run is pending, and a worker prepares its version and environment."""
    handoff: Handoff | None = None
    """The first Handoff that is open of it, or of the Create that it waits for."""


@dataclass(frozen=True)
class _KnownRun:
    """What this process remembers of a Run that it has started or asked about."""

    workspace: str
    project: str
    state: RunState
    """State in which the Run was then, if it had not ended."""


class Runs:
    """The Runs of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known_runs: dict[str, _KnownRun] = {}
        """The last Runs that this process has heard of. A wait for the end of one of them needs no request to learn its
        project."""
        self._waits = RunWaits(client)
        self._readings: Coalescer[tuple[str, str, str], RunState] = Coalescer()
        """Questions how a Run is, of clients that wait for it: they come at the same time when many wait for one."""

        self._reading_places = asyncio.Semaphore(_READINGS)

    async def close(self) -> None:
        """Release all who wait for a Run, and end what waits on their behalf. No call may be made afterwards."""
        await self._waits.close()
        await self._readings.close()

    async def start(
        self,
        run_id: str,
        run_input: RunInput,
        *,
        fingerprint: str,
        rerun_of: str | None = None,
        batch: str | None = None,
    ) -> bool:
        """Start workflow `Run` with id `run_id`.

        Args:
            run_id: The id.
            run_input: What to execute.
            fingerprint: Keyed hash of the request; empty without an Idempotency-Key.
            rerun_of: The id of the Run whose inputs these are, if there is one.
            batch: The id of the bulk that starts the Run, if one does.

        Returns:
            True if it was started, False if a Run with this id and this fingerprint of its request's body exists.

        Raises:
            Conflict: A Run with this id exists and was started with another body.
            ConfigurationError: Temporal refuses: the namespace or its search attributes are missing.
            Unavailable: Temporal cannot be reached; whether the Run was started is not known.
        """
        with translate_rpc_errors():
            try:
                await start_run_workflow(
                    self._client,
                    run_id,
                    run_input,
                    memo=visibility.run_memo(run_input, fingerprint=fingerprint, rerun_of=rerun_of),
                    batch=batch,
                )
            except WorkflowAlreadyStartedError as error:
                description = await self._handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
                known_fingerprint = await description.memo_value(visibility.MEMO_FINGERPRINT, default=None)
                if known_fingerprint != fingerprint:
                    raise Conflict(
                        "This Idempotency-Key was used before with another body. Send the same body, or a new key."
                    ) from error
                return False
            auth_session_id = run_input.auth and run_input.auth.ref.id
            state = RunState(run_id, RunStatus.PENDING, auth_session_id=auth_session_id)
            self._remember(_KnownRun(run_input.workspace, run_input.project, state))
            return True

    def _remember(self, known: _KnownRun) -> None:
        self._known_runs[known.state.run_id] = known
        if len(self._known_runs) > _MAX_REMEMBERED:
            del self._known_runs[next(iter(self._known_runs))]

    async def get_state(self, workspace: str, project: str, run_id: str, *, wait: timedelta = timedelta()) -> RunState:
        """Return the Run's state; with `wait`, as soon as it has ended, but at the latest after that time.

        Raises:
            NotFound: No such Run in this workspace and project.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            if wait > timedelta():
                return await self._wait_for_end(workspace, project, run_id, wait)
            return await self._read_state(workspace, project, run_id)

    async def _wait_for_end(self, workspace: str, project: str, run_id: str, wait: timedelta) -> RunState:
        """Return the Run's state as soon as it has ended, or after `wait`. Raises NotFound, or RPCError.

        If Temporal is asked too much to tell, the state is the one that this process last heard of. Where lookups tell
        whether the Run has started, it is not read, too.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait.total_seconds()
        known = self._known_run(workspace, project, run_id)
        while known is None:
            try:
                state = await self._share_reading(workspace, project, run_id)
            except RPCError as error:
                if not is_overload(error) or loop.time() > deadline:
                    raise
                await asyncio.sleep(_OVERLOAD_PAUSE)
            else:
                if state.outcome is not None:
                    return state
                known = _KnownRun(workspace, project, state)
        answer = await self._waits.wait(run_id, timedelta(seconds=max(0.0, deadline - loop.time())))
        if isinstance(answer, RunOutcome):
            return _ended(known.state, answer)
        if answer is None:
            return await self._read_or_recall(workspace, project, known)
        state = self._recall(known)
        if answer is RunStatus.STARTED and state.status is RunStatus.PENDING:
            state = replace(state, status=answer, paused=False, preparing=False)
            self._remember(_KnownRun(workspace, project, state))
        return state

    async def _read_or_recall(self, workspace: str, project: str, known: _KnownRun) -> RunState:
        """Return the Run's state now, or the last known one if Temporal does not tell it soon. Raises RPCError.

        It may be the Run's turn to be read only after seconds, so the wait for its end goes on meanwhile.
        """
        run_id = known.state.run_id
        reading = asyncio.create_task(self._share_reading(workspace, project, run_id))
        ending = asyncio.create_task(self._waits.wait(run_id, timedelta(seconds=_READING_TIMEOUT)))
        try:
            await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            answer = ending.result()
        except RPCError as error:
            if not is_overload(error):
                raise
            answer = None
        finally:
            reading.cancel()
            ending.cancel()
            await asyncio.gather(reading, ending, return_exceptions=True)
        return _ended(known.state, answer) if isinstance(answer, RunOutcome) else self._recall(known)

    def _recall(self, known: _KnownRun) -> RunState:
        """Return the last state of the Run that this process has heard of."""
        newest = self._known_run(known.workspace, known.project, known.state.run_id)
        return (newest or known).state

    def _known_run(self, workspace: str, project: str, run_id: str) -> _KnownRun | None:
        known = self._known_runs.get(run_id)
        return known if known is not None and (known.workspace, known.project) == (workspace, project) else None

    async def _share_reading(self, workspace: str, project: str, run_id: str) -> RunState:
        """Read the state together with all who want it at this moment. Raises NotFound, or RPCError."""
        return await self._readings.run(
            (workspace, project, run_id), lambda: self._read_in_turn(workspace, project, run_id)
        )

    async def _read_in_turn(self, workspace: str, project: str, run_id: str) -> RunState:
        async with self._reading_places:
            return await self._read_state(workspace, project, run_id)

    async def _read_state(self, workspace: str, project: str, run_id: str) -> RunState:
        """Return the Run's state as Temporal tells it now, and remember it. Raises NotFound, or RPCError."""
        state = await self.resolve_state(await self.describe(workspace, project, run_id))
        if state.outcome is None:
            self._remember(_KnownRun(workspace, project, state))
        return state

    async def cancel(self, workspace: str, project: str, run_id: str, *, by: Actor) -> RunState:
        """Request the Run's cancellation, and return its state, without waiting for its end. This is idempotent.

        A Run that has ended is left as it is. Raises as `get_state` does.

        Args:
            workspace: The workspace of the Run.
            project: The project of the Run.
            run_id: The id of the Run.
            by: Who requests it.
        """
        with translate_rpc_errors():
            description = await self.describe(workspace, project, run_id)
            if description.status is WorkflowExecutionStatus.RUNNING:
                # It may have ended meanwhile.
                await unless_missing(self._handle(run_id).cancel(reason=by.cancel_reason, rpc_timeout=RPC_TIMEOUT))
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

    async def list_handoffs(self, workspace: str, project: str, run_id: str) -> list[Handoff]:
        """Return the last Handoffs of a Run, and of the check and Create it waits for. Raises as `get_state` does."""
        with translate_rpc_errors():
            return await find_handoffs(self._client, await self.describe(workspace, project, run_id))

    async def resolve_state(self, description: WorkflowExecutionDescription) -> RunState:
        """Return the state of a Run from its description. Raises RPCError."""
        outcome = None
        if description.status is not WorkflowExecutionStatus.RUNNING:
            outcome = await wait_for_outcome(self._handle(description.id))
        progress, handoff = None, None
        if outcome is not None:
            status = outcome.status
        else:
            progress = await read_progress(self._client, description)
            status = RunStatus.STARTED if progress is Progress.STARTED else RunStatus.PENDING
            handoff = first_open(await find_handoffs(self._client, description))
        return RunState(
            description.id,
            status,
            outcome,
            RunType(description.typed_search_attributes[visibility.RUN_TYPE]),
            description.typed_search_attributes.get(visibility.AUTH_SESSION),
            progress is Progress.PAUSED,
            progress is Progress.PREPARED,
            handoff,
        )


def _ended(state: RunState, outcome: RunOutcome) -> RunState:
    return replace(state, status=outcome.status, outcome=outcome, paused=False, preparing=False, handoff=None)


async def start_run_workflow(
    client: Client,
    run_id: str,
    run_input: RunInput,
    *,
    memo: dict[str, Any] | None = None,
    batch: str | None = None,
) -> None:
    """Start workflow `Run` with id `run_id`, of which there was none before.

    Args:
        client: The client.
        run_id: The id.
        run_input: What to execute.
        memo: Replaces what each Run has in its memo.
        batch: The id of the JobRun or bulk that starts the Run, if one does.

    Raises:
        WorkflowAlreadyStartedError: There is, or was, a Run with this id.
        RPCError, RuntimeError: Temporal refuses, or does not answer.
    """
    await client.start_workflow(
        names.RUN,
        run_input,
        id=run_id,
        task_queue=names.RUNS_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        static_summary=f"{run_input.project}/{run_input.api}",
        static_details=_static_details(run_input),
        priority=run_priority(run_input.project, batch),
        memo=visibility.run_memo(run_input, fingerprint="") if memo is None else memo,
        search_attributes=visibility.run_search_attributes(run_input),
        rpc_timeout=RPC_TIMEOUT,
    )
    metrics.current().run_accepted(run_input.project)


def _static_details(run_input: RunInput) -> str:
    """Describe the Run for the reader of the Temporal Web UI, in Markdown, without any secret."""
    lines = [
        f"API `{run_input.api}` of project `{run_input.project}`, version `{run_input.version}`",
        f"Up to {run_input.maximum_attempts} Attempt(s) of {run_input.request_timeout.total_seconds():g} seconds",
    ]
    if wait := run_input.retry_intervals.initial_interval:
        factor, longest = run_input.retry_intervals.backoff_coefficient, run_input.retry_intervals.maximum_interval
        lines.append(
            f"Waits {wait.total_seconds():g} seconds after an Attempt that failed, then {factor:g} times as long each, "
            f"{longest.total_seconds():g} at most"
        )
    if run_input.queue_timeout is not None:
        lines.append(f"Fails if it waits longer than {run_input.queue_timeout.total_seconds():g} seconds for a Machine")
    if run_input.started_by is not None:
        lines.append(run_input.started_by.start_note)
    if run_input.job is not None:
        lines.append(f"Belongs to JobRun `{run_input.job.job_run_id}` of Job `{run_input.job.job_id}`")
    if run_input.auth is not None:
        lines.append(f"AuthSession `{run_input.auth.ref.id}`, validated before each Attempt")
    if run_input.sink is not None:
        lines.append(f"The result is delivered to `{run_input.sink.target}`")
    return "\n".join(f"- {line}" for line in lines)
