"""Jobs on a real Temporal: created, read, changed and deleted, and what their Schedules start."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from temporalio.client import (
    Client,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    ScheduleRange,
    ScheduleSpec,
)
from temporalio.worker import Worker

from api.jobs.next_times import next_times
from callboard.dev.temporal import TemporalServer
from callboard.schemas.errors import BadRequest, ConfigurationError, Conflict, NotFound
from callboard.schemas.rest.job_schedule import parse_cron
from callboard.schemas.workflow import names
from callboard.schemas.workflow.job import JobRef, JobSource
from callboard.schemas.workflow.job_run import JobRunInput, JobRunStatus, JobRunType
from callboard.settings import Settings
from callboard.temporal.client import connect
from callboard.temporal.job_runs import JobRuns, JobRunState
from callboard.temporal.jobs import Jobs
from callboard.temporal.namespace import Retention, ensure_namespace, inspect_namespace
from tests.support.encryption import ENCRYPTION_KEY, with_encryption
from tests.support.job_run_stub import FINISH, StubJobRun
from tests.support.polling import until
from tests.support.present import assert_has
from tests.support.stage import IDENTITY, WORKSPACE
from tests.support.temporal_servers import set_up_namespace
from workflows.trigger_job import TriggerJobWorkflow

ELSEWHERE = "11111111-1111-1111-1111-111111111111"
JOB = "nightly"
CREATED = datetime(2026, 11, 24, 10, tzinfo=UTC)
SECONDLY = {"intervals": [{"every": 1000}]}
RARELY = {"calendars": [{"year": 2099}]}
NAMESPACE = "jobs"


@pytest.fixture(scope="module")
async def plain_client(temporal: TemporalServer) -> AsyncGenerator[Client]:
    """A client of a namespace of these tests' own, whose worker has the stub in the place of JobRuns."""
    _, client = await set_up_namespace(temporal, NAMESPACE)
    async with stub_worker(client):
        yield client


@pytest.fixture(scope="module")
async def encrypted(temporal: TemporalServer) -> tuple[Settings, Client]:
    key = [SecretStr(ENCRYPTION_KEY)]
    return await set_up_namespace(temporal, f"encrypted-{NAMESPACE}", secret_key=key, encrypt_payloads=True)


@pytest.fixture(scope="module")
async def encrypted_client(encrypted: tuple[Settings, Client]) -> AsyncGenerator[Client]:
    _, client = encrypted
    async with stub_worker(client):
        yield client


def stub_worker(client: Client) -> Worker:
    workflows = [TriggerJobWorkflow, StubJobRun]
    return Worker(client, task_queue=names.CALLBOARD_QUEUE, workflows=workflows, identity=IDENTITY)


@pytest.fixture
def jobs(client: Client) -> Jobs:
    return Jobs(client)


@pytest.fixture
def job_runs(client: Client) -> JobRuns:
    return JobRuns(client)


def reference(project: str, job_id: str = JOB, **fields: Any) -> JobRef:
    given: dict[str, Any] = {"workspace": WORKSPACE, "definition": "first", "created_at": CREATED, **fields}
    return JobRef(project=project, job_id=job_id, **given)


Create = Callable[..., Awaitable[None]]


@pytest.fixture
async def create(name: str, jobs: Jobs) -> AsyncGenerator[Create]:
    """Creates a Job of the project `name`, and deletes it in the end: one that is left would go on to start JobRuns."""
    created: list[JobRef] = []

    async def make(schedule: dict[str, Any] | None = None, job_id: str = JOB, **fields: Any) -> None:
        ref = reference(name, job_id, **fields)
        await jobs.create(ref, schedule)
        created.append(ref)

    yield make
    for ref in created:
        with suppress(NotFound):
            await jobs.delete(WORKSPACE, name, ref.job_id, source=ref.source)


async def all_runs(job_runs: JobRuns, project: str) -> tuple[JobRunState, ...]:
    return (await job_runs.list_page(WORKSPACE, project, JOB, sort=(), first=0, count=1000)).job_runs


CLOCKS_CHANGE = {"minute": [15, 45], "hour": {"start": 1, "end": 3}, "dayOfWeek": "SUNDAY"}


@pytest.mark.parametrize(
    "schedule",
    [
        {"intervals": [{"every": "90 minutes"}, {"every": "7 days"}], "cron": "*/20 6 * * MON-FRI"},
        {"calendars": [{"hour": [6, 18], "dayOfMonth": [1, 31], "second": 5}], "timezone": "Asia/Kolkata"},
        *(
            {"calendars": [CLOCKS_CHANGE | {"month": month, "dayOfMonth": days}], "timezone": zone}
            for month, zone, days in (
                ("MARCH", "Europe/Berlin", {"start": 25, "end": 31}),
                ("MARCH", "America/New_York", {"start": 8, "end": 14}),
                ("NOVEMBER", "America/New_York", {"start": 1, "end": 7}),
            )
        ),
    ],
)
async def test_the_next_times_that_are_foretold_are_those_of_temporal(
    name: str, jobs: Jobs, create: Create, schedule: dict[str, Any]
):
    await create(schedule)
    times = (await jobs.get(WORKSPACE, name, JOB)).next_run_times
    assert len(times) == 10
    assert next_times(schedule, times[0] - timedelta(seconds=1)) == list(times)


