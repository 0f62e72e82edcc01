"""JobRuns over REST: what they are started with and steered by, and their results."""

import json
import logging
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from callboard.schemas.workflow import names
from callboard.schemas.workflow.job_run import JobRunProgress, JobRunStatus, JobRunType, RerunSource
from callboard.schemas.workflow.run import RunStatus
from callboard.storage import object_keys
from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE

PROJECTS = f"/api/v1/workspace/{WORKSPACE}/projects"
BASE = f"{PROJECTS}/shop/jobs"
RUNS = f"{BASE}/nightly/runs"
ENDED = {"status": JobRunStatus.SUCCESS, "ended_at": datetime(2026, 11, 24, 11, tzinfo=UTC)}


async def trigger(api: Api, **fields: Any) -> str:
    """Create the Job `nightly`, and trigger it."""
    if ("shop", "nightly") not in api.jobs.known:
        await api.create_job(**fields)
    return (await api.client.post(f"{BASE}/nightly/trigger")).json()["jobRunId"]


async def put_shard(api: Api, job_run_id: str, shard: int, try_number: int, *values: Any) -> None:
    text = "".join(json.dumps({"value": value}) + "\n" for value in values)
    await api.store.put(object_keys.job_run_shard("shop", job_run_id, shard, try_number), text.encode())


def values(text: str) -> list[Any]:
    return [json.loads(line)["value"] for line in text.splitlines()]


async def test_a_trigger_starts_a_job_run_of_the_definition_of_the_moment(api: Api):
    first = await trigger(api)
    assert names.is_job_run_id(first)
    known = api.jobs.known["shop", "nightly"].ref.definition
    assert api.job_runs.known[first].definition == known
    await api.client.put(f"{BASE}/nightly", json={"payload": [], "configuration": {"maxRuns": 7}})
    second = await trigger(api)
    assert api.job_runs.known[second].definition != known
    snapshots = [
        (await api.client.get(f"{RUNS}/{job_run_id}")).json()["jobRun"]["job_configuration_snapshot"]
        for job_run_id in (first, second)
    ]
    assert [snapshot["configuration"] for snapshot in snapshots] == [{}, {"maxRuns": 7}]


async def test_a_job_run_is_found_by_its_id_alone(api: Api):
    job_run_id = await trigger(api)
    found = await api.client.get(f"{PROJECTS}/shop/job-runs/{job_run_id}")
    assert (found.status_code, found.json()["jobRun"]["job_id"]) == (200, "nightly")
    assert found.json() == (await api.client.get(f"{RUNS}/{job_run_id}")).json()


async def test_pausing_and_resuming_a_job_does_so_to_its_active_job_runs(api: Api):
    await trigger(api)
    await api.client.post(f"{BASE}/nightly/pause")
    assert api.jobs.known["shop", "nightly"].paused
    assert names.is_job_run_id(await trigger(api)), "it can be triggered nevertheless"
    await api.client.post(f"{BASE}/nightly/resume")
    assert not api.jobs.known["shop", "nightly"].paused
    assert api.job_runs.steered == [("shop/nightly", "pause"), ("shop/nightly", "resume")]


async def test_a_job_run_is_paused_resumed_and_terminated_until_it_has_ended(api: Api):
    job_run_id = await trigger(api)
    calls = {"pause": "Paused", "resume": "Resumed", "terminate": "Job run terminated"}
    for call, message in calls.items():
        answer = await api.client.post(f"{RUNS}/{job_run_id}/{call}")
        assert (answer.status_code, answer.json()) == (200, {"message": message})
    assert api.job_runs.steered == [(job_run_id, call) for call in calls]
    api.job_runs.change(job_run_id, **ENDED)
    statuses = [(await api.client.post(f"{RUNS}/{job_run_id}/{call}")).status_code for call in calls]
    assert statuses == [409, 409, 200], "it is terminated in vain"


async def test_a_rerun_is_of_the_definition_and_the_items_that_the_job_run_had(api: Api):
    job_run_id = await trigger(api, configuration={"maxRuns": 5})
    defined = api.job_runs.known[job_run_id].definition
    await api.client.put(f"{BASE}/nightly", json={"payload": [], "configuration": {}})
    running = await api.client.post(f"{RUNS}/{job_run_id}/rerun-failed")
    assert (running.status_code, running.json()["code"]) == (409, "conflict")
    progress = JobRunProgress(total=7, next=5, succeeded=2, failed=3, shards=4)
    api.job_runs.change(job_run_id, version="v1", progress=progress, **ENDED)
    answer = await api.client.post(f"{RUNS}/{job_run_id}/rerun-failed")
    rerun_id = answer.json()["jobRunId"]
    assert (answer.status_code, answer.json()) == (201, {"jobRunId": rerun_id, "rerunOf": job_run_id, "payloads": 3})
    started = api.job_runs.inputs[rerun_id]
    assert (started.definition, started.type) == (defined, JobRunType.MANUAL)
    assert started.started_by is not None
    assert started.rerun == RerunSource(job_run_id=job_run_id, item_count=5, unfinished=3, shards=4)
    shown = (await api.client.get(f"{RUNS}/{rerun_id}")).json()["jobRun"]
    assert (shown["rerun_of"], shown["job_configuration_snapshot"]["configuration"]) == (job_run_id, {"maxRuns": 5})
    (entry, *_) = (await api.client.get(f"/api/v1/workspace/{WORKSPACE}/audit")).json()["entries"]
    ids = {"jobId": "nightly", "jobRunId": rerun_id, "rerunOf": job_run_id}
    assert (entry["action"], entry["ids"]) == ("job-run.rerun-failed", ids)


