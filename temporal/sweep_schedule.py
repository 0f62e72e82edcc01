"""Create, update and find the Schedule that starts sweeps of the artifact store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

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
)
from temporalio.common import Priority
from temporalio.service import RPCError, RPCStatusCode

from schemas.workflow import names
from schemas.workflow.sweep import SweepInput
from temporal.durations import said
from temporal.rpc_errors import RPC_TIMEOUT, translate_operator_errors

SWEEP_EVERY = timedelta(hours=1)

_CATCH_UP = timedelta(days=1)
"""Age up to which sweeps that were missed while Temporal was down are made up for, with one sweep."""


@dataclass(frozen=True)
class Sweep:
    """The Schedule of the sweep."""

    artifacts: timedelta | None
    """Age at which artifacts are removed; None if the Schedule starts something else."""
    paused: bool


async def schedule_sweeps(client: Client, artifacts: timedelta) -> list[str]:
    """Have artifacts removed at that age, and return what was done for it. Raises as `find_sweep` does."""
    found = await find_sweep(client)
    if found is not None and found.artifacts == artifacts:
        return []
    action = ScheduleActionStartWorkflow(
        names.SWEEP,
        SweepInput(older_than=artifacts),
        id=names.SWEEP_SCHEDULE,
        task_queue=names.CALLBOARD_QUEUE,
        static_summary=f"Remove artifacts {said(artifacts)} after the end of their Run",
        priority=Priority(priority_key=names.PRIORITY_SWEEP),
    )
    with translate_operator_errors(client, "make a Schedule"):
        if found is None:
            schedule = Schedule(
                action=action,
                spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=SWEEP_EVERY)]),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=_CATCH_UP),
            )
            try:
                await client.create_schedule(names.SWEEP_SCHEDULE, schedule, rpc_timeout=RPC_TIMEOUT)
            except ScheduleAlreadyRunningError:
                return await schedule_sweeps(client, artifacts)  # another process has created it meanwhile
        else:
            # The Schedule's times, and whether it is paused, stay as an operator may have set them.
            def change(update: ScheduleUpdateInput) -> ScheduleUpdate:
                return ScheduleUpdate(replace(update.description.schedule, action=action))

            await client.get_schedule_handle(names.SWEEP_SCHEDULE).update(change, rpc_timeout=RPC_TIMEOUT)
    return [f"Artifacts are removed {said(artifacts)} after the end of their Run (Schedule {names.SWEEP_SCHEDULE})."]


async def find_sweep(client: Client) -> Sweep | None:
    """Return the Schedule of the client's namespace, if there is one.

    Raises:
        ConfigurationError: Temporal refuses to say.
        Unavailable: Temporal cannot be reached.
    """
    with translate_operator_errors(client, "describe a Schedule"):
        try:
            handle = client.get_schedule_handle(names.SWEEP_SCHEDULE)
            description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            # An unknown namespace is reported as not found, too.
            if error.status is RPCStatusCode.NOT_FOUND and not error.message.startswith("Namespace"):
                return None
            raise
    return Sweep(await _age(client, description), paused=description.schedule.state.paused)


async def _age(client: Client, description: ScheduleDescription) -> timedelta | None:
    """Return how old artifacts may become according to the Schedule."""
    action = description.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != names.SWEEP:
        return None
    orders = description.raw_description.schedule.action.start_workflow.input.payloads
    try:
        (order,) = await client.data_converter.decode(list(orders), [SweepInput])
    except (RuntimeError, ValueError):  # no input, several, or another one
        return None
    return order.older_than if isinstance(order, SweepInput) else None