@with_encryption
async def test_a_job_is_known_once_it_is_created(name: str, jobs: Jobs, create: Create):
    await create(RARELY)
    state = await jobs.get(WORKSPACE, name, JOB)
    assert state.ref == reference(name)
    assert (state.schedule_id, state.paused, state.last_run_time) == (f"job:{name}:{JOB}", False, None)
    assert state.next_run_times[0] == datetime(2099, 1, 1, tzinfo=UTC)
    assert len(state.next_run_times) == 10


async def test_a_job_needs_no_schedule(name: str, jobs: Jobs, create: Create):
    await create(None)
    assert (await jobs.get(WORKSPACE, name, JOB)).next_run_times == ()


async def test_an_id_is_taken_once(name: str, create: Create):
    await create()
    with pytest.raises(Conflict, match=JOB):
        await create()


async def test_a_job_is_found_in_its_project_and_workspace_only(name: str, jobs: Jobs, create: Create):
    await create()
    for where in (
        (WORKSPACE, "another", JOB),
        (ELSEWHERE, name, JOB),
        (WORKSPACE, name, "other"),
        (WORKSPACE, name, "?"),
    ):
        with pytest.raises(NotFound):
            await jobs.get(*where)
        with pytest.raises(NotFound):
            await jobs.delete(*where)
        with pytest.raises(NotFound):
            await jobs.pause(*where, "No.")
        with pytest.raises(NotFound):
            await jobs.update(*where, "second", None)
    assert await jobs.list_all(ELSEWHERE, name) == []


async def test_jobs_are_listed_by_their_ids(name: str, jobs: Jobs, create: Create):
    for job_id in ("b", "a", "c"):
        await create(None, job_id)

    async def ids() -> list[str]:
        return [state.ref.job_id for state in await jobs.list_all(WORKSPACE, name)]

    await until(ids, true=lambda ids: ids == ["a", "b", "c"])
    await jobs.delete(WORKSPACE, name, "b")
    assert await ids() == ["a", "c"]


@with_encryption
async def test_an_update_replaces_definition_and_schedule_and_nothing_else(name: str, jobs: Jobs, create: Create):
    await create(RARELY)
    await jobs.pause(WORKSPACE, name, JOB, "For a while.")
    await jobs.update(WORKSPACE, name, JOB, "second", {"calendars": [{"year": 2098}]})
    state = await jobs.get(WORKSPACE, name, JOB)
    assert state.ref == reference(name, definition="second")
    assert (state.paused, state.note) == (True, "For a while.")
    with pytest.raises(Conflict, match="Somebody has changed"):
        await jobs.update(WORKSPACE, name, JOB, "third", None, instead_of="first")
    await jobs.resume(WORKSPACE, name, JOB, "Go on.")
    assert (await jobs.get(WORKSPACE, name, JOB)).next_run_times[0].year == 2098


async def test_a_job_of_a_file_is_changed_by_a_deploy_alone(name: str, jobs: Jobs, create: Create):
    await create(RARELY, source=JobSource.CODE, digest="0f1e")
    with pytest.raises(Conflict, match="Edit the file"):
        await jobs.update(WORKSPACE, name, JOB, "second", None)
    with pytest.raises(Conflict, match="Edit the file"):
        await jobs.delete(WORKSPACE, name, JOB)
    await jobs.update(WORKSPACE, name, JOB, "second", None, source=JobSource.CODE, digest="2d3c")
    ref = (await jobs.get(WORKSPACE, name, JOB)).ref
    assert (ref.definition, ref.digest, ref.source) == ("second", "2d3c", JobSource.CODE)
    await jobs.pause(WORKSPACE, name, JOB, "It may be paused.")


async def test_a_deploy_does_not_change_a_job_of_a_request(name: str, jobs: Jobs, create: Create):
    await create()
    with pytest.raises(Conflict, match="by a request"):
        await jobs.update(WORKSPACE, name, JOB, "second", None, source=JobSource.CODE)


async def test_a_schedule_that_temporal_alone_refuses_is_a_bad_request(
    name: str, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
):
    spec = ScheduleSpec(calendars=[ScheduleCalendarSpec()], time_zone_name="Callboard/Nowhere")
    monkeypatch.setattr("callboard.temporal.jobs.schedule_spec", lambda _schedule: spec)  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(BadRequest, match=r"schedule: Temporal refuses it: .* unknown time zone") as refused:
        await jobs.create(reference(name), RARELY)
    assert (refused.value.details or {})["path"] == "schedule"


