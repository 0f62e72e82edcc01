"""Query more of Runs than their result: lists, inputs, the Runs that belong to one, and what one waits for."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from temporalio.client import Client, WorkflowExecutionDescription

from callboard.schemas.errors import NotFound
from callboard.schemas.workflow import names
from callboard.schemas.workflow.auth_session import CreateInput, ValidateInput
from callboard.schemas.workflow.run import RunInput, RunStatus, RunType
from callboard.temporal.handoffs import read_handoffs
from callboard.temporal.listing import RunFilter, RunListItem, RunPage, abnormal_statuses, build_query, read_list_item
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors
from callboard.temporal.runs import Runs, RunState

AnyInput = RunInput | ValidateInput | CreateInput
_INPUT_TYPES: dict[str, type[AnyInput]] = {
    names.RUN: RunInput,
    names.VALIDATE: ValidateInput,
    names.CREATE: CreateInput,
}

_LONG_PAGE = 1_000
"""How many Runs one request reads where all of them are wanted."""
_MAX_VALIDATES = 500
"""How many Runs can belong to one Run: there are a hundred Attempts at most, and each has one Validate."""
_MAX_AGE = 1.0
"""Seconds for which a count is used. Temporal allows some ten queries a second, and lists of Runs need them, too."""


@dataclass(frozen=True)
class RunDetails:
    """A Run: what lists show, its current state, and its input."""

    list_item: RunListItem
    state: RunState
    input: AnyInput
    rerun_of: str | None
    execution_id: str
    """Temporal's own id of the execution, for links."""
    trace_id: str | None = None
    """The id of the OpenTelemetry trace in which the Run was started."""
    has_told: bool = False
    """Whether the project's webhook was told of a Handoff of this Run."""


