"""Attempts and what they leave, as they are answered."""

import io
import zipfile
from datetime import timedelta
from typing import Any

import pytest

from callboard.schemas.workflow.attempt import (
    AttemptStatus,
    AttemptUsage,
    RecordedTakeover,
    RecordedVariable,
    TracePicture,
    VariableSource,
)
from callboard.schemas.workflow.run import RunError
from tests.support.api_in_process import Api
from tests.support.attempt_artifacts import attempt_record, store_artifact, store_record
from tests.support.constants import WORKSPACE
from tests.support.in_memory_temporal import BEGAN

RUNS = f"/api/v1/workspace/{WORKSPACE}/projects/shop/runs"


async def test_a_run_is_told_with_its_attempts_in_their_order(api: Api):
    run_id = await api.run()
    for number in range(1, 12):
        await store_record(api, attempt_record(run_id, number, AttemptStatus.FAILED))
    await store_artifact(api, run_id, 12, "result.json", b"1")  # whose record was lost
    attempts = (await api.ask(f"runs/{run_id}"))["attempts"]
    assert [attempt["number"] for attempt in attempts] == list(range(1, 12))


async def test_an_attempt_tells_all_that_its_record_has_and_where_its_files_are(api: Api):
    run_id = await api.run()
    error: dict[str, Any] = {
        "code": "script-execution-exception",
        "category": "user",
        "message": "no price",
        "retirable": False,
        "details": {"stack": "line 3"},
    }
    await store_record(
        api,
        attempt_record(
            run_id,
            status=AttemptStatus.FAILED,
            queued_at=BEGAN,
            started_at=BEGAN + timedelta(seconds=1),
            ended_at=BEGAN + timedelta(seconds=2.5),
            machine="shop-1",
            worker="worker-1",
            browser_version="156",
            error=RunError.model_validate(error),
            page_url="https://shop.example.com/7",
            attributes={"rows": 3},
            variables=(RecordedVariable(name="SHOP_KEY", source=VariableSource.WORKSPACE, secret=True),),
            trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
            usage=AttemptUsage(peak_memory=1, cpu_seconds=0.5, bytes_received=2, trace_size=3, log_size=4),
            takeovers=(RecordedTakeover(begin=BEGAN, until=BEGAN + timedelta(seconds=1), by="Maria"),),
            missing={"screenshot": "The page was closed."},
        ),
    )
    await store_artifact(api, run_id, 1, "log.jsonl", b"{}\n")
    await store_artifact(api, run_id, 1, "trace.zip", b"zip")
    answer = await api.ask(f"runs/{run_id}/attempts/1")
    place = f"{RUNS}/{run_id}/attempts/1"
    assert answer == {
        "number": 1,
        "kind": "api",
        "status": "failed",
        "preparingAt": None,
        "queuedAt": "2026-11-24T10:00:00Z",
        "startedAt": "2026-11-24T10:00:01Z",
        "endedAt": "2026-11-24T10:00:02.500000Z",
        "machine": "shop-1",
        "worker": "worker-1",
        "browserVersion": "156",
        "error": {**error, "doc_url": None, "correlation_id": None},
        "pageUrl": "https://shop.example.com/7",
        "attributes": {"rows": 3},
        "envVars": [{"name": "SHOP_KEY", "source": "workspace", "secret": True}],
        "usage": {"peakMemory": 1, "cpuSeconds": 0.5, "bytesReceived": 2, "traceSize": 3, "logSize": 4},
        "openTelemetry": {"traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "url": None},
        "missing": {"screenshot": "The page was closed."},
        "log": f"{place}/log",
        "trace": f"{place}/trace",
        "screenshot": None,
        "files": [],
        "takeovers": [{"from": "2026-11-24T10:00:00Z", "until": "2026-11-24T10:00:01Z", "by": "Maria"}],
    }
    assert (await api.ask(f"runs/{run_id}"))["attempts"] == [answer]


async def test_an_attempt_that_runs_has_a_log_to_be_followed(api: Api):
    run_id = await api.run()
    await store_record(api, attempt_record(run_id, 1, AttemptStatus.STARTED))
    await store_record(api, attempt_record(run_id, 2, AttemptStatus.INTERRUPTED))
    answer = await api.ask(f"runs/{run_id}")
    assert [attempt["log"] for attempt in answer["attempts"]] == [f"{RUNS}/{run_id}/attempts/1/log", None]
    await store_artifact(api, run_id, 2, "log/000000000000.jsonl", b"{}\n")
    assert (await api.ask(f"runs/{run_id}/attempts/2"))["log"] is not None


async def test_what_is_not_there_is_told_as_that(api: Api):
    run_id = await api.run()
    for place in ("", "/log", "/trace", "/screenshot"):
        assert "has no Attempt 2" in (await api.ask(f"runs/{run_id}/attempts/2{place}", status=404))["message"]
    await store_record(api, attempt_record(run_id))
    for what in ("log", "trace", "screenshot"):
        assert f"has left no {what}" in (await api.ask(f"runs/{run_id}/attempts/1/{what}", status=404))["message"]
        assert "no such Run" in (await api.ask(f"runs/nobody/attempts/1/{what}", status=404))["message"]


async def test_why_it_is_not_there_is_told_where_it_is_known(api: Api):
    run_id = await api.run()
    missing = {what: f"The {what} was lost." for what in ("log", "trace", "screenshot")}
    await store_record(api, attempt_record(run_id, 1, AttemptStatus.INTERRUPTED, missing=missing))
    assert (await api.ask(f"runs/{run_id}/attempts/1"))["missing"] == missing
    for what, why in missing.items():
        assert (await api.ask(f"runs/{run_id}/attempts/1/{what}", status=404))["message"].endswith(
            f"has left no {what}: {why}"
        )


async def test_a_log_that_is_there_after_all_is_not_missing(api: Api):
    """A worker that was lost has said so, or another for it; the one after it has found the log on its disk."""
    run_id = await api.run()
    missing = {"log": "The worker was lost before it had saved it.", "screenshot": "It, too."}
    await store_record(api, attempt_record(run_id, 1, AttemptStatus.INTERRUPTED, missing=missing))
    await store_artifact(api, run_id, 1, "log/000000000000.jsonl", b"{}\n")
    assert (await api.ask(f"runs/{run_id}/attempts/1"))["missing"] == missing
    await store_artifact(api, run_id, 1, "log.jsonl", b"{}\n")
    assert (await api.ask(f"runs/{run_id}/attempts/1"))["missing"] == {"screenshot": "It, too."}


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", "9" * 30])
async def test_an_attempt_has_a_number(api: Api, number: str):
    details = (await api.ask(f"runs/{await api.run()}/attempts/{number}", status=400))["details"]
    assert (details["path"], details["expected"]) == ("number", "the number of an Attempt, from 1")


async def test_a_trace_comes_as_the_file_that_was_stored(api: Api):
    run_id = await api.run()
    await store_record(api, attempt_record(run_id))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("trace.trace", b"x" * 1_000_000)
    await store_artifact(api, run_id, 1, "trace.zip", packed.getvalue())
    answer = await api.client.get(f"{RUNS}/{run_id}/attempts/1/trace")
    assert answer.status_code == 200
    assert answer.content == packed.getvalue()
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="trace_{run_id}_1.zip"'
    assert answer.headers["content-length"] == str(len(packed.getvalue()))


async def test_a_screenshot_comes_as_a_png(api: Api):
    run_id = await api.run()
    await store_record(api, attempt_record(run_id))
    await store_artifact(api, run_id, 1, "screenshot.png", b"picture")
    answer = await api.client.get(f"{RUNS}/{run_id}/attempts/1/screenshot")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"picture", "image/png")
    assert (await api.ask(f"runs/{run_id}/attempts/1"))["screenshot"] is not None


async def test_the_screenshot_of_one_that_completed_is_a_part_of_its_trace(api: Api):
    run_id = await api.run()
    await store_record(api, attempt_record(run_id, trace_picture=TracePicture(begin=3, size=7)))
    assert (await api.ask(f"runs/{run_id}/attempts/1"))["screenshot"] is None, "its trace is gone"
    await store_artifact(api, run_id, 1, "trace.zip", b"zippicture...")
    assert (await api.ask(f"runs/{run_id}/attempts/1"))["screenshot"] is not None
    answer = await api.client.get(f"{RUNS}/{run_id}/attempts/1/screenshot")
    assert (answer.content, answer.headers["content-type"]) == (b"picture", "image/jpeg")
