"""Create, update and find the Schedule that starts sweeps of the artifact store."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowFailureError,
)
from temporalio.common import Priority
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.sweep import SweepInput, SweepTotals
from callboard.temporal.durations import format_duration
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_operator_errors, translate_rpc_errors, unless_missing

SWEEP_INTERVAL = timedelta(hours=1)

_CATCHUP_WINDOW = timedelta(days=1)
"""Age up to which sweeps that were missed while Temporal was down are made up for, with one sweep."""


_MAX_AGE = 60.0
"""Seconds for which what the last sweep has found is kept: one ends every hour."""
_LOOKED_AT = 5
"""How many of the last sweeps are looked at for one that has come to its end."""


@dataclass(frozen=True)
class SweepReport:
    """What a sweep has found that has come to its end."""

    ended_at: datetime
    totals: SweepTotals


class Sweeps:
    """The sweeps of the artifact store of a namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._read: tuple[float, SweepReport | None] | None = None

    async def last(self) -> SweepReport | None:
        """Return what the last sweep has found, as of a minute ago at most; None if none has come to its end.

        Raises:
            Unavailable: Temporal cannot be reached.
        """
        now = time.monotonic()
        if self._read is None or now - self._read[0] > _MAX_AGE:
            with translate_rpc_errors():
                self._read = now, await self._find()
        return self._read[1]

    async def _find(self) -> SweepReport | None:
        query = f"WorkflowType = '{names.SWEEP}' AND ExecutionStatus IN ('Completed', 'Failed')"
        async for execution in self._client.list_workflows(query, limit=_LOOKED_AT, rpc_timeout=RPC_TIMEOUT):
            handle = self._client.get_workflow_handle(execution.id, run_id=execution.run_id, result_type=SweepTotals)
            try:
                totals = await handle.result(follow_runs=False, rpc_timeout=RPC_TIMEOUT)
            except WorkflowFailureError as error:
                match error.cause:
                    case ApplicationError(details=[found, *_]):  # something could not be removed; all was counted
                        totals = SweepTotals.model_validate(found)
                    case _:
                        continue
            if execution.close_time is not None:
                return SweepReport(execution.close_time, totals)
        return None


@dataclass(frozen=True)
class SweepSchedule:
    """The Schedule that starts the sweeps of the artifact store."""

    artifact_retention: timedelta | None
    """How long after the end of its Run an artifact is removed; None if the Schedule starts another workflow."""
    paused: bool


async def ensure_sweep_schedule(client: Client, artifact_retention: timedelta) -> list[str]:
    """Create the Schedule, or update it, so that artifacts are removed after that time.

    Returns:
        What was changed, one line for each change; empty if the Schedule is as it should be.

    Raises:
        ConfigurationError: Temporal refuses.
        Unavailable: Temporal cannot be reached.
    """
    current = await find_sweep_schedule(client)
    if current is not None and current.artifact_retention == artifact_retention:
        return []
    # The input holds nothing secret. In clear, it outlives every change of keys: sweeps go on for years.
    (sweep_input,) = pydantic_data_converter.payload_converter.to_payloads([SweepInput(older_than=artifact_retention)])
    action = ScheduleActionStartWorkflow(
        names.SWEEP,
        sweep_input,
        id=names.SWEEP_SCHEDULE,
        task_queue=names.CALLBOARD_QUEUE,
        static_summary=f"Remove artifacts {format_duration(artifact_retention)} after the end of their Run",
        priority=Priority(priority_key=names.PRIORITY_SWEEP),
    )
    with translate_operator_errors(client, "make a Schedule"):
        if current is None:
            schedule = Schedule(
                action=action,
                spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=SWEEP_INTERVAL)]),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=_CATCHUP_WINDOW),
            )
            try:
                await client.create_schedule(names.SWEEP_SCHEDULE, schedule, rpc_timeout=RPC_TIMEOUT)
            except ScheduleAlreadyRunningError:
                # Another process has created it meanwhile.
                return await ensure_sweep_schedule(client, artifact_retention)
        else:
            # The Schedule's times, and whether it is paused, stay as an operator may have set them.
            def update_action(update: ScheduleUpdateInput) -> ScheduleUpdate:
                return ScheduleUpdate(replace(update.description.schedule, action=action))

            await client.get_schedule_handle(names.SWEEP_SCHEDULE).update(update_action, rpc_timeout=RPC_TIMEOUT)
    age = format_duration(artifact_retention)
    return [f"Artifacts are removed {age} after the end of their Run (Schedule {names.SWEEP_SCHEDULE})."]


async def find_sweep_schedule(client: Client) -> SweepSchedule | None:
    """Return the Schedule of the client's namespace, if there is one.

    Raises:
        ConfigurationError: Temporal refuses to say.
        Unavailable: Temporal cannot be reached.
    """
    with translate_operator_errors(client, "describe a Schedule"):
        handle = client.get_schedule_handle(names.SWEEP_SCHEDULE)
        description = await unless_missing(handle.describe(rpc_timeout=RPC_TIMEOUT))
    if description is None:
        return None
    return SweepSchedule(await _read_artifact_retention(client, description), paused=description.schedule.state.paused)


async def _read_artifact_retention(client: Client, description: ScheduleDescription) -> timedelta | None:
    """Return how long artifacts are kept according to the Schedule."""
    action = description.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != names.SWEEP:
        return None
    payloads = description.raw_description.schedule.action.start_workflow.input.payloads
    try:
        (sweep_input,) = await client.data_converter.decode(list(payloads), [SweepInput])
    except (RuntimeError, ValueError):  # no input, several, or another one
        return None
    return sweep_input.older_than if isinstance(sweep_input, SweepInput) else None
