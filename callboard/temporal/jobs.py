"""Create, read, change and delete Jobs. Each is a Temporal Schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from callboard.schemas.errors import BadRequest, Conflict, NotFound
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.job_schedule import (
    CATCHUP_WINDOW,
    DAY_OF_MONTH,
    DAY_OF_WEEK,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    YEAR,
    Calendar,
    CalendarUnit,
    JobSchedule,
    parse_duration,
)
from callboard.schemas.workflow import names
from callboard.schemas.workflow.job import JobRef, JobSource
from callboard.schemas.workflow.job_run import JobRunView
from callboard.temporal.job_runs import job_runs_query, read_last_run_time
from callboard.temporal.rpc_errors import RPC_TIMEOUT, read_found, translate_rpc_errors, unless_missing
from callboard.temporal.visibility_queries import equals
from workflows import visibility

_NOT_FOUND = "There is no such Job."


@dataclass(frozen=True)
class JobState:
    """What Temporal knows of a Job; its definition is in the artifact store."""

    ref: JobRef
    schedule_id: str
    paused: bool
    note: str | None
    """Why it is paused, or what was last done to it."""
    next_run_times: tuple[datetime, ...]
    """The next times at which a JobRun begins; empty while the Job is paused."""
    last_run_time: datetime | None
    """When the last JobRun began that has ended, and was not canceled."""


class Jobs:
    """The Jobs of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(self, ref: JobRef, schedule: dict[str, Any] | None) -> None:
        """Create a Job with this schedule, as its definition has it.

        Raises:
            Conflict: There is a Job with this id.
            BadRequest: Temporal refuses the schedule.
            ConfigurationError: Temporal refuses: the namespace or its search attributes are missing.
            Unavailable: Temporal cannot be reached; whether the Job was created is not known.
        """
        attributes = [
            SearchAttributePair(visibility.PROJECT, ref.project),
            SearchAttributePair(visibility.JOB, ref.job_id),
        ]
        with translate_rpc_errors(_NOT_FOUND):
            try:
                await self._client.create_schedule(
                    names.job_schedule_id(ref.project, ref.job_id),
                    _schedule(ref, schedule, ScheduleState()),
                    memo={names.MEMO_WORKSPACE: ref.workspace},
                    search_attributes=TypedSearchAttributes(attributes),
                    rpc_timeout=RPC_TIMEOUT,
                )
            except ScheduleAlreadyRunningError as error:
                raise Conflict(f"There is a Job {ref.job_id} already. Update it, or choose another id.") from error
            except RPCError as error:
                raise _refused_schedule(error) or error from error

    async def get(self, workspace: str, project: str, job_id: str) -> JobState:
        """Return a Job.

        Raises:
            NotFound: There is no such Job in this workspace and project.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors(_NOT_FOUND):
            return await self._read(workspace, project, job_id)

    async def list_all(self, workspace: str, project: str) -> list[JobState]:
        """Return the Jobs of a project, sorted by their ids. Raises Unavailable."""
        with translate_rpc_errors(_NOT_FOUND):
            prefix = names.job_schedule_id(project, "")
            query = equals(names.SEARCH_PROJECT, project)
            listed = await self._client.list_schedules(query, page_size=1000, rpc_timeout=RPC_TIMEOUT)
            job_ids = [entry.id.removeprefix(prefix) async for entry in listed if entry.id.startswith(prefix)]
            return await read_found(sorted(job_ids), lambda job_id: self.get(workspace, project, job_id))

    async def update(
        self,
        workspace: str,
        project: str,
        job_id: str,
        definition: str,
        schedule: dict[str, Any] | None,
        *,
        source: JobSource = JobSource.API,
        digest: str = "",
        instead_of: str | None = None,
    ) -> None:
        """Let a Job have another definition, with this schedule. Whether it is paused stays as it is.

        `instead_of` is the definition that it must have until then; None for any.

        Raises:
            NotFound: There is no such Job in this workspace and project.
            Conflict: The Job comes from elsewhere than `source`, or has another definition than `instead_of`.
            BadRequest: Temporal refuses the schedule.
            Unavailable: Temporal cannot be reached; whether the Job was updated is not known.
        """
        with translate_rpc_errors(_NOT_FOUND):

            async def replace(update: ScheduleUpdateInput) -> ScheduleUpdate:
                ref = await self._read_ref(update.description, workspace)
                require_source(ref, source)
                require_definition(ref, instead_of)
                changed = ref.model_copy(update={"definition": definition, "digest": digest})
                return ScheduleUpdate(_schedule(changed, schedule, update.description.schedule.state))

            try:
                await self._handle(project, job_id).update(replace, rpc_timeout=RPC_TIMEOUT)
            except RPCError as error:
                raise _refused_schedule(error) or error from error

    async def delete(self, workspace: str, project: str, job_id: str, *, source: JobSource = JobSource.API) -> None:
        """Delete a Job. Its JobRuns go on.

        Raises:
            NotFound: There is no such Job in this workspace and project.
            Conflict: The Job comes from elsewhere than `source`.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors(_NOT_FOUND):
            handle = self._handle(project, job_id)
            require_source(await self._read_ref(await handle.describe(rpc_timeout=RPC_TIMEOUT), workspace), source)
            await handle.delete(rpc_timeout=RPC_TIMEOUT)

    async def pause(self, workspace: str, project: str, job_id: str, note: str) -> None:
        """Let no JobRun begin by itself any more. Raises as `get` does."""
        with translate_rpc_errors(_NOT_FOUND):
            handle = self._handle(project, job_id)
            await self._read_ref(await handle.describe(rpc_timeout=RPC_TIMEOUT), workspace)
            await handle.pause(note=note, rpc_timeout=RPC_TIMEOUT)

    async def resume(self, workspace: str, project: str, job_id: str, note: str) -> None:
        """Let JobRuns begin by themselves again. Raises as `get` does."""
        with translate_rpc_errors(_NOT_FOUND):
            handle = self._handle(project, job_id)
            await self._read_ref(await handle.describe(rpc_timeout=RPC_TIMEOUT), workspace)
            await handle.unpause(note=note, rpc_timeout=RPC_TIMEOUT)

    def _handle(self, project: str, job_id: str) -> ScheduleHandle:
        if not names.is_job_id(job_id):
            raise NotFound(_NOT_FOUND)
        return self._client.get_schedule_handle(names.job_schedule_id(project, job_id))

    async def _read(self, workspace: str, project: str, job_id: str) -> JobState:
        description = await self._handle(project, job_id).describe(rpc_timeout=RPC_TIMEOUT)
        ref = await self._read_ref(description, workspace)
        paused = description.schedule.state.paused
        return JobState(
            ref=ref,
            schedule_id=description.id,
            paused=paused,
            note=description.schedule.state.note,
            next_run_times=() if paused else tuple(description.info.next_action_times),
            last_run_time=await read_last_run_time(self._client, project, job_id),
        )

    async def _read_ref(self, description: ScheduleDescription, workspace: str) -> JobRef:
        """Return which definition the Schedule starts. Raises NotFound if it is not a Job of the workspace."""
        action = description.schedule.action
        if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != names.TRIGGER_JOB:
            raise NotFound(_NOT_FOUND)
        payloads = description.raw_description.schedule.action.start_workflow.input.payloads
        (ref,) = await self._client.data_converter.decode(list(payloads), [JobRef])
        if not isinstance(ref, JobRef) or ref.workspace != workspace:
            raise NotFound(_NOT_FOUND)
        return ref


