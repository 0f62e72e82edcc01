"""What has not ended of a project: whatever runs in Temporal with its search attribute."""

from __future__ import annotations

import asyncio

from temporalio.client import Client, WorkflowExecution

from callboard.schemas.workflow import names
from callboard.schemas.workflow.job_run import JobRunView
from callboard.schemas.workflow.run import RunSummary
from callboard.temporal.rpc_errors import RPC_TIMEOUT, signal_if_running, translate_rpc_errors, unless_missing
from callboard.temporal.visibility_queries import equals

_SIGNALS = {names.JOB_RUN: names.TERMINATE_JOB_RUN, names.AUTH_SESSION: names.DELETE}
"""What tells workflows of these types to end. All others are canceled."""
_END_BY_THEMSELVES = {names.APPLY_RESOURCES, names.TRIGGER_JOB}
"""Types of workflows that end soon, and whose last step is awaited: it may create what is to be ended, too."""
_AT_ONCE = 20
"""How many workflows are told to end at the same time."""


class OpenRuns:
    """The open workflows of projects, as visibility knows them: what has just begun or ended may be missing."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def count(self, project: str) -> str:
        """Return how many Runs, JobRuns and Deliveries have not ended, for people; empty if all have.

        Validates that Runs wait for are not counted, nor are Creates of AuthSessions.

        Raises:
            ConfigurationError, Unavailable: Temporal refuses, or does not answer.
        """
        of_project = f"{equals(names.SEARCH_PROJECT, project)} AND ExecutionStatus = 'Running'"
        runs = f"{of_project} AND {names.SEARCH_RUN_TYPE} IS NOT NULL AND ParentWorkflowId IS NULL"
        job_runs = f"{of_project} AND {equals('WorkflowType', names.JOB_RUN)}"
        deliveries = f"{of_project} AND {equals('WorkflowType', names.DELIVER)}"
        with translate_rpc_errors():
            found = [
                ((await self._client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)).count, one, several)
                for query, one, several in (
                    (runs, "Run", "Runs"),
                    (job_runs, "JobRun", "JobRuns"),
                    (deliveries, "Delivery", "Deliveries"),
                )
            ]
        return ", ".join(f"{number} {one if number == 1 else several}" for number, one, several in found if number)

    async def versions(self, project: str) -> set[str]:
        """Return the versions of the project that its Runs and JobRuns execute. Raises as `count` does."""
        query = f"{equals(names.SEARCH_PROJECT, project)} AND ExecutionStatus = 'Running'"
        found: set[str] = set()
        with translate_rpc_errors():
            async for execution in self._client.list_workflows(query, rpc_timeout=RPC_TIMEOUT):
                for field, kind in ((names.MEMO_SUMMARY, RunSummary), (names.MEMO_JOB_RUN, JobRunView)):
                    shown = await execution.memo_value(field, default=None, type_hint=kind)
                    if shown is not None and shown.version is not None:
                        found.add(shown.version)
        return found

    async def end_all(self, project: str) -> bool:
        """Have all of them end, without waiting for it, and tell whether there were any. Raises as `count` does."""
        query = f"{equals(names.SEARCH_PROJECT, project)} AND ExecutionStatus = 'Running'"
        found, some = False, list[WorkflowExecution]()
        with translate_rpc_errors():
            async for execution in self._client.list_workflows(query, rpc_timeout=RPC_TIMEOUT):
                some.append(execution)
                if len(some) == _AT_ONCE:
                    await self._end_some(some)
                    found, some = True, []
            await self._end_some(some)
        return found or bool(some)

    async def _end_some(self, some: list[WorkflowExecution]) -> None:
        await asyncio.gather(*(self._end(execution) for execution in some))

    async def _end(self, execution: WorkflowExecution) -> None:
        signal = _SIGNALS.get(execution.workflow_type)
        if signal is not None:
            await signal_if_running(self._client, execution.id, signal)
        elif execution.workflow_type not in _END_BY_THEMSELVES:
            await unless_missing(self._client.get_workflow_handle(execution.id).cancel(rpc_timeout=RPC_TIMEOUT))
