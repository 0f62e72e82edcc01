import re
from datetime import UTC, datetime, timedelta

import pytest

from callboard.schemas.workflow.job_run import JobRunProgress, JobRunReason, JobRunReasonType, JobRunStatus
from callboard.schemas.workflow.run import RunCause, RunStatus
from callboard.temporal.listing import RunPage
from tests.support.api_in_process import Api
from tests.support.dashboard_client import ESCAPED, EVIL, Pages, signed_in_client
from tests.support.in_memory_temporal import BEGAN, line

JOB_RUN_ID = "jr_V1StGXR8_Z5jdHi6B-myT"
PATH = f"/projects/shop/jobs/nightly/runs/{JOB_RUN_ID}"


@pytest.fixture(autouse=True)
async def job_run(api: Api) -> None:
    """JobRun `JOB_RUN_ID` of Job `nightly`."""
    await api.create_job(configuration={"maxRuns": 1000})
    await api.start_job_run(JOB_RUN_ID)


async def page_text(pages: Pages) -> str:
    answer = await pages.get(PATH)
    assert answer.status_code == 200, answer.text
    return answer.text


def fact(text: str, name: str) -> str:
    """The value of a fact on a page, without its markup."""
    (value,) = re.findall(rf"{name}</dt><dd[^>]*>(.*?)</dd>", text, re.DOTALL)
    return re.sub(r"<[^>]*>", "", value).strip()


async def test_a_job_run_shows_how_far_it_has_come(api: Api, pages: Pages):
    progress = JobRunProgress(total=2000, next=504, in_flight=(500, 501, 502, 503), succeeded=480, failed=20)
    api.job_runs.change(JOB_RUN_ID, progress=progress, version="0f1e2d3c4b5a6978")
    api.run_queries.recently_ended = 250
    api.run_queries.counts = {RunStatus.PENDING: 1, RunStatus.STARTED: 3, RunStatus.FAILED: 15, RunStatus.CANCELED: 5}
    text = await page_text(pages)
    shown = [fact(text, name) for name in ("Succeeded", "Failed", "In flight", "Left", "Throughput", "Time left")]
    assert shown == ["480", "20", "4", "496", "50 Runs per minute", "about 10 min 0 s"]
    assert "500 of 1,000 Runs ended" in text
    assert re.findall(r'<rect class="b-(\w+)"(?: x="(\d+)")? width="(\d+)"', text) == [
        ("completed", "", "480"),
        ("failed", "480", "20"),
        ("started", "500", "4"),
    ]
    assert 'viewBox="0 0 1000 14"' in text
    assert 'data-follow="2000"' in text
    assert fact(text, "Version") == "0f1e2d3c4b5a6978"


async def test_its_runs_are_linked_by_status(api: Api, pages: Pages):
    api.job_runs.change(JOB_RUN_ID, progress=JobRunProgress(total=30, succeeded=12, failed=1))
    api.run_queries.counts = {RunStatus.STARTED: 3, RunStatus.FAILED: 1}
    text = await page_text(pages)
    links = re.findall(r'href="/projects/shop/runs\?jobRunId=([^"&]+)&amp;status=(\w+)">([\d,]+) Run', text)
    assert {name for name, _, _ in links} == {JOB_RUN_ID}
    assert [(status, count) for _, status, count in links] == [("started", "3"), ("completed", "12"), ("failed", "1")]
    assert {project for project, _ in api.run_queries.counted} == {"shop"}
    assert {run_filter.job_runs for _, run_filter in api.run_queries.counted} == {frozenset({JOB_RUN_ID})}


@pytest.mark.parametrize(
    ("status", "actions"),
    [
        (JobRunStatus.PENDING, ["pause", "terminate"]),
        (JobRunStatus.RESUMING, ["pause", "terminate"]),
        (JobRunStatus.PAUSING, ["resume", "terminate"]),
        (JobRunStatus.PAUSED, ["resume", "terminate"]),
        (JobRunStatus.SUCCESS, ["rerun-failed"]),
        (JobRunStatus.TERMINATED, ["rerun-failed"]),
    ],
)
async def test_what_can_be_done_depends_on_the_status(api: Api, pages: Pages, status: JobRunStatus, actions: list[str]):
    api.job_runs.change(JOB_RUN_ID, status=status, ended_at=BEGAN if status.has_ended else None)
    text = await page_text(pages)
    assert re.findall(rf'action="{PATH}/([\w-]+)"', text) == actions
    assert (f'href="{PATH}/results"' in text) is status.has_ended


@pytest.mark.parametrize("action", ["pause", "resume", "terminate"])
async def test_it_is_steered_from_its_page(api: Api, pages: Pages, action: str):
    answer = await pages.send_form(f"{PATH}/{action}")
    assert (answer.status_code, answer.headers["location"]) == (303, PATH)
    assert api.job_runs.steered == [(JOB_RUN_ID, action)]


