import re
from datetime import timedelta
from typing import Any

import pytest

from callboard.schemas.workflow.job import JobSource
from callboard.schemas.workflow.job_run import JobRunProgress, JobRunReason, JobRunReasonType, JobRunStatus
from tests.support.api_in_process import Api, MakeApi
from tests.support.dashboard_client import ESCAPED, EVIL, Pages, signed_in_client
from tests.support.in_memory_temporal import BEGAN

PATH = "/projects/shop/jobs"
JOB_RUN_ID = "jr_V1StGXR8_Z5jdHi6B-myT"


async def test_the_jobs_of_a_project_are_listed_with_when_and_how(api: Api, pages: Pages):
    await api.create_job(schedule={"calendars": [{"hour": 6}], "timezone": "Europe/Berlin"})
    await api.create_job("by-hand")
    api.jobs.change("shop", "nightly", next_run_times=(BEGAN + timedelta(days=1),))
    api.jobs.change("shop", "by-hand", paused=True)
    await api.start_job_run(JOB_RUN_ID, status=JobRunStatus.SUCCESS)
    text = (await pages.get(PATH)).text
    assert f'href="{PATH}/nightly"' in text
    assert "at 06:00, every day (Europe/Berlin)" in text
    assert 'datetime="2026-11-25T10:00:00.000Z"' in text
    assert f'href="{PATH}/nightly/runs/{JOB_RUN_ID}"' in text
    by_hand, nightly = (await pages.get(f"{PATH}.json")).json()["jobs"]
    assert (by_hand["id"], by_hand["state"], by_hand["scheduleInWords"], by_hand["lastJobRun"]) == (
        *("by-hand", "PAUSED", "", None),
    )
    assert (nightly["state"], nightly["source"], nightly["payloadCount"]) == ("ACTIVE", "API", 1)
    last = {"id": JOB_RUN_ID, "status": "SUCCESS", "failedRuns": 0, "runs": 0, "startTime": BEGAN.isoformat()}
    assert nightly["lastJobRun"] == last
    for failed, tone, words in ((0, "s-completed", "success"), (1, "s-pending", "1 of 2 succeeded")):
        api.job_runs.change(JOB_RUN_ID, progress=JobRunProgress(total=2, succeeded=2 - failed, failed=failed))
        for path in (PATH, f"{PATH}/nightly", f"{PATH}/nightly/runs/{JOB_RUN_ID}"):
            shown = f'<span class="status {tone}"><span class="dot" aria-hidden="true"></span>{words}</span>'
            assert shown in (await pages.get(path)).text
    for letter, hours in (("B", 2), ("C", 1)):
        await api.start_job_run(f"{JOB_RUN_ID[:-1]}{letter}", started_at=BEGAN + timedelta(hours=hours))
    last = (await pages.get(f"{PATH}.json")).json()["jobs"][1]["lastJobRun"]
    assert last["id"] == f"{JOB_RUN_ID[:-1]}B", "the one that has begun last"


async def test_a_project_without_jobs_says_how_to_create_one(pages: Pages):
    assert "callboard jobs create" in (await pages.get(PATH)).text
    assert f'href="{PATH}"' in (await pages.get("/projects/shop")).text


async def test_a_job_is_shown_with_its_schedule_and_the_next_ten_times(api: Api, pages: Pages):
    await api.create_job(
        payload=[{"apiName": "list", "parameters": {"n": n}} for n in range(1200)],
        configuration={
            "maxConcurrentRequests": 3,
            "maxRuns": 1000,
            "retry": {"maximumAttempts": 2},
            "requestTimeout": 90,
        },
        schedule={"intervals": [{"every": "1h"}], "jitter": "5 minutes"},
    )
    times = tuple(BEGAN + timedelta(hours=n) for n in range(10))
    api.jobs.change("shop", "nightly", next_run_times=times)
    text = (await pages.get(f"{PATH}/nightly")).text
    for shown in (
        "every hour",
        "by 5 minutes at most",
        "1,200 items, of which the first 10 are shown",
        "at most 1,000",
        "Delete “nightly” permanently",
    ):
        assert shown in text
    assert re.findall(r"<dt>Attempts of a Run</dt><dd>(.*?)</dd>", text) == ["2"]
    assert re.findall(r"<dt>Time limit of an Attempt</dt><dd>(.*?)</dd>", text) == ["90 seconds"]
    (section,) = re.findall(r'id="next".*?</section>', text, re.DOTALL)
    assert "data-zone>UTC<" in section
    assert re.findall(r'datetime="2026-11-24T(\d\d):00:00.000Z"', section) == [f"{10 + n}" for n in range(10)]
    told = (await pages.get(f"{PATH}/nightly.json")).json()
    assert (told["job"]["id"], len(told["job"]["next_run_times"]), told["totalCount"]) == ("nightly", 10, 0)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (None, "A JobRun begins only when somebody triggers the Job."),
        ({"intervals": [{"every": "1h"}]}, "None while the Job is paused."),
    ],
)
async def test_a_job_says_why_there_are_no_next_times(api: Api, pages: Pages, schedule: Any, words: str):
    await api.create_job(schedule=schedule)
    api.jobs.change("shop", "nightly", paused=schedule is not None)
    assert words in (await pages.get(f"{PATH}/nightly")).text