def require_source(ref: JobRef, source: JobSource) -> None:
    """Refuse a change of a Job that comes from elsewhere. Raises Conflict."""
    if ref.source is source:
        return
    if ref.source is JobSource.CODE:
        raise Conflict(
            f"Job {ref.job_id} is a file of project {ref.project}. Edit the file, or remove it, and deploy the project."
        )
    raise Conflict(f"Job {ref.job_id} of project {ref.project} was created by a request, and not by a file.")


def require_definition(ref: JobRef, expected: str | None) -> None:
    """Refuse a change of a Job that has another definition than the expected one; None is any. Raises Conflict."""
    if expected not in (None, ref.definition):
        raise Conflict(f"Somebody has changed Job {ref.job_id} meanwhile. Open it again, and edit it anew.")


def _schedule(ref: JobRef, schedule: dict[str, Any] | None, state: ScheduleState) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            names.TRIGGER_JOB,
            ref,
            id=f"job-trigger:{ref.project}:{ref.job_id}",  # the ids of the workflows begin with it
            task_queue=names.CALLBOARD_QUEUE,
            typed_search_attributes=visibility.project_search_attributes(ref.project),
            static_summary=f"Start a JobRun of Job {ref.job_id} of {ref.project}",
        ),
        spec=schedule_spec(schedule),
        # JobRuns themselves see to it that only one of them is active.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL, catchup_window=catchup_window(schedule)),
        state=state,
    )