async def test_what_failed_is_run_again_from_its_page(api: Api, pages: Pages):
    done = JobRunProgress(total=9, next=9, succeeded=9)
    api.job_runs.change(JOB_RUN_ID, status=JobRunStatus.SUCCESS, ended_at=BEGAN, progress=done, version="v1")
    assert "rerun-failed" not in await page_text(pages)
    failed = done.model_copy(update={"succeeded": 7, "failed": 2})
    api.job_runs.change(JOB_RUN_ID, progress=failed)
    text = await page_text(pages)
    assert "Rerun failed (2)" in text
    (rerun_id,) = re.findall(r'name="newJobRunId" value="([^"]+)"', text)
    rerun = f"/projects/shop/jobs/nightly/runs/{rerun_id}"
    for _ in range(2):  # as by a double click
        answer = await pages.send_form(f"{PATH}/rerun-failed", newJobRunId=rerun_id)
        assert (answer.status_code, answer.headers["location"]) == (303, rerun)
    assert set(api.job_runs.known) == {JOB_RUN_ID, rerun_id}
    assert (await pages.send_form(f"{PATH}/rerun-failed", newJobRunId="../x")).status_code == 400
    assert f'href="{PATH}">{JOB_RUN_ID}</a>' in (await pages.get(rerun)).text


async def test_its_runs_are_listed_for_who_may_read_runs(api: Api, pages: Pages):
    api.run_queries.answer = RunPage((line("a-run", job_id="nightly", job_run_id=JOB_RUN_ID),), None)
    assert 'href="/projects/shop/runs/a-run"' in await page_text(pages)
    (asked, *_) = api.run_queries.asked[-1]
    assert asked.job_runs == {JOB_RUN_ID}
    assert [run["runId"] for run in (await pages.get(f"{PATH}.json")).json()["runs"]] == ["a-run"]
    jobs_only = await signed_in_client(api, await api.make_key("jobs"))
    assert (await jobs_only.get(f"{PATH}.json")).json()["runs"] is None
    assert "a-run" not in await page_text(jobs_only)


async def test_nothing_of_its_runs_becomes_a_part_of_its_page(api: Api, pages: Pages):
    cause = RunCause(code="api-attempts-failed", message=EVIL)
    run = line("a-run", status=RunStatus.FAILED, api=EVIL, tags=(EVIL,), cause=cause, job_run_id=JOB_RUN_ID)
    api.run_queries.answer = RunPage((run,), None)
    text = await page_text(pages)
    assert (text.count(f">{ESCAPED}<"), text.count(ESCAPED)) == (3, 4), "API, tag and why, also on hover"
    assert "<img src=x" not in text


async def test_one_that_is_being_terminated_says_so_and_offers_nothing_else(api: Api, pages: Pages):
    reason = JobRunReason(type=JobRunReasonType.TERMINATED, message="The JobRun was terminated.")
    api.job_runs.change(JOB_RUN_ID, reason=reason)
    text = await page_text(pages)
    assert "The JobRun is being terminated." in text
    assert not re.findall(rf'action="{PATH}', text)


async def test_a_job_run_that_has_ended_is_not_asked_for_again(api: Api, pages: Pages):
    api.job_runs.change(
        JOB_RUN_ID,
        status=JobRunStatus.SUCCESS,
        ended_at=BEGAN + timedelta(minutes=10),
        progress=JobRunProgress(total=500, succeeded=490, failed=10),
    )
    text = await page_text(pages)
    assert "data-follow" not in text
    assert "Time left" not in text
    shown = [fact(text, name) for name in ("Throughput", "Duration", "Never started")]
    assert shown == ["50 Runs per minute", "10 min 0 s", "0"]


async def test_why_a_job_run_ended_is_shown_escaped(api: Api, pages: Pages):
    reason = JobRunReason(type=JobRunReasonType.VALIDATE_FAILED, message=EVIL, details={EVIL: EVIL})
    api.job_runs.change(JOB_RUN_ID, status=JobRunStatus.CANCELED, ended_at=BEGAN, reason=reason)
    text = await page_text(pages)
    assert "auth-session-validate-dependency-failed" in text
    assert ESCAPED in text
    assert "<img src=x" not in text


async def test_a_run_shows_and_links_its_job_and_its_job_run(api: Api, pages: Pages):
    run_id = await api.run()
    assert "JobRun</dt>" not in (await pages.get(f"/projects/shop/runs/{run_id}")).text
    api.run_queries.belongs_to = ("nightly", JOB_RUN_ID)
    text = (await pages.get(f"/projects/shop/runs/{run_id}")).text
    assert '<dt>Job</dt><dd><a href="/projects/shop/jobs/nightly">nightly</a></dd>' in text
    assert f'href="{PATH}">{JOB_RUN_ID}</a>' in text


@pytest.mark.parametrize(
    ("began", "ended", "told"),
    [
        (timedelta(seconds=2), None, (None, None)),  # too young for a throughput
        (timedelta(minutes=4), None, (100, 360)),
        (timedelta(minutes=100), None, (10, 3600)),  # by the last five minutes
        (timedelta(minutes=100), timedelta(), (4, None)),
    ],
)
async def test_the_throughput_is_that_of_the_last_minutes_or_of_the_whole_time(
    api: Api, pages: Pages, began: timedelta, ended: timedelta | None, told: tuple[float | None, float | None]
):
    now = datetime.now(UTC)
    progress = JobRunProgress(total=1000, succeeded=380, failed=20)
    api.job_runs.change(
        JOB_RUN_ID, progress=progress, started_at=now - began, ended_at=None if ended is None else now - ended
    )
    api.run_queries.recently_ended = 50
    answer = (await pages.get(f"{PATH}.json")).json()
    assert (answer["jobRun"]["id"], answer["runsByStatus"]["completed"]) == (JOB_RUN_ID, 380)
    for value, expected in zip((answer["runsPerMinute"], answer["secondsLeft"]), told, strict=True):
        assert value is None if expected is None else value == pytest.approx(expected, rel=0.05)
