"""`callboard jobs` and `callboard jobruns`: what they send where, and what they say of the answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from callboard.cli import polling
from tests.support.fake_api import FakeApi

JOB = {"id": "nightly", "payload": [{"apiName": "list", "parameters": {}}], "configuration": {}}
CREATED = (201, {"id": "nightly", "message": "created"})
JOB_RUN_ID = "jr_123456789012345678901"
TRIGGERED = (200, {"jobRunId": JOB_RUN_ID, "message": "Triggered"})
ITEMS = b'{"apiName": "list", "parameters": {"page": 1}}\n{"apiName": "list", "parameters": {"page": 2}}\n'


def job_run(status: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": JOB_RUN_ID,
        "job_id": "nightly",
        "status": status,
        "type": "MANUAL",
        "start_time": "2026-11-24T10:00:00.000000Z",
        "end_time": None,
        "payloads": 100,
        "successful_runs": 95,
        "failed_runs": 3,
        "reason": None,
        "job_configuration_snapshot": {"configuration": {}},
        **fields,
    }


PLACE = "projects/shop/jobs"


@pytest.mark.parametrize(
    ("command", "answer", "said", "asked"),
    [
        (["create", json.dumps(JOB)], CREATED, "nightly", ("POST", PLACE, JOB)),
        (["pause", "nightly"], (200, {}), "Job nightly is paused.", ("POST", f"{PLACE}/nightly/pause", None)),
        (["resume", "nightly"], (200, {}), "Job nightly is resumed.", ("POST", f"{PLACE}/nightly/resume", None)),
        (["trigger", "nightly"], TRIGGERED, JOB_RUN_ID, ("POST", f"{PLACE}/nightly/trigger", None)),
        (["delete", "nightly", "-y"], (204, b""), "Deleted Job nightly.", ("DELETE", f"{PLACE}/nightly", None)),
    ],
)
def test_a_command_makes_its_call_and_says_what_came_of_it(
    api: FakeApi, command: list[str], answer: tuple[int, Any], said: str, asked: tuple[str, str, Any]
):
    api.answers = [answer]
    done = api.callboard("jobs", *command, "-p", "shop")
    assert (done.exit_code, done.stdout) == (0, f"{said}\n")
    assert [(each.method, each.path, each.body) for each in api.asked] == [asked]


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_a_long_payload_is_sent_as_ndjson_behind_its_job(api: FakeApi, tmp_path: Path, source: str):
    (tmp_path / "items.ndjson").write_bytes(ITEMS)
    api.answers = [(200, {"id": "nightly"})]
    payload, head = tmp_path / "items.ndjson" if source == "file" else "-", '{"configuration": {}}'
    done = api.callboard("jobs", "update", "nightly", head, "--payload", payload, "-p", "shop", text=ITEMS.decode())
    assert (done.exit_code, done.stdout) == (0, "Updated Job nightly.\n")
    (asked,) = api.asked
    assert (asked.method, asked.path) == ("PUT", f"{PLACE}/nightly")
    assert asked.headers["content-type"] == "application/x-ndjson"
    first, rest = asked.body.split(b"\n", 1)
    assert (json.loads(first), rest) == (json.loads(head), ITEMS)


def test_a_file_of_ndjson_is_sent_as_it_is(api: FakeApi, tmp_path: Path):
    whole = b'{"id": "nightly", "configuration": {}}\n' + ITEMS
    (tmp_path / "nightly.ndjson").write_bytes(whole)
    api.answers = [CREATED]
    done = api.callboard("jobs", "create", tmp_path / "nightly.ndjson", "--json", "-p", "shop")
    assert json.loads(done.stdout) == CREATED[1]
    assert api.asked[0].body == whole


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
def test_what_cannot_be_sent_is_told_and_nothing_is_sent(api: FakeApi, given: list[str], told: str):
    done = api.callboard("jobs", "create", *given, "-p", "shop", text="{}")
    assert told in str(done.exception)
    assert api.asked == []


def test_jobs_are_listed_with_their_times(api: FakeApi):
    listed = {"id": "nightly", "state": "ACTIVE", "source": "CODE", "payload_count": 3}
    listed["next_run_time"] = "2026-11-25T03:00:00Z"
    api.answers = [(200, [listed, {"id": "by-hand", "state": "PAUSED"}])]
    lines = api.callboard("jobs", "list", "-p", "shop").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["JOB", "STATE", "SOURCE", "ITEMS", "NEXT", "RUN", "LAST", "RUN"],
        ["nightly", "ACTIVE", "CODE", "3", "2026-11-25T03:00:00Z"],
        ["by-hand", "PAUSED"],
    ]
    assert json.loads(api.callboard("jobs", "list", "--json", "-p", "shop").stdout)[0] == listed


def test_a_job_is_shown_with_all_that_it_has(api: FakeApi):
    shown = {
        **JOB,
        "state": "ACTIVE",
        "created_at": "2026-11-24T10:00:00Z",
        "schedule": {"intervals": [{"every": "1h"}]},
        "auth_session": {"id": "anna"},
        "proxy": None,
    }
    api.answers = [(200, shown)]
    said = api.callboard("jobs", "get", "nightly", "-p", "shop").stdout
    for words in ("nightly", "ACTIVE", "anna", "Schedule", '"1h"', "Payload", '"apiName": "list"'):
        assert words in said
    assert "Proxy" not in said


def test_a_job_is_deleted_when_that_is_confirmed(api: FakeApi):
    api.answers = [(204, b"")]
    refused = api.callboard("jobs", "delete", "nightly", "-p", "shop", text="n\n")
    assert (refused.exit_code, api.asked) == (1, [])
    assert api.callboard("jobs", "delete", "nightly", "-p", "shop", text="y\n").exit_code == 0
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (job_run("SUCCESS", successful_runs=100, failed_runs=0), 0, "100 of 100 Runs have completed, 0 failed."),
        (job_run("SUCCESS", successful_runs=97), 1, "The JobRun is SUCCESS. 97 of 100 Runs have completed, 3 failed."),
        (job_run("FAILURE"), 1, "The JobRun is FAILURE."),
        (
            job_run("CANCELED", reason={"type": "another-job-run-active", "message": "Another one is active."}),
            3,
            "another-job-run-active: Another one is active.",
        ),
        (job_run("TERMINATED"), 3, "The JobRun is TERMINATED."),
    ],
)
def test_trigger_waits_and_ends_as_the_job_run_does(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, end: dict[str, Any], code: int, said: str
):
    monkeypatch.setattr(polling, "_POLL_SECONDS", 0.01)
    away = (503, {"code": "internal-server-error", "message": "Temporal cannot be reached."})
    paused = (200, {"jobRun": job_run("PAUSED")})
    api.answers = [TRIGGERED, (200, {"jobRun": job_run("PENDING")}), away, paused, (200, {"jobRun": end})]
    done = api.callboard("jobs", "trigger", "nightly", "--wait", "-p", "shop")
    assert (done.exit_code, said in done.output) == (code, True), done.output
    assert api.asked[-1].path == f"projects/shop/jobs/nightly/runs/{JOB_RUN_ID}"


@pytest.mark.parametrize(("end", "code"), [(job_run("SUCCESS", successful_runs=97), 0), (job_run("FAILURE"), 1)])
def test_runs_that_failed_may_be_allowed_to(api: FakeApi, end: dict[str, Any], code: int):
    api.answers = [TRIGGERED, (200, {"jobRun": end})]
    done = api.callboard("jobs", "trigger", "nightly", "--wait", "--allow-failed", "-p", "shop")
    assert done.exit_code == code, done.output


def test_job_runs_are_listed_in_pages(api: FakeApi):
    api.answers = [
        (200, {"jobRuns": [job_run("SUCCESS")] * 100, "totalCount": 130}),
        (200, {"jobRuns": [job_run("PENDING")] * 30, "totalCount": 130}),
    ]
    done = api.callboard("jobruns", "list", "nightly", "-l", "1000", "-p", "shop")
    assert [asked.path for asked in api.asked] == [
        f"projects/shop/jobs/nightly/runs?pageSize=100&pageNumber={page}&sortBy=start_time%2Cdesc" for page in (0, 1)
    ]
    header, *rows = done.stdout.splitlines()
    columns = ("JOBRUN", "STATUS", "TYPE", "STARTED", "DURATION", "RUNS", "COMPLETED", "FAILED", "REASON")
    assert tuple(header.split()) == columns
    assert len(rows) == 130
    assert rows[0].split() == [JOB_RUN_ID, "SUCCESS", "MANUAL", "2026-11-24T10:00:00.000000Z", "100", "95", "3"]


@pytest.mark.parametrize(
    ("action", "end", "said"),
    [
        ("pause", None, "is being paused."),
        ("resume", None, "is being resumed."),
        ("terminate", None, "is being terminated."),
        ("terminate", "2026-11-24T10:01:00.000000Z", "has already ended: SUCCESS."),
    ],
)
def test_a_job_run_is_found_by_its_id_alone(api: FakeApi, action: str, end: str | None, said: str):
    api.answers = [(200, {"jobRun": job_run("SUCCESS" if end else "PENDING", end_time=end)}), (200, {"message": "m"})]
    done = api.callboard("jobruns", action, JOB_RUN_ID, "-p", "shop")
    assert (done.exit_code, done.stdout) == (0, f"JobRun {JOB_RUN_ID} {said}\n")
    assert [(asked.method, asked.path) for asked in api.asked] == [
        ("GET", f"projects/shop/job-runs/{JOB_RUN_ID}"),
        ("POST", f"projects/shop/jobs/nightly/runs/{JOB_RUN_ID}/{action}"),
    ]


def test_what_failed_is_run_again(api: FakeApi):
    found, rerun = (200, {"jobRun": job_run("SUCCESS")}), {"jobRunId": "jr_2", "rerunOf": JOB_RUN_ID, "payloads": 3}
    api.answers = [found, (201, rerun)]
    done = api.callboard("jobruns", "rerun-failed", JOB_RUN_ID, "--idempotency-key", "once", "-p", "shop")
    assert (done.exit_code, done.stdout) == (0, "jr_2\n")
    assert api.asked[1].headers["idempotency-key"] == "once"
    assert (api.asked[1].method, api.asked[1].path) == (
        "POST",
        f"projects/shop/jobs/nightly/runs/{JOB_RUN_ID}/rerun-failed",
    )
    api.answers = [found, (201, rerun), (200, {"jobRun": job_run("SUCCESS")})]
    waited = api.callboard("jobruns", "rerun-failed", JOB_RUN_ID, "--wait", "-p", "shop")
    assert waited.exit_code == 1, "Runs of it have failed again"
    assert api.asked[-1].path == "projects/shop/jobs/nightly/runs/jr_2"


def test_a_job_run_is_shown(api: FakeApi):
    reason = {"type": "user-request", "message": "Somebody has paused it."}
    api.answers = [(200, {"jobRun": job_run("PAUSED", reason=reason)})]
    said = api.callboard("jobruns", "get", JOB_RUN_ID, "-p", "shop").stdout
    for words in ("PAUSED", "user-request: Somebody has paused it.", "98 of 100 Runs have ended", "nightly"):
        assert words in said


@pytest.mark.parametrize(("end", "complete"), [("2026-11-24T10:01:00.000000Z", True), (None, False)])
def test_results_are_downloaded(api: FakeApi, tmp_path: Path, end: str | None, complete: bool):
    answers = [(200, {"jobRun": job_run("SUCCESS" if end else "PENDING", end_time=end)}), (200, ITEMS)]
    api.answers = [*answers]
    file = tmp_path / "results.jsonl"
    done = api.callboard("jobruns", "results", JOB_RUN_ID, "-o", file, "-p", "shop")
    assert (done.exit_code, done.stdout) == (0, f"{file}\n")
    assert file.read_bytes() == ITEMS
    assert ("the results so far" in done.stderr) is not complete
    assert api.asked[1].path == f"projects/shop/jobs/nightly/runs/{JOB_RUN_ID}/results"
    api.answers = answers
    assert api.callboard("jobruns", "results", JOB_RUN_ID, "-p", "shop").stdout == ITEMS.decode()