async def test_a_rerun_with_an_idempotency_key_starts_once(api: Api):
    first, second = await trigger(api), await trigger(api)
    for job_run_id in (first, second):
        api.job_runs.change(job_run_id, version="v1", progress=JobRunProgress(total=1), **ENDED)

    async def rerun(job_run_id: str, **headers: str) -> httpx.Response:
        return await api.client.post(f"{RUNS}/{job_run_id}/rerun-failed", headers=headers)

    key = {"idempotency-key": "once"}
    answers = [await rerun(first, **key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert len(api.job_runs.known) == 3
    other = await rerun(second, **key)
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert (await rerun(first)).json()["jobRunId"] != answers[0].json()["jobRunId"]
    assert (await rerun(first, **{"idempotency-key": "two words"})).status_code == 400


async def test_a_repeated_rerun_is_found_after_the_key_ring_was_rotated(make_api: MakeApi):
    before, key = await make_api(secret_key=["the older secret key"]), {"idempotency-key": "once"}
    job_run_id = await trigger(before)
    before.job_runs.change(job_run_id, version="v1", progress=JobRunProgress(total=1), **ENDED)
    rerun = (await before.client.post(f"{RUNS}/{job_run_id}/rerun-failed", headers=key)).json()
    after = await make_api(store=before.store, secret_key=["the newer secret key", "the older secret key"])
    after.job_runs.known |= before.job_runs.known
    assert (await after.client.post(f"{RUNS}/{job_run_id}/rerun-failed", headers=key)).json() == rerun


async def test_a_job_run_of_which_all_has_completed_has_nothing_to_run_again(api: Api):
    job_run_id = await trigger(api)
    api.job_runs.change(job_run_id, version="v1", progress=JobRunProgress(total=3, next=3, succeeded=3), **ENDED)
    answer = await api.client.post(f"{RUNS}/{job_run_id}/rerun-failed")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing-failed")
    assert job_run_id in answer.json()["message"]
    assert list(api.job_runs.known) == [job_run_id]


async def test_a_rerun_of_what_had_no_items_yet_is_of_those_that_it_was_to_have(api: Api):
    job_run_id = await trigger(api)
    api.job_runs.change(job_run_id, **ENDED)
    rerun_id = (await api.client.post(f"{RUNS}/{job_run_id}/rerun-failed")).json()["jobRunId"]
    assert api.job_runs.inputs[rerun_id].rerun == RerunSource(job_run_id=job_run_id, item_count=None, unfinished=1)
    api.job_runs.change(rerun_id, **ENDED)
    again = (await api.client.post(f"{RUNS}/{rerun_id}/rerun-failed")).json()
    assert (again["rerunOf"], again["payloads"]) == (job_run_id, 1)


@pytest.mark.parametrize("status", [JobRunStatus.FAILURE, JobRunStatus.TERMINATED])
async def test_no_rerun_begins_while_runs_go_on_that_a_job_run_has_left(api: Api, status: JobRunStatus):
    job_run_id = await trigger(api)
    api.job_runs.change(job_run_id, version="v1", progress=JobRunProgress(total=1), **{**ENDED, "status": status})
    api.run_queries.counts = {RunStatus.STARTED: 1}
    answer = await api.client.post(f"{RUNS}/{job_run_id}/rerun-failed")
    assert answer.status_code == 409
    assert "1 of its Runs have not" in answer.json()["message"]


async def test_the_page_of_a_list_is_asked_for_by_its_number(api: Api):
    await trigger(api)
    await api.client.get(RUNS)
    await api.client.get(f"{RUNS}?pageSize=20&pageNumber=3&sortBy=status,asc/start_time,desc")
    (default, first, count), (sort, *of) = api.job_runs.asked
    assert ([(key.field, key.descending) for key in default], first, count) == ([("start_time", True)], 0, 50)
    assert ([(key.field, key.descending) for key in sort], of) == ([("status", False), ("start_time", True)], [60, 20])


async def test_job_runs_of_a_job_that_is_deleted_are_still_there(api: Api):
    job_run_id = await trigger(api)
    await api.client.delete(f"{BASE}/nightly")
    assert (await api.client.get(f"{RUNS}/{job_run_id}")).status_code == 200
    assert (await api.client.get(RUNS)).json()["totalCount"] == 1
    assert (await api.client.post(f"{RUNS}/{job_run_id}/terminate")).status_code == 200


async def test_results_come_by_a_link_without_a_key_once_the_job_run_has_ended(
    api: Api, caplog: pytest.LogCaptureFixture
):
    job_run_id = await trigger(api)
    await put_shard(api, job_run_id, 0, 1, 1, 2)
    await put_shard(api, job_run_id, 1, 1, "a try that was lost")
    await put_shard(api, job_run_id, 1, 2, 3)
    await put_shard(api, job_run_id, 2, 1, "a piece that does not count")
    api.job_runs.change(job_run_id, progress=JobRunProgress(total=3, shards=2))
    assert "results" not in (await api.client.get(f"{RUNS}/{job_run_id}")).json()
    api.job_runs.change(job_run_id, **ENDED)
    results = (await api.client.get(f"{RUNS}/{job_run_id}")).json()["results"]
    assert (results["format"], set(results)) == ("jsonl", {"format", "signed_url", "signed_url_expiration"})
    link = urlsplit(results["signed_url"])
    assert (link.scheme, link.netloc) == ("http", "api.test")
    del api.client.headers["x-api-key"]
    with caplog.at_level(logging.INFO):
        answer = await api.client.get(results["signed_url"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert answer.headers["cache-control"] == "no-store"
    assert values(answer.text) == [1, 2, 3]
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("api.")]
    assert any("/job-run-results" in line for line in logged)
    assert not any(link.query in line for line in logged)


async def test_results_so_far_come_with_a_key(api: Api):
    job_run_id = await trigger(api)
    assert (await api.client.get(f"{RUNS}/{job_run_id}/results")).text == ""
    await put_shard(api, job_run_id, 0, 1, 1)
    api.job_runs.change(job_run_id, progress=JobRunProgress(total=3, shards=1))
    assert values((await api.client.get(f"{RUNS}/{job_run_id}/results")).text) == [1]


async def test_a_link_that_is_made_up_or_of_another_workspace_leads_nowhere(api: Api, make_api: MakeApi):
    assert (await api.client.get("/job-run-results?link=v1.made.up")).status_code == 404
    assert (await api.client.get("/job-run-results")).status_code == 400
    job_run_id = await trigger(api)
    api.job_runs.change(job_run_id, **ENDED)
    link = (await api.client.get(f"{RUNS}/{job_run_id}")).json()["results"]["signed_url"]
    assert (await api.client.get(link)).status_code == 200
    elsewhere = await make_api(workspace_id="11111111-1111-1111-1111-111111111111")
    answer = await elsewhere.client.get(link)
    assert (answer.status_code, "expired" in answer.json()["message"]) == (404, True)


async def test_results_that_are_not_kept_any_more_are_not_found(api: Api):
    job_run_id = await trigger(api)
    api.job_runs.change(job_run_id, progress=JobRunProgress(total=3, shards=2), **ENDED)
    await put_shard(api, job_run_id, 1, 1, 3)
    answer = await api.client.get(f"{RUNS}/{job_run_id}/results")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_without_a_secret_key_there_is_no_link_but_the_results_are_there(make_api: MakeApi):
    api = await make_api(secret_key=[])
    job_run_id = await trigger(api)
    await put_shard(api, job_run_id, 0, 1, 1)
    api.job_runs.change(job_run_id, progress=JobRunProgress(total=1, shards=1), **ENDED)
    assert "results" not in (await api.client.get(f"{RUNS}/{job_run_id}")).json()
    assert values((await api.client.get(f"{RUNS}/{job_run_id}/results")).text) == [1]


async def test_the_rows_of_a_job_run_are_those_of_its_runs_with_their_ids_and_apis(api: Api):
    job_run_id = await trigger(api)
    rows = f"{RUNS}/{job_run_id}/rows"
    assert (await api.client.get(rows)).json() == {"columns": ["_runId", "_api"], "rows": []}

    async def put(shard: int, *runs: tuple[str, str, Any]) -> None:
        lines = [
            json.dumps({"apiInfo": {"name": name, "runId": run_id, "result": result}}) for run_id, name, result in runs
        ]
        key = object_keys.job_run_shard("shop", job_run_id, shard, 1)
        await api.store.put(key, "".join(line + "\n" for line in lines).encode())
        api.job_runs.change(job_run_id, progress=JobRunProgress(shards=shard + 1))

    await put(0, ("run-0", "details", {"output": {"one": "object"}}), ("run-1", "list", None))
    answer = await api.client.get(rows)
    assert (answer.status_code, answer.json()["code"]) == (409, "not-a-table")
    await put(
        1, ("run-2", "list", {"output": [{"a": 1, "_api": "x"}]}), ("run-3", "list", {"output": {"b": [{"c": 2}]}})
    )
    assert (await api.client.get(rows, params={"format": "csv"})).text == (
        "_runId,_api,a,c\r\nrun-2,list,1,\r\nrun-3,list,,2\r\n"
    )
    lines = (await api.client.get(rows, params={"format": "jsonl"})).text.splitlines()
    assert json.loads(lines[0]) == {"_runId": "run-2", "_api": "list", "a": 1}