@dataclass(frozen=True)
class ValidateListItem:
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

    async def list_runs(
        self, workspace: str, project: str, run_filter: RunFilter, *, limit: int, page_token: bytes | None = None
    ) -> RunPage:
        """Return a page of a project's Runs; `page_token` is that of the page before, which had the same filter.

        It may be shorter than `limit`, or even empty, although another page follows.

        Raises:
            ConfigurationError: Temporal refuses: the namespace or its search attributes are missing.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            query = build_query(project, run_filter, await abnormal_statuses(self._client, project, run_filter))
            executions = self._client.list_workflows(
                query, page_size=limit, next_page_token=page_token, rpc_timeout=RPC_TIMEOUT
            )
            await executions.fetch_next_page()
            items = [
                await read_list_item(execution)
                for execution in executions.current_page or ()
                if await execution.memo_value(names.MEMO_WORKSPACE, None) == workspace
            ]
            runs = tuple(item for item in items if run_filter.has_same_case(item))
            return RunPage(runs, executions.next_page_token or None)

    async def list_all(self, workspace: str, project: str, run_filter: RunFilter) -> AsyncGenerator[RunListItem]:
        """Yield all of a project's Runs that the filter matches, in the order of lists. Raises as `list_runs` does."""
        with translate_rpc_errors():
            query = build_query(project, run_filter, await abnormal_statuses(self._client, project, run_filter))
            async for execution in self._client.list_workflows(query, page_size=_LONG_PAGE, rpc_timeout=RPC_TIMEOUT):
                if await execution.memo_value(names.MEMO_WORKSPACE, None) == workspace:
                    item = await read_list_item(execution)
                    if run_filter.has_same_case(item):
                        yield item

    async def get_details(self, workspace: str, project: str, run_id: str) -> RunDetails:
        """Return all that Temporal knows of a Run.

        Raises:
            NotFound: No such Run in this workspace and project.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            description = await self._runs.describe(workspace, project, run_id)
            state = await self._runs.resolve_state(description)
            list_item = await read_list_item(description)
            attempts = list_item.attempts if state.outcome is None else state.outcome.attempts
            return RunDetails(
                list_item=replace(list_item, status=state.status, attempts=attempts, handoff=state.handoff),
                state=state,
                input=await self._read_input(description),
                rerun_of=await description.memo_value(names.MEMO_RERUN_OF, None),
                execution_id=description.run_id,
                trace_id=await description.memo_value(names.MEMO_TRACE_ID, None),
                has_told=any(each.is_told for each in await read_handoffs(description)),
            )

    async def list_validates(self, workspace: str, run: RunListItem) -> list[ValidateListItem]:
        """Return the Validates that `run` has waited for, in order. One that began a moment ago may be missing.

        Raises:
            Unavailable: Temporal cannot be reached.
        """
        run_filter = RunFilter(types=frozenset({RunType.AUTH_SESSION_VALIDATE}), parent_run_id=run.run_id)
        page = await self.list_runs(workspace, run.project, run_filter, limit=_MAX_VALIDATES)
        # The ids of these Validates begin with that of their Run. Some databases do not tell upper case from lower
        # case, so the parent is compared here once more.
        validates = sorted(
            (validate for validate in page.runs if validate.parent_run_id == run.run_id),
            key=lambda validate: validate.created_at,
        )
        if not validates:
            return []
        creates = await self.list_runs(workspace, run.project, _creates_filter(validates[0], run), limit=_MAX_VALIDATES)
        create_run_ids = {create.parent_run_id: create.run_id for create in creates.runs}
        return [ValidateListItem(validate, create_run_ids.get(validate.run_id)) for validate in validates]

    async def count_runs(self, project: str, run_filter: RunFilter) -> int:
        """Count the Runs of a project, as visibility knows them. Raises Unavailable."""
        with translate_rpc_errors():
            query = build_query(project, run_filter, await abnormal_statuses(self._client, project, run_filter))
            return (await self._client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)).count

    async def count_waiting(self, project: str, *, created_before: datetime | None = None) -> int:
        """Count the Runs of the project that wait for a Machine, and were created before then. Raises Unavailable."""
        # The Validates that Runs wait for are not counted: their Runs are.
        run_filter = RunFilter(statuses=frozenset({RunStatus.PENDING}), created_before=created_before)
        is_top_level = f"({names.SEARCH_RUN_TYPE} = '{RunType.API.value}' OR ParentWorkflowId IS NULL)"
        with translate_rpc_errors():
            query = f"{build_query(project, run_filter)} AND {is_top_level}"
            return (await self._client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)).count

    async def _read_input(self, description: WorkflowExecutionDescription) -> AnyInput:
        """Return what the Run was started with, from the beginning of its history."""
        input_type = _INPUT_TYPES[description.workflow_type]
        handle = self._client.get_workflow_handle(description.id, run_id=description.run_id)
        async for event in handle.fetch_history_events(page_size=1, rpc_timeout=RPC_TIMEOUT):
            payloads = event.workflow_execution_started_event_attributes.input.payloads
            (run_input,) = await self._client.data_converter.decode(payloads, [input_type])
            return run_input
        raise NotFound("There is no such Run.")


def _creates_filter(validate: RunListItem, run: RunListItem) -> RunFilter:
    return RunFilter(
        types=frozenset({RunType.AUTH_SESSION_CREATE, RunType.AUTH_SESSION_RECORD}),
        auth_sessions=frozenset({validate.auth_session_id} if validate.auth_session_id else ()),
        created_after=run.created_at,
        created_before=run.ended_at,
    )


@dataclass
class _Count:
    waiting: int
    counted_at: float
    """By the monotonic clock."""


class QueueCounts:
    """How many Runs of each project wait, by the last count, and what this process has started since."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def count(self, project: str, read: Callable[[], Awaitable[int]]) -> int:
        """Return how many Runs wait; `read` is awaited if the last count is too old. Raises what that raises."""
        async with self._locks[project]:
            known = self._counts.get(project)
            if known is None or time.monotonic() - known.counted_at > _MAX_AGE:
                known = self._counts[project] = _Count(await read(), time.monotonic())
            return known.waiting

    def add(self, project: str) -> None:
        """Count a Run that is being started: lists show it only later."""
        self._counts[project].waiting += 1
