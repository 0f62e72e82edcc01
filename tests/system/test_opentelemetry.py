"""OpenTelemetry traces and JSON logs of a whole stack, as `callboard dev` with a collector beside it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.files import write_files
from tests.support.otlp_collector import CollectedSpan, Collector, otlp_collector
from tests.support.polling import until
from tests.support.processes import CALLBOARD, running, surroundings
from tests.support.rest import Rest
from tests.support.webhook_receiver import Receiver, receiver

pytestmark = pytest.mark.timeout(240)

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
HIDDEN = "t0p-s3cret-of-a-trace"
TRACE_PAGE = "https://traces.example.com/trace"

TELLS = """
import os

from intuned_runtime import run_info


async def automation(page, params=None, **_):
    variables = {name: value for name, value in os.environ.items() if name.startswith(("OTEL", "TRACE"))}
    return {"traceId": run_info().trace_id, "traceparent": run_info().traceparent, "variables": variables}
"""
FAILS = "async def automation(page, params=None, **_):\n    raise ValueError(params['why'])\n"
PROJECTS = {
    "traced/Intuned.json": '{"projectName": "traced", "replication": {"maxConcurrentRequests": 2}}',
    "traced/api/tells.py": TELLS,
    "traced/api/fails.py": FAILS,
    "members/Intuned.json": '{"projectName": "members", "authSessions": {"enabled": true, "type": "API"}}',
    "members/api/tells.py": TELLS,
    "members/auth-sessions/check.py": "async def check(page, **_):\n    return True\n",
    "members/auth-sessions/create.py": "async def create(page, params=None, **_):\n    pass\n",
}


@dataclass
class Dev:
    """A running `callboard dev`."""

    rest: Rest
    data: Path

    async def start(self, api: str, *, traceparent: str | None = None, **fields: Any) -> str:
        return await self.rest.start(api, headers=traceparent and {"traceparent": traceparent}, **fields)

    async def ended(self, run_id: str, project: str = "traced") -> dict[str, Any]:
        """All that is told of the Run, once it has ended."""
        await self.rest.result(run_id, project=project)
        return await self.rest.get(f"runs/{run_id}", project=project)

    def records(self, name: str) -> list[dict[str, Any]]:
        """All lines of a log, each of which is a JSON object."""
        return [json.loads(line) for line in (self.data / "logs" / f"{name}.log").read_text().splitlines()]


@asynccontextmanager
async def dev_process(folder: Path, **variables: str) -> AsyncGenerator[Dev]:
    """`callboard dev` with these variables. Every line that it writes itself is checked at its end."""
    write_files(folder / "projects", PROJECTS)
    data, log = folder / "data", folder / "log"
    options = (f"--data={data}", "--port=0", "--temporal-port=0", "--ui-port=0")
    environment = surroundings(CALLBOARD_LOG_FORMAT="json", **variables)
    async with running(CALLBOARD, "dev", folder / "projects", *options, log=log, env=environment) as process:
        connection = data / "dev.json"
        await until(lambda: connection.exists() or process.returncode is not None, 120)
        assert process.returncode is None, log.read_text()
        said = json.loads(connection.read_text())
        async with Rest.of(said["url"], key=said["apiKey"], project="traced") as rest:
            yield Dev(rest, data)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 90) == 0
    told = [json.loads(line)["message"] for line in log.read_text().splitlines()]
    assert told[0] == "Starting …"
    assert told[-1] == "Stopped."
    assert not any(said["apiKey"] in line for line in told)


@pytest.fixture(scope="module")
async def collector() -> AsyncIterator[Collector]:
    async with otlp_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
async def dev(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> AsyncIterator[Dev]:
    async with dev_process(
        tmp_path_factory.mktemp("traced"),
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization={HIDDEN}",
        OTEL_BSP_SCHEDULE_DELAY="100",
        CALLBOARD_OTEL_TRACE_URL=f"{TRACE_PAGE}/{{trace_id}}",
    ) as dev:
        yield dev


@pytest.fixture
async def inbox() -> AsyncIterator[Receiver]:
    async with receiver() as inbox:
        yield inbox


def one(spans: list[CollectedSpan], name: str) -> CollectedSpan:
    (span,) = [span for span in spans if span.name == name]
    return span


async def test_a_run_is_in_the_trace_of_its_caller_from_request_to_delivery(
    dev: Dev, collector: Collector, inbox: Receiver
) -> None:
    sink = {"type": "webhook", "url": f"{inbox.url}/in?token={HIDDEN}", "headers": {"x-own": HIDDEN}}
    parameters = {"password": HIDDEN}
    caller = f"00-{TRACE_ID}-{CALLER}-01"
    run_id = await dev.start("tells", parameters=parameters, sink=sink, traceparent=caller)
    run = await dev.ended(run_id)
    spans = await collector.until("Delivery", "Delivery try", trace_id=TRACE_ID)
    start = one(spans, "POST /api/v1/workspace/{workspaceId}/projects/{projectName}/run/start")
    of_run, attempt, delivery, sent = (one(spans, name) for name in ("Run", "Attempt", "Delivery", "Delivery try"))
    assert [start.parent_id, of_run.parent_id, attempt.parent_id, delivery.parent_id, sent.parent_id] == [
        *(CALLER, start.span_id, of_run.span_id, of_run.span_id, delivery.span_id)
    ]
    assert len(spans) == 5
    assert {span.service for span in (start,)} == {"callboard-api"}
    assert {span.service for span in (of_run, attempt, delivery, sent)} == {"callboard-worker"}
    assert attempt.attributes == {
        "callboard.project": "traced",
        "callboard.api": "tells",
        "callboard.run_id": run_id,
        "callboard.attempt": 1,
        "callboard.try": 1,
        "callboard.status": "completed",
    }
    assert of_run.seconds >= attempt.seconds > 0
    assert start.attributes["callboard.run_id"] == run_id

    told = {"traceId": TRACE_ID, "url": f"{TRACE_PAGE}/{TRACE_ID}"}
    assert run["openTelemetry"] == told
    assert run["attempts"][0]["openTelemetry"] == told
    traceparent = f"00-{TRACE_ID}-{attempt.span_id}-01"
    assert run["result"] == {
        "traceId": TRACE_ID,
        "traceparent": traceparent,
        "variables": {"TRACEPARENT": traceparent},
    }
    (request,) = inbox.received
    assert request.headers["traceparent"] == f"00-{TRACE_ID}-{sent.span_id}-01"
    assert HIDDEN not in str(collector.spans)
    assert all(request.headers["authorization"] == HIDDEN for request in collector.inbox.received)


async def test_the_attempts_of_a_run_are_in_one_trace_and_say_how_they_failed(dev: Dev, collector: Collector) -> None:
    run_id = await dev.start("fails", parameters={"why": HIDDEN}, retry={"maximumAttempts": 2})
    run = await dev.ended(run_id)
    spans = await collector.until("Run", trace_id=run["openTelemetry"]["traceId"])
    attempts = [span for span in spans if span.name == "Attempt"]
    assert [(span.attributes["callboard.attempt"], span.failed) for span in attempts] == [(1, True), (2, True)]
    of_run = one(spans, "Run")
    assert of_run.failed
    assert of_run.attributes["error.type"] == "api-attempts-failed"
    assert {span.attributes["error.type"] for span in attempts} == {"script-execution-exception"}
    assert HIDDEN not in str(spans)


async def test_a_validate_and_a_create_belong_to_who_has_asked_for_them(dev: Dev, collector: Collector) -> None:
    body = {"id": "anna", "parameters": {"password": HIDDEN}}
    headers = {"traceparent": f"00-{'a' * 32}-{CALLER}-01"}
    await dev.rest.post("auth-sessions/create", body, project="members", headers=headers)
    created = await collector.until("Create", trace_id="a" * 32)
    assert one(created, "Attempt (create)").parent_id == one(created, "Create").span_id

    caller = f"00-{'b' * 32}-{CALLER}-01"
    run_id = await dev.start("tells", project="members", authSession={"id": "anna"}, traceparent=caller)
    await dev.ended(run_id, "members")
    spans = await collector.until("Run", trace_id="b" * 32)
    validate = one(spans, "Validate")
    assert validate.parent_id == one(spans, "Run").span_id
    assert one(spans, "Attempt (check)").parent_id == validate.span_id
    told = await dev.rest.get(f"runs/{validate.attributes['callboard.run_id']}", project="members")
    assert told["openTelemetry"]["traceId"] == "b" * 32


async def test_each_run_of_a_job_run_has_a_trace_with_a_link_to_it(dev: Dev, collector: Collector) -> None:
    job = {"id": "two", "configuration": {}, "payload": [{"apiName": "tells", "parameters": {}}] * 2}
    await dev.rest.post("jobs", job)
    await dev.rest.post("jobs/two/trigger", headers={"traceparent": f"00-{'c' * 32}-{CALLER}-01"})
    await collector.until("JobRun")
    job_run = one(collector.spans, "JobRun")
    starts = [span for span in collector.spans if span.name == "Start of a Run by a JobRun"]
    assert [span.links for span in starts] == [(job_run.trace_id,)] * 2
    traces = {span.trace_id for span in starts}
    assert len(traces | {job_run.trace_id}) == 3
    for trace_id in traces:
        assert one(await collector.until("Run", trace_id=trace_id), "Run").parent_id in {s.span_id for s in starts}


async def test_a_trace_that_is_not_sampled_has_its_id_and_no_spans(dev: Dev, collector: Collector) -> None:
    trace_id = "d" * 32
    run = await dev.ended(await dev.start("tells", traceparent=f"00-{trace_id}-{CALLER}-00"))
    assert run["openTelemetry"]["traceId"] == run["result"]["traceId"] == trace_id
    assert run["result"]["traceparent"].endswith("-00")
    # A later one has come, so this one would have.
    later = await dev.ended(await dev.start("tells"))
    await collector.until("Run", trace_id=later["openTelemetry"]["traceId"])
    assert [span for span in collector.spans if span.trace_id == trace_id] == []


async def test_a_trace_that_nobody_with_a_key_has_named_is_not_taken_up(dev: Dev, collector: Collector) -> None:
    foreign = f"00-{'e' * 32}-{CALLER}-01"
    answer = await dev.rest.request("GET", "runs", headers={"x-api-key": "wrong", "traceparent": foreign})
    assert answer.status_code == 401
    assert (await dev.rest.http.get("/sign-in", headers={"traceparent": foreign})).status_code == 200
    await collector.until("GET /sign-in")
    assert [span for span in collector.spans if span.trace_id == "e" * 32] == []


async def test_logs_are_json_and_tell_what_they_belong_to(dev: Dev) -> None:
    run_id = await dev.start("tells", traceparent=f"00-{'f' * 32}-{CALLER}-01")
    await dev.ended(run_id)
    started, *_ = [record for record in dev.records("api") if record.get("runId") == run_id]
    assert (started["project"], started["traceId"]) == ("traced", "f" * 32)
    assert "correlationId" in started
    (ended,) = [record for record in dev.records("worker") if record.get("runId") == run_id]
    assert (ended["project"], ended["attempt"], ended["traceId"]) == ("traced", 1, "f" * 32)
    assert ended["message"].startswith(f"Attempt 1 of Run {run_id}: completed after ")
    for record in (*dev.records("api"), *dev.records("worker")):
        assert {"time", "level", "logger", "message"} <= record.keys()
        assert HIDDEN not in str(record)
    assert any(record["message"].startswith("Application startup complete") for record in dev.records("api"))


async def test_a_collector_that_is_gone_holds_up_nothing(dev: Dev, collector: Collector) -> None:
    """No test that comes after this one has a collector."""
    await collector.inbox.close()
    run = await dev.ended(await dev.start("tells"))
    assert run["status"] == "completed"
    await until(lambda: any("while exporting" in record["message"] for record in dev.records("worker")))
    run = await dev.ended(await dev.start("tells"))
    assert run["result"]["traceId"] == run["openTelemetry"]["traceId"]
