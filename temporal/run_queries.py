"""Query more of Runs than their result: lists, inputs, the Runs that belong to one, and what one waits for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from temporalio.client import Client, WorkflowExecutionDescription

from schemas.errors import NotFound
from schemas.workflow import names
from schemas.workflow.auth_session import CreateInput, ValidateInput
from schemas.workflow.run import RunInput, RunStatus, RunType
from temporal import pool_usage
from temporal.listing import RunFilter, RunListItem, RunPage, line_of, page_of, query_of
from temporal.pool_usage import Machines
from temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors
from temporal.runs import Runs, RunState

AnyOrder = RunInput | ValidateInput | CreateInput
_ORDERS: dict[str, type[AnyOrder]] = {names.RUN: RunInput, names.VALIDATE: ValidateInput, names.CREATE: CreateInput}

_MOST = 500
"""How many Runs can belong to one Run: there are a hundred Attempts at most, and each has one Validate."""


@dataclass(frozen=True)
class RunRecord:
    """A Run: what lists show, its current state, and its input."""

    line: RunListItem
    state: RunState
    order: AnyOrder
    rerun_of: str | None
    execution: str
    """Temporal's own id of the execution, for links."""


@dataclass(frozen=True)
class ValidateLine:
    """A Validate that a Run has waited for."""

    run: RunListItem
    create_run_id: str | None
    """The Create that it has asked for. If several Validates asked for the same Create, it is listed with the first
    one."""


class RunQueries:
    """Queries of the Runs of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._runs = Runs(client)

    async def page(
        self, workspace: str, project: str, wanted: RunFilter, *, limit: int, after: bytes | None = None
    ) -> RunPage:
        """Return a page of a project's Runs; `after` is taken from the page before, with the same filter.

        Raises:
            ConfigurationError: Temporal refuses: the namespace or its search attributes are missing.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            return await page_of(self._client, workspace, project, wanted, limit=limit, after=after)

    async def record(self, workspace: str, project: str, run_id: str) -> RunRecord:
        """Return all that Temporal knows of a Run.

        Raises:
            NotFound: No such Run in this workspace and project.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            description = await self._runs.describe(workspace, project, run_id)
            state = await self._runs.settle(description)
            line = await line_of(description)
            attempts = line.attempts if state.outcome is None else state.outcome.attempts
            return RunRecord(
                line=replace(line, status=state.status, attempts=attempts),
                state=state,
                order=await self._order(description),
                rerun_of=await description.memo_value(names.MEMO_RERUN_OF, None),
                execution=description.run_id,
            )

    async def validates(self, workspace: str, of: RunListItem) -> list[ValidateLine]:
        """Return the Validates that this Run has waited for, in order. One that began a moment ago may be missing.

        Raises:
            Unavailable: Temporal cannot be reached.
        """
        wanted = RunFilter(types=frozenset({RunType.AUTH_SESSION_VALIDATE}), parent=of.run_id)
        with translate_rpc_errors():
            page = await page_of(self._client, workspace, of.project, wanted, limit=_MOST)
            # The ids of these Validates begin with that of their Run. Some databases do not tell upper case from lower
            # case, so the parent is compared here once more.
            lines = sorted((run for run in page.runs if run.parent_run_id == of.run_id), key=lambda run: run.created_at)
            if not lines:
                return []
            creates = await page_of(self._client, workspace, of.project, _creates_for(lines[0], of), limit=_MOST)
        made = {create.parent_run_id: create.run_id for create in creates.runs}
        return [ValidateLine(run, made.get(run.run_id)) for run in lines]

    async def ahead(self, of: RunListItem) -> int:
        """Count the Runs of the project that were created before this one and wait, too. Raises Unavailable."""
        return await self._waiting(of.project, of.created_at)

    async def waiting(self, project: str) -> int:
        """Count the Runs of the project that wait for a Machine. Raises Unavailable."""
        return await self._waiting(project, None)

    async def _waiting(self, project: str, before: datetime | None) -> int:
        # The Validates that Runs wait for are not counted: their Runs are.
        wanted = RunFilter(statuses=frozenset({RunStatus.PENDING}), started_before=before)
        by_themselves = f"({names.SEARCH_RUN_TYPE} = '{RunType.API.value}' OR ParentWorkflowId IS NULL)"
        with translate_rpc_errors():
            query = f"{query_of(project, wanted)} AND {by_themselves}"
            counted = await self._client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)
            return counted.count

    async def machines(self) -> dict[str, Machines] | None:
        """Return the Machines that live workers offer, by project, and how many are busy, as of some seconds ago.

        Return None if the server does not keep heartbeats. A worker appears within ten seconds of its start.

        Raises:
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            return await pool_usage.machines(self._client)

    async def _order(self, description: WorkflowExecutionDescription) -> AnyOrder:
        """Return what the Run was started with, from the beginning of its history."""
        kind = _ORDERS[description.workflow_type]
        handle = self._client.get_workflow_handle(description.id, run_id=description.run_id)
        async for event in handle.fetch_history_events(page_size=1, rpc_timeout=RPC_TIMEOUT):
            payloads = event.workflow_execution_started_event_attributes.input.payloads
            (order,) = await self._client.data_converter.decode(payloads, [kind])
            return order
        raise NotFound("There is no such Run.")


def _creates_for(validate: RunListItem, of: RunListItem) -> RunFilter:
    return RunFilter(
        types=frozenset({RunType.AUTH_SESSION_CREATE}),
        auth_sessions=frozenset({validate.auth_session_id} if validate.auth_session_id else ()),
        started_after=of.created_at,
        started_before=of.ended_at,
    )
