"""Read the state of Deliveries, have one sent again, and have a test sent to a sink."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import Priority, WorkflowIDReusePolicy

from callboard.schemas.errors import NotFound, Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import (
    DeliverInput,
    DeliveryOutcome,
    DeliveryStatus,
    SinkTestInput,
    SinkTestOutcome,
    TryProblem,
)
from callboard.temporal.closing import wait_for_delivery, wait_for_result
from callboard.temporal.handoffs import read_handoffs
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors, unless_missing
from callboard.temporal.visibility_queries import is_one_of
from workflows.visibility import project_search_attributes

_TEST_TIMEOUT = timedelta(seconds=15)
"""How long a test of a sink may take in addition to the time of one try."""

_MOST_LISTED = 50
_CONCURRENT = 8
"""Number of Deliveries that are read concurrently for a list."""

_NOT_FOUND = "There is no such Delivery."


@dataclass(frozen=True)
class DeliveryState:
    """The state of a Delivery, without its tries: their records are in the artifact store."""

    id: str
    sink: dict[str, Any]
    """The sink as a client wrote it, with its secrets masked."""
    status: DeliveryStatus
    error: TryProblem | None = None
    """Why the Delivery failed."""


@dataclass(frozen=True)
class DeliveryListItem:
    """A Delivery in the list of its project."""

    run_id: str
    """The Run or the JobRun that it tells of; `names.ALERTS_OWNER` for an alert."""
    job_id: str | None
    """The Job of the JobRun that it tells of."""
    state: DeliveryState
    created_at: datetime
    ended_at: datetime | None
    tries: int | None
    """How many have been begun; None of one that has ended."""
    next_try_at: datetime | None
    """When it is tried again, if it waits for that."""

    @property
    def rank(self) -> tuple[int, float]:
        """Where it stands in a list: what fails now, what has failed, what is on its way, and what has arrived."""
        pending = self.state.status is DeliveryStatus.PENDING
        failing = self.state.error is not None
        first = (0 if failing else 2) if pending else (1 if self.state.status is DeliveryStatus.FAILED else 3)
        return first, -(self.ended_at or self.created_at).timestamp()


class Deliveries:
    """The Deliveries of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list_for_run(self, workspace: str, project: str, run_id: str) -> list[DeliveryState]:
        """Return the Deliveries of a Run, that of its result first: there is none before its end, or without a sink.

        The others tell of its last Handoffs.

        Raises:
            Unavailable: Temporal cannot be reached.
        """
        found: list[DeliveryState] = []
        with translate_rpc_errors():
            run = await unless_missing(self._handle(run_id).describe(rpc_timeout=RPC_TIMEOUT))
            told = [] if run is None else [each.id for each in await read_handoffs(run) if each.is_told]
        for delivery_id in (names.SINK_DELIVERY, *told):
            with suppress(NotFound), translate_rpc_errors(_NOT_FOUND):
                found.append(await self._get_state(workspace, project, run_id, delivery_id))
        return found

    async def list_for_project(self, workspace: str, project: str) -> list[DeliveryListItem]:
        """Return Deliveries of a project: the last fifty on their way, the last fifty failed, the last fifty arrived.

        Raises:
            Unavailable: Temporal cannot be reached.
        """
        limit = asyncio.Semaphore(_CONCURRENT)

        async def read(execution: WorkflowExecution) -> DeliveryListItem | None:
            if await execution.memo_value(names.MEMO_WORKSPACE, None) != workspace:
                return None
            async with limit:
                return await self._read_list_item(execution)

        of_project = f"WorkflowType = '{names.DELIVER}' AND {is_one_of(names.SEARCH_PROJECT, [project])}"
        with translate_rpc_errors():
            executions = [
                execution
                for status in ("Running", "Failed", "Completed")
                async for execution in self._client.list_workflows(
                    f"{of_project} AND ExecutionStatus = '{status}'", limit=_MOST_LISTED, rpc_timeout=RPC_TIMEOUT
                )
            ]
            found = await asyncio.gather(*(read(execution) for execution in executions))
        return sorted((item for item in found if item is not None), key=lambda item: item.rank)

    async def _read_list_item(self, execution: WorkflowExecution) -> DeliveryListItem:
        run_id, _, delivery_id = execution.id.partition(":")
        sink = cast("dict[str, Any]", await execution.memo_value(names.MEMO_SINK))
        status, error, tries, next_try_at = DeliveryStatus.PENDING, None, None, None
        if execution.status is WorkflowExecutionStatus.RUNNING:
            description = await self._handle(execution.id, execution.run_id).describe(rpc_timeout=RPC_TIMEOUT)
            for activity in description.raw_description.pending_activities:
                tries = activity.attempt
                if activity.HasField("last_failure"):
                    failure = activity.last_failure
                    error = TryProblem(type=failure.application_failure_info.type, message=failure.message)
                    next_try_at = activity.scheduled_time.ToDatetime(UTC)
        elif execution.status is WorkflowExecutionStatus.FAILED:
            outcome = await wait_for_delivery(self._handle(execution.id, execution.run_id))
            status, error = outcome.status, outcome.error
        else:
            status = DeliveryStatus.DELIVERED
        state = DeliveryState(delivery_id, sink, status, error)
        job_id = await execution.memo_value(names.MEMO_JOB, None)
        return DeliveryListItem(run_id, job_id, state, execution.start_time, execution.close_time, tries, next_try_at)

    async def redeliver(self, workspace: str, project: str, run_id: str, delivery_id: str) -> DeliveryState:
        """Have a Delivery sent now: once more, or instead of waiting for the next try.

        `run_id` is what it tells of, as `DeliveryListItem` has it.

        Raises:
            NotFound: There is no such Delivery.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors(_NOT_FOUND):
            description = await self._describe(workspace, project, run_id, delivery_id)
            deliver_input = await self._read_input(description)
            await self._client.start_workflow(
                names.DELIVER,
                deliver_input.model_copy(update={"was_prepared": True}),
                id=description.id,
                task_queue=names.DELIVERIES_QUEUE,
                priority=Priority(fairness_key=deliver_input.sink.fairness_key),
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                start_signal=names.REDELIVER,
                memo=await description.memo(),
                search_attributes=project_search_attributes(project),
                static_summary=await description.static_summary(),
                rpc_timeout=RPC_TIMEOUT,
            )
            return await self._get_state(workspace, project, run_id, delivery_id)

    async def test_sink(self, sink_test: SinkTestInput) -> SinkTestOutcome:
        """Have a test sent to a sink once, by the workers that deliver, and return its result.

        Raises:
            Unavailable: Temporal cannot be reached, or no worker has taken it up in time.
        """
        with translate_rpc_errors():
            handle = await self._client.start_workflow(
                names.SINK_TEST,
                sink_test,
                id=f"sink-test:{sink_test.test_id}",
                task_queue=names.DELIVERIES_QUEUE,
                result_type=SinkTestOutcome,
                # Nobody waits for a longer time, and the test must not be sent a day later.
                execution_timeout=sink_test.sink.schedule.timeout + _TEST_TIMEOUT,
                search_attributes=project_search_attributes(sink_test.project),
                static_summary=f"Test a sink of {sink_test.project}",
                rpc_timeout=RPC_TIMEOUT,
            )
            try:
                return await wait_for_result(handle)
            except WorkflowFailureError as error:
                raise Unavailable("No worker that delivers has sent the test in time. Is one running?") from error

    async def _get_state(self, workspace: str, project: str, run_id: str, delivery_id: str) -> DeliveryState:
        description = await self._describe(workspace, project, run_id, delivery_id)
        sink = cast("dict[str, Any]", await description.memo_value(names.MEMO_SINK))
        if description.status is WorkflowExecutionStatus.RUNNING:
            return DeliveryState(delivery_id, sink, DeliveryStatus.PENDING)
        # There may be another execution by now; the outcome is that of the one that was described.
        outcome = await wait_for_delivery(self._handle(description.id, description.run_id))
        return DeliveryState(delivery_id, sink, outcome.status, outcome.error)

    async def _describe(
        self, workspace: str, project: str, run_id: str, delivery_id: str
    ) -> WorkflowExecutionDescription:
        if not names.is_run_id(run_id):
            raise NotFound(_NOT_FOUND)
        handle = self._handle(names.delivery_workflow_id(run_id, delivery_id))
        description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
        owner = [await description.memo_value(key, default=None) for key in (names.MEMO_WORKSPACE, names.MEMO_PROJECT)]
        if description.workflow_type != names.DELIVER or owner != [workspace, project]:
            raise NotFound(_NOT_FOUND)
        return description

    async def _read_input(self, description: WorkflowExecutionDescription) -> DeliverInput:
        """Return what the Delivery was started with, from the beginning of its history."""
        async for event in self._handle(description.id, description.run_id).fetch_history_events(page_size=1):
            payloads = event.workflow_execution_started_event_attributes.input.payloads
            (deliver_input,) = await self._client.data_converter.decode(payloads, [DeliverInput])
            return deliver_input
        raise NotFound(_NOT_FOUND)

    def _handle(self, workflow_id: str, execution_id: str | None = None) -> WorkflowHandle[Any, DeliveryOutcome]:
        return self._client.get_workflow_handle(workflow_id, run_id=execution_id, result_type=DeliveryOutcome)