async def test_times_follow_the_clocks_of_their_time_zone(name: str, jobs: Jobs, create: Create):
    # In Berlin, clocks go forward on 28 March 2027, and 02:30 does not exist that day.
    days = {"year": 2027, "month": "MARCH", "dayOfMonth": {"start": 26, "end": 30}}
    times = [{"hour": 2, "minute": 30, **days}, {"hour": 6, "minute": 30, **days}]
    await create({"calendars": times, "timezone": "Europe/Berlin"})
    zone = ZoneInfo("Europe/Berlin")
    found = [at.astimezone(zone) for at in (await jobs.get(WORKSPACE, name, JOB)).next_run_times]
    mornings = [at for at in found if at.hour == 6]
    assert [(at.day, at.minute) for at in mornings] == [(day, 30) for day in range(26, 31)]
    assert [at.astimezone(UTC).hour for at in mornings] == [5, 5, 4, 4, 4]
    assert [at.day for at in found if at.hour == 2] == [26, 27, 29, 30]


async def test_cron_means_to_temporal_what_it_is_shown_as(name: str, create: Create, client: Client):
    expressions = [
        *(
            "30 6 * * MON-FRI",
            "0 0 * * 7",
            "0 0 ? * 5-7",
            "0 0 * * 1-7/2",
            "0 0 * * 2/5",
            "0 0 * * */2",
            "0 0 * * FRI-7",
        ),
        *("5/20 0-23/7 * * *", "*/7,3 * ? JAN-MARCH ?", "0 0 1,15,20-28/3 */5 *", "59 23 31 12 *", "0 0 */2 * sun"),
    ]
    await create({"cron": expressions, "timezone": "Europe/Berlin"}, "cron")
    await create({"calendars": [parse_cron(each) for each in expressions], "timezone": "Europe/Berlin"}, "calendars")

    async def values(job_id: str) -> tuple[list[Any], str | None]:
        """What each field of each calendar matches, and where."""
        description = await client.get_schedule_handle(names.job_schedule_id(name, job_id)).describe()
        spec = description.schedule.spec
        fields = ("second", "minute", "hour", "day_of_month", "month", "day_of_week", "year")
        matched = [[numbers(getattr(calendar, field)) for field in fields] for calendar in spec.calendars]
        return matched, spec.time_zone_name

    assert await values("cron") == await values("calendars")


def numbers(ranges: Sequence[ScheduleRange]) -> set[int]:
    return {number for each in ranges for number in range(each.start, max(each.start, each.end) + 1, each.step or 1)}


@with_encryption
async def test_a_paused_job_starts_none_and_a_resumed_one_does(
    name: str, jobs: Jobs, job_runs: JobRuns, create: Create, client: Client
):
    await create(SECONDLY)
    await until(lambda: all_runs(job_runs, name), every=0.2)
    await jobs.pause(WORKSPACE, name, JOB, "Enough.")
    schedule = client.get_schedule_handle(names.job_schedule_id(name, JOB))
    state = await jobs.get(WORKSPACE, name, JOB)
    assert (state.paused, state.note, state.next_run_times) == (True, "Enough.", ())
    taken = (await schedule.describe()).info.num_actions
    # Temporal has gone by two more times of the interval when another one of its Schedules has started two workflows.
    await create(SECONDLY, "clock")
    clock = client.get_schedule_handle(names.job_schedule_id(name, "clock"))
    await until(clock.describe, true=lambda clock: clock.info.num_actions >= 2, every=0.2)
    assert (await schedule.describe()).info.num_actions == taken
    await jobs.resume(WORKSPACE, name, JOB, "Go on.")
    await until(schedule.describe, true=lambda schedule: schedule.info.num_actions > taken, every=0.2)


async def test_job_runs_that_begin_after_an_update_execute_the_new_definition(
    name: str, jobs: Jobs, job_runs: JobRuns, create: Create
):
    await create(SECONDLY)

    async def of(definition: str) -> list[str]:
        return [state.id for state in await all_runs(job_runs, name) if state.definition == definition]

    (first, *_) = await until(lambda: of("first"), true=lambda begun: len(begun) >= 2, every=0.2)
    await jobs.update(WORKSPACE, name, JOB, "second", SECONDLY)
    await until(lambda: of("second"), every=0.2)
    assert_has(await job_runs.get(WORKSPACE, name, JOB, first), definition="first", type=JobRunType.SCHEDULED)


