"""`callboard jobs` and `callboard jobruns`: what they have done, and what they say of it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callboard.cli import jobruns, polling
from callboard.schemas.workflow.job_run import JobRunProgress, JobRunStatus
from callboard.schemas.workflow.run import RunReason
from callboard.storage import object_keys
from tests.support.api_in_process import Api
from tests.support.commands import NOWHERE, Commands, callboard, error_of
from tests.support.in_memory_temporal import BEGAN
from tests.support.polling import until
from tests.unit.cli.conftest import Answer

JOB = {"id": "nightly", "payload": [{"apiName": "list", "parameters": {}}], "configuration": {}}
ITEMS = b'{"apiName": "list", "parameters": {"page": 1}}\n{"apiName": "list", "parameters": {"page": 2}}\n'
SOME_FAILED = JobRunProgress(total=100, succeeded=97, failed=3, shards=1)
ENDED = {"status": JobRunStatus.SUCCESS, "ended_at": BEGAN + timedelta(minutes=1), "progress": SOME_FAILED}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_POLL_SECONDS", 0.01)


@pytest.fixture
async def job_run(api: Api) -> str:
    """A JobRun of the Job `nightly` that goes on."""
    await api.create_job(payload=[{"apiName": "list", "parameters": {"page": page}} for page in (1, 2, 3)])
    await api.start_job_run("jr_123456789012345678901", progress=SOME_FAILED)
    return "jr_123456789012345678901"


async def test_a_job_is_made_shown_paused_resumed_triggered_and_deleted(api: Api, cli: Commands):
    async def said(*words: str, text: str | None = None) -> str:
        return await cli.said("jobs", *words, "-p", "shop", text=text)

    scheduled = {**JOB, "schedule": {"intervals": [{"every": "1h"}]}}
    assert await said("create", json.dumps(scheduled)) == "nightly\n"
    shown = await said("get", "nightly")
    for words in ("nightly", "ACTIVE", "Schedule", '"1h"', "Payload", '"apiName": "list"'):
        assert words in shown
    assert "Proxy" not in shown
    assert await said("pause", "nightly") == "Job nightly is paused.\n"
    heads, row = (line.split() for line in (await said("list")).splitlines())
    assert heads == ["JOB", "STATE", "SOURCE", "ITEMS", "NEXT", "RUN", "LAST", "RUN"]
    assert row == ["nightly", "PAUSED", "API", "1"]
    assert json.loads(await said("list", "--json"))[0]["state"] == "PAUSED"
    assert await said("resume", "nightly") == "Job nightly is resumed.\n"
    assert not api.jobs.known["shop", "nightly"].paused
    job_run_id = (await said("trigger", "nightly")).removesuffix("\n")
    assert list(api.job_runs.known) == [job_run_id]
    assert (await cli("jobs", "delete", "nightly", "-p", "shop", text="n\n")).exit_code == 1
    assert list(api.jobs.known) == [("shop", "nightly")]
    assert (await said("delete", "nightly", text="y\n")).endswith("Deleted Job nightly.\n")
    await api.create_job()
    await said("delete", "nightly", "-y")
    assert api.jobs.known == {}


async def test_times_of_jobs_are_listed(api: Api, cli: Commands):
    await api.create_job()
    api.jobs.change("shop", "nightly", next_run_times=(BEGAN,), last_run_time=BEGAN - timedelta(days=1))
    row = (await cli.said("jobs", "list", "-p", "shop")).splitlines()[1].split()
    assert row[-2:] == ["2026-11-24T10:00:00Z", "2026-11-23T10:00:00Z"]


@pytest.mark.parametrize("source", ["file", "stdin", "whole"])
async def test_a_long_payload_is_sent_as_ndjson_behind_its_job(api: Api, cli: Commands, tmp_path: Path, source: str):
    await api.create_job()
    items, whole = tmp_path / "items.ndjson", tmp_path / "nightly.ndjson"
    items.write_bytes(ITEMS)
    whole.write_bytes(b'{"configuration": {}}\n' + ITEMS)
    split = ('{"configuration": {}}', "--payload", {"file": items}.get(source, "-"))
    body = (whole,) if source == "whole" else split
    said = await cli.said("jobs", "update", "nightly", *body, "-p", "shop", text=ITEMS.decode())
    assert said == "Updated Job nightly.\n"
    job = json.loads(await cli.said("jobs", "get", "nightly", "-p", "shop", "--json"))
    assert [item["parameters"]["page"] for item in job["payload"]] == [1, 2]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["nothing.ndjson"], "BODY: nothing.ndjson cannot be read"),
        (["[]"], "BODY: expected a JSON object"),
        (["{}", "--payload", "nothing.ndjson"], "--payload: nothing.ndjson cannot be read"),
        ([json.dumps(JOB), "--payload", "-"], "--payload: expected a BODY without a payload"),
        (["-", "--payload", "-"], "--payload: expected a file"),
    ],
)
def test_what_cannot_be_sent_is_told_and_nothing_is_sent(given: list[str], told: str):
    assert told in error_of(callboard("jobs", "create", *given, "-p", "shop", text="{}", **NOWHERE))[1]


ANOTHER = {"type": "another-job-run-active", "message": "Another one is active."}


@pytest.mark.parametrize(
    ("end", "failed", "options", "code", "said"),
    [
        ("SUCCESS", 0, (), 0, "The JobRun is SUCCESS. 100 of 100 Runs have completed, 0 failed."),
        ("SUCCESS", 3, (), 1, "The JobRun is SUCCESS. 97 of 100 Runs have completed, 3 failed."),
        ("SUCCESS", 3, ("--allow-failed",), 0, "The JobRun is SUCCESS."),
        ("FAILURE", 3, (), 1, "The JobRun is FAILURE."),
        ("FAILURE", 0, ("--allow-failed",), 1, "The JobRun is FAILURE."),
        ("CANCELED", 0, (), 3, "another-job-run-active: Another one is active."),
        ("TERMINATED", 0, (), 3, "The JobRun is TERMINATED."),
    ],
)
async def test_trigger_waits_and_ends_as_the_job_run_does(
    api: Api, cli: Commands, end: str, failed: int, options: tuple[str, ...], code: int, said: str
):
    await api.create_job()

    async def runs() -> None:
        (job_run_id,) = await until(lambda: list(api.job_runs.known))
        api.job_runs.change(job_run_id, status=JobRunStatus.PAUSED)
        progress = JobRunProgress(total=100, succeeded=100 - failed, failed=failed)
        reason = RunReason.model_validate(ANOTHER) if end == "CANCELED" else None
        ended_at = BEGAN + timedelta(minutes=1)
        fields: dict[str, Any] = {"progress": progress, "reason": reason, "ended_at": ended_at}
        api.job_runs.change(job_run_id, status=JobRunStatus(end), **fields)

    done, _ = await asyncio.gather(cli("jobs", "trigger", "nightly", "--wait", *options, "-p", "shop"), runs())
    assert (done.exit_code, said in done.output) == (code, True), done.output


def test_waiting_goes_on_through_pauses_and_when_the_api_is_away(answer: Answer):
    away = (503, {"code": "internal-server-error", "message": "Temporal cannot be reached."})
    states = [(200, {"jobRun": {**_SHOWN, "status": word}}) for word in ("PENDING", "PAUSED", "SUCCESS")]
    answer((200, {"jobRunId": "jr_1"}), states[0], away, states[1], states[2])
    done = callboard("jobs", "trigger", "nightly", "--wait", "-p", "shop", **NOWHERE)
    assert (done.exit_code, done.stdout) == (0, "The JobRun is SUCCESS. 1 of 1 Runs have completed, 0 failed.\n")


_SHOWN: dict[str, Any] = {"reason": None, "payloads": 1, "successful_runs": 1, "failed_runs": 0}


async def test_job_runs_are_listed_in_pages(api: Api, cli: Commands, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobruns, "_PAGE", 2)
    await api.create_job()
    for number in range(3):
        await api.start_job_run(f"jr_{number}", progress=SOME_FAILED)
    header, *rows = (await cli.said("jobruns", "list", "nightly", "-l", "1000", "-p", "shop")).splitlines()
    columns = ("JOBRUN", "STATUS", "TYPE", "STARTED", "DURATION", "RUNS", "COMPLETED", "FAILED", "REASON")
    assert tuple(header.split()) == columns
    assert [row.split()[0] for row in rows] == ["jr_0", "jr_1", "jr_2"]
    assert rows[0].split()[1:] == ["PENDING", "SCHEDULED", "2026-11-24T10:00:00Z", "100", "97", "3"]
    assert [(first, count) for _, first, count in api.job_runs.asked] == [(0, 2), (2, 2)]
    assert [(key.field, key.descending) for key in api.job_runs.asked[0][0]] == [("start_time", True)]
    limited = json.loads(await cli.said("jobruns", "list", "nightly", "-l", "1", "-p", "shop", "--json"))
    assert ([each["id"] for each in limited["jobRuns"]], limited["totalCount"]) == (["jr_0"], 3)


async def test_a_job_run_is_found_by_its_id_alone(api: Api, cli: Commands, job_run: str):
    for action, said in (("pause", "paused"), ("resume", "resumed"), ("terminate", "terminated")):
        told = await cli.said("jobruns", action, job_run, "-p", "shop")
        assert told == f"JobRun {job_run} is being {said}.\n"
    assert api.job_runs.steered == [(job_run, action) for action in ("pause", "resume", "terminate")]
    api.job_runs.change(job_run, **ENDED)
    told = await cli.said("jobruns", "terminate", job_run, "-p", "shop")
    assert told == f"JobRun {job_run} has already ended: SUCCESS.\n"


async def test_what_failed_is_run_again(api: Api, cli: Commands, job_run: str):
    api.job_runs.change(job_run, **ENDED)
    words = ("jobruns", "rerun-failed", job_run, "-p", "shop")
    keyed = (*words, "--idempotency-key", "once")
    again = (await cli.said(*keyed)).removesuffix("\n")
    assert await cli.said(*keyed) == f"{again}\n", "the key is sent"
    assert api.job_runs.known[again].rerun_of == job_run
    api.job_runs.change(again, **ENDED)
    assert (await cli(*keyed, "--wait")).exit_code == 1, "Runs of it have failed again"


async def test_a_job_run_is_shown(api: Api, cli: Commands, job_run: str):
    reason = RunReason.model_validate({"type": "user-request", "message": "Somebody has paused it."})
    api.job_runs.change(job_run, status=JobRunStatus.PAUSED, reason=reason)
    said = await cli.said("jobruns", "get", job_run, "-p", "shop")
    for words in ("PAUSED", "user-request: Somebody has paused it.", "97 of 100 Runs have completed", "nightly"):
        assert words in said


async def test_results_are_downloaded(api: Api, cli: Commands, job_run: str, tmp_path: Path):
    await api.store.put(object_keys.job_run_shard("shop", job_run, 0, 1), ITEMS)
    words, file = ("jobruns", "results", job_run, "-p", "shop"), tmp_path / "results.jsonl"
    done = await cli(*words, "-o", file)
    assert (done.exit_code, done.stdout) == (0, f"{file}\n")
    assert file.read_bytes() == ITEMS
    assert "these are the results so far" in done.stderr
    api.job_runs.change(job_run, **ENDED)
    done = await cli(*words)
    assert (done.stdout, done.stderr) == (ITEMS.decode(), "")