def _refused_schedule(error: RPCError) -> BadRequest | None:
    """Return the error for a schedule that Temporal refuses for a reason that is not known here."""
    if error.status is not RPCStatusCode.INVALID_ARGUMENT or "spec" not in error.message.lower():
        return None
    expected = "a schedule that Temporal accepts"
    return field_error("schedule", expected, f"schedule: Temporal refuses it: {error.message.rstrip('.')}.")


def schedule_spec(schedule: dict[str, Any] | None) -> ScheduleSpec:
    """Return the times of a schedule, as a `JobDefinition` has it; those of None never come."""
    if schedule is None:
        return ScheduleSpec()
    written = JobSchedule.model_validate(schedule)
    return ScheduleSpec(
        calendars=[_calendar(calendar) for calendar in written.calendars],
        intervals=[ScheduleIntervalSpec(every=parse_duration(interval.every)) for interval in written.intervals],
        # Temporal writes ? as *.
        cron_expressions=[expression.replace("?", "*") for expression in written.cron_expressions],
        jitter=None if written.jitter is None else parse_duration(written.jitter),
        time_zone_name=written.timezone,
    )


def catchup_window(schedule: dict[str, Any] | None) -> timedelta:
    """Return how late a JobRun may begin that could not begin in time."""
    written = None if schedule is None else JobSchedule.model_validate(schedule).catchup_window
    return CATCHUP_WINDOW if written is None else parse_duration(written)


def _calendar(calendar: Calendar) -> ScheduleCalendarSpec:
    return ScheduleCalendarSpec(
        second=_ranges(SECOND, calendar.second),
        minute=_ranges(MINUTE, calendar.minute),
        hour=_ranges(HOUR, calendar.hour),
        day_of_month=_ranges(DAY_OF_MONTH, calendar.day_of_month),
        month=_ranges(MONTH, calendar.month),
        year=() if calendar.year == "*" else _ranges(YEAR, calendar.year),
        day_of_week=_ranges(DAY_OF_WEEK, calendar.day_of_week),
        comment=calendar.comment,
    )


def _ranges(unit: CalendarUnit, value: Any) -> Sequence[ScheduleRange]:
    return [ScheduleRange(start=each.start, end=each.end, step=each.step) for each in unit.ranges(value)]


async def is_definition_needed(client: Client, project: str, job_id: str, ref: str, *, after: datetime) -> bool:
    """Tell whether a definition is that of its Job, may have been so after that time, or belongs to a known JobRun.

    Raises:
        RPCError: Temporal does not answer.
    """
    return await _is_current(client, project, job_id, ref, after) or await _has_job_run(client, project, job_id, ref)


async def _is_current(client: Client, project: str, job_id: str, ref: str, after: datetime) -> bool:
    handle = client.get_schedule_handle(names.job_schedule_id(project, job_id))
    description = await unless_missing(handle.describe(rpc_timeout=RPC_TIMEOUT))
    if description is None:
        return False
    if description.info.last_updated_at is not None and description.info.last_updated_at >= after:
        return True  # A JobRun that has just been started with the definition before may not be visible yet.
    payloads = description.raw_description.schedule.action.start_workflow.input.payloads
    current: JobRef
    (current,) = await client.data_converter.decode(list(payloads), [JobRef])
    return current.definition == ref


async def _has_job_run(client: Client, project: str, job_id: str, ref: str) -> bool:
    async for execution in client.list_workflows(job_runs_query(project, job_id), rpc_timeout=RPC_TIMEOUT):
        view = await execution.memo_value(names.MEMO_JOB_RUN, default=None, type_hint=JobRunView)
        if view is None or view.definition == ref:
            return True
    return False