async def test_a_deleted_job_starts_none_and_its_job_runs_go_on(
    name: str, jobs: Jobs, job_runs: JobRuns, create: Create, client: Client
):
    await create(SECONDLY)
    (active, *_) = await until(lambda: all_runs(job_runs, name), every=0.2)
    await jobs.delete(WORKSPACE, name, JOB)
    with pytest.raises(NotFound):
        await jobs.get(WORKSPACE, name, JOB)
    await client.get_workflow_handle(active.id).signal(FINISH, JobRunStatus.SUCCESS)
    await until(
        lambda: job_runs.get(WORKSPACE, name, JOB, active.id), true=lambda state: state.status is JobRunStatus.SUCCESS
    )


async def test_times_that_have_passed_can_be_made_up_for(
    name: str, jobs: Jobs, job_runs: JobRuns, create: Create, client: Client
):
    await create({"intervals": [{"every": "1h"}]})
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    schedule = client.get_schedule_handle(names.job_schedule_id(name, JOB))
    backfill = ScheduleBackfill(end - timedelta(hours=4, minutes=30), end, overlap=ScheduleOverlapPolicy.ALLOW_ALL)
    await schedule.backfill(backfill)
    await until(lambda: all_runs(job_runs, name), true=lambda begun: len(begun) == 5)


async def test_the_last_run_time_is_that_of_the_last_job_run_that_has_ended(
    name: str, jobs: Jobs, job_runs: JobRuns, create: Create, client: Client
):
    await create(SECONDLY)
    await until(lambda: all_runs(job_runs, name), every=0.2)
    await jobs.pause(WORKSPACE, name, JOB, "One is enough.")
    (active, *_) = await all_runs(job_runs, name)
    assert (await jobs.get(WORKSPACE, name, JOB)).last_run_time is None
    await client.get_workflow_handle(active.id).signal(FINISH, JobRunStatus.SUCCESS)
    await until(
        lambda: jobs.get(WORKSPACE, name, JOB), true=lambda job: job.last_run_time == active.started_at, every=0.2
    )
    canceled = names.job_run_id(secrets.token_urlsafe(16)[:21])
    job_run = JobRunInput(workspace=WORKSPACE, project=name, job_id=JOB, definition="first", type=JobRunType.MANUAL)
    await job_runs.start(canceled, job_run)
    await client.get_workflow_handle(canceled).signal(FINISH, JobRunStatus.CANCELED)
    await until(
        lambda: all_runs(job_runs, name),
        true=lambda ended: JobRunStatus.CANCELED in {state.status for state in ended},
        every=0.2,
    )
    assert (await jobs.get(WORKSPACE, name, JOB)).last_run_time == active.started_at


# Their Schedules hold payloads, which may be encrypted.


@pytest.mark.parametrize("client", ["encrypted_client"], indirect=True)
async def test_a_schedule_and_what_it_starts_hold_nothing_in_clear(
    name: str, client: Client, create: Create, job_runs: JobRuns
) -> None:
    await create(SECONDLY)
    description = await client.get_schedule_handle(names.job_schedule_id(name, JOB)).describe()
    assert WORKSPACE.encode() not in description.raw_description.SerializeToString()
    await until(lambda: all_runs(job_runs, name), every=0.2)
    async for execution in client.list_workflows(f"CallboardProject = '{name}'"):
        history = await client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
        assert WORKSPACE not in "".join(str(event) for event in history.events)


@pytest.mark.parametrize("client", ["encrypted_client"], indirect=True)
async def test_an_updated_job_needs_its_old_key_no_more(
    name: str, encrypted: tuple[Settings, Client], create: Create
) -> None:
    """As docs/keys.md says of Jobs, in "When a sealing key is not needed any more"."""

    async def jobs_with(*keys: str) -> Jobs:
        ring = {"secret_key": [SecretStr(key) for key in keys]}
        return Jobs(await connect(encrypted[0].model_copy(update=ring)))

    newer = "a-newer-key-of-the-same-test"
    of_both, of_newer = await jobs_with(newer, ENCRYPTION_KEY), await jobs_with(newer)
    await create(RARELY)
    with pytest.raises(ConfigurationError, match="was encrypted with key"):
        await of_newer.get(WORKSPACE, name, JOB)
    await of_both.update(WORKSPACE, name, JOB, "second", RARELY)
    assert (await of_newer.get(WORKSPACE, name, JOB)).ref.definition == "second"
    assert [state.ref.job_id for state in await of_newer.list_all(WORKSPACE, name)] == [JOB]
    await of_newer.delete(WORKSPACE, name, JOB)


async def test_sweeps_depend_on_no_key(encrypted: tuple[Settings, Client]) -> None:
    settings, _ = encrypted
    without_key = await connect(settings.model_copy(update={"secret_key": [], "encrypt_payloads": False}))
    found = await inspect_namespace(without_key)
    assert found
    assert found.sweep
    assert found.sweep.artifact_retention == Retention.from_settings(Settings()).artifacts
    assert await ensure_namespace(without_key, Retention.from_settings(Settings())) == [], "it is as it should be"