async def test_no_secret_of_a_job_is_shown(make_api: MakeApi):
    api = await make_api(egress_allow=["127.0.0.0/8"])
    await api.create_job(
        sink={"type": "webhook", "url": "http://127.0.0.1:9/in?k=secret-1", "headers": {"x-key": "secret-2"}},
        proxy="http://user:secret-3@127.0.0.1:3128",
        notifications=[
            {"type": "webhook", "url": "http://127.0.0.1:9/ended?k=secret-4", "headers": {"x-key": "secret-5"}}
        ],
    )
    client = await signed_in_client(api)
    for path in (PATH, f"{PATH}.json", f"{PATH}/nightly", f"{PATH}/nightly.json"):
        text = (await client.get(path)).text
        assert "nightly" in text
        assert "secret-" not in text
    text = (await client.get(f"{PATH}/nightly")).text
    for shown in ("127.0.0.1:9/in", "***@127.0.0.1:3128", "127.0.0.1:9/ended"):
        assert shown in text


async def test_what_users_have_written_is_escaped(api: Api, pages: Pages):
    await api.create_job(
        payload=[{"apiName": "list", "parameters": {EVIL: EVIL}}], schedule={"calendars": [{"comment": EVIL}]}
    )
    reason = JobRunReason(type=JobRunReasonType.AUTH_SESSION_NOT_FOUND, message=EVIL)
    await api.start_job_run(JOB_RUN_ID, reason=reason, error=EVIL)
    for path in (PATH, f"{PATH}/nightly"):
        text = (await pages.get(path)).text
        assert ESCAPED in text
        assert "<img src=x" not in text
    deleted = (await pages.get(PATH, params={"deleted": EVIL})).text
    assert f"Job {ESCAPED} was deleted" in deleted
    assert "<img src=x" not in deleted


async def test_the_last_job_runs_are_listed_page_by_page(api: Api, pages: Pages):
    await api.create_job()
    for number in range(21):
        await api.start_job_run(
            f"jr_{number:021}",
            progress=JobRunProgress(total=1500, succeeded=1200, failed=34),
            status=JobRunStatus.CANCELED,
            ended_at=BEGAN + timedelta(seconds=90),
            reason=JobRunReason(type=JobRunReasonType.ANOTHER_JOB_RUN_ACTIVE, message="Another one is active."),
        )
    first = (await pages.get(f"{PATH}/nightly")).text
    assert len(set(re.findall(r"/runs/(jr_\d{21})", first))) == 20
    for shown in ("1,200", "34", "1,500", "1 min 30 s", "another-job-run-active", 'href="?page=1"'):
        assert shown in first.replace(f'href="{PATH}/nightly?', 'href="?')
    (sort, *_), *_ = api.job_runs.asked
    assert [(key.field, key.descending) for key in sort] == [("start_time", True)]
    second = (await pages.get(f"{PATH}/nightly?page=1")).text
    assert set(re.findall(r"/runs/(jr_\d{21})", second)) == {f"jr_{20:021}"}
    assert f'href="{PATH}/nightly"' in second


async def test_the_actions_on_a_job_lead_to_what_comes_of_them(api: Api, pages: Pages):
    await api.create_job()
    answer = await pages.send_form(f"{PATH}/nightly/trigger")
    (job_run_id,) = api.job_runs.known
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PATH}/nightly/runs/{job_run_id}")
    for action, offered in (("pause", ["resume"]), ("resume", ["pause"])):
        answer = await pages.send_form(f"{PATH}/nightly/{action}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{PATH}/nightly")
        text = (await pages.get(f"{PATH}/nightly")).text
        assert re.findall(rf'action="{PATH}/nightly/(pause|resume)"', text) == offered
    answer = await pages.send_form(f"{PATH}/nightly/delete")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PATH}?deleted=nightly")
    assert "Job nightly was deleted" in (await pages.get(answer.headers["location"])).text


async def test_a_job_that_is_a_file_says_why_it_cannot_be_deleted_here(api: Api, pages: Pages):
    await api.create_job()
    assert f'action="{PATH}/nightly/delete"' in (await pages.get(f"{PATH}/nightly")).text
    ref = api.jobs.known["shop", "nightly"].ref
    api.jobs.change("shop", "nightly", ref=ref.model_copy(update={"source": JobSource.CODE}))
    text = (await pages.get(f"{PATH}/nightly")).text
    assert f'action="{PATH}/nightly/delete"' not in text
    assert "This Job is a file of the project, so it cannot be changed or deleted here." in text
    assert f'action="{PATH}/nightly/trigger"' in text
