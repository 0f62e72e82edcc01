"""The spans of Runs: one for each, whatever happens to their workers, and none of a replay."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import Client, WorkflowHistory
from temporalio.contrib.opentelemetry import create_tracer_provider
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Interceptor, Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from callboard.schemas.workflow import names
from callboard.telemetry.spans import Spans
from tests.support.auth_stage import LoginStage
from tests.support.repository import REPOSITORY
from tests.support.run_stage import WORKFLOWS, HeldAttempt, RunStage, completed, ends, failed
from tests.support.stage import name_of
from tests.support.temporal_servers import dev_client, dev_server

HISTORIES = REPOSITORY / "tests" / "histories"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

_exporter = InMemorySpanExporter()


@pytest.fixture(scope="session")
def all_spans() -> Spans:
    """The spans of this process: OpenTelemetry has one provider for each."""
    provider = create_tracer_provider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(_exporter))
    return Spans(provider)


@pytest.fixture
def spans(all_spans: Spans) -> Iterator[Spans]:
    _exporter.clear()
    yield all_spans
    _exporter.clear()


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    async with dev_server(tmp_path_factory.mktemp("temporal")) as server:
        yield await dev_client(server)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return name_of(request.node.name)


@pytest.fixture
def client(temporal: Client, spans: Spans) -> Client:
    """A client that traces, and so do workers that use it."""
    options = temporal.config()
    options["interceptors"] = spans.interceptors()
    return Client(**options)


@pytest.fixture
async def stage(name: str, client: Client) -> AsyncIterator[RunStage]:
    async with RunStage(client, name) as stage:
        yield stage


@dataclass(frozen=True)
class Ended:
    """What is looked at of a span that was exported."""

    trace_id: str
    id: str
    parent: str | None
    status: object
    failed: bool
    start: int
    end: int


def ended(name: str) -> list[Ended]:
    """The spans of this name that were exported."""
    return [_ended(json.loads(span.to_json())) for span in _exporter.get_finished_spans() if span.name == name]


def _ended(span: dict[str, Any]) -> Ended:
    return Ended(
        trace_id=span["context"]["trace_id"].removeprefix("0x"),
        id=span["context"]["span_id"],
        parent=span["parent_id"],
        status=span["attributes"].get("callboard.status"),
        failed=span["status"]["status_code"] == "ERROR",
        start=_nanoseconds(span["start_time"]),
        end=_nanoseconds(span["end_time"]),
    )


def _nanoseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1e9)


@pytest.mark.parametrize("cached", [0, 100])
@pytest.mark.parametrize("runner", [SandboxedWorkflowRunner(), UnsandboxedWorkflowRunner()])
async def test_a_run_has_one_span_around_its_attempts(
    stage: RunStage, spans: Spans, runner: WorkflowRunner, cached: int
) -> None:
    stage.workflow_options = {"workflow_runner": runner, "max_cached_workflows": cached}
    await stage.serve(ends(failed()), ends(completed()))
    with spans.request({"traceparent": TRACEPARENT}):
        await stage.start()
        trace_id = spans.current_trace_id()
    await stage.ended()
    (request,), (run,), attempts = ended("request"), ended("Run"), ended("Attempt")
    assert trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert {span.trace_id for span in (request, run, *attempts)} == {trace_id}
    assert run.parent == request.id
    assert [(span.parent, span.failed) for span in attempts] == [(run.id, True), (run.id, False)]
    assert run.status == "completed"
    assert run.end > attempts[1].end
    described = await stage.handle.describe()
    assert await described.memo_value(names.MEMO_TRACE_ID) == trace_id


async def test_a_run_that_changes_its_worker_has_one_span_from_its_beginning(stage: RunStage, spans: Spans) -> None:
    stage.workflow_options = {"max_cached_workflows": 100}
    held = HeldAttempt(stage, announced=True)
    await stage.serve(held)
    with spans.request({}):
        await stage.start()
    await held.began.wait()
    await stage.stop_serving_runs()
    assert ended("Run") == []  # It was evicted from the cache of that worker.
    held.end(completed())
    await stage.serve_runs()
    await stage.ended()
    ((run,), (attempt,)) = ended("Run"), ended("Attempt")
    assert attempt.parent == run.id
    assert run.start <= attempt.start
    assert run.end >= attempt.end


async def test_a_run_that_is_canceled_has_not_failed(stage: RunStage, spans: Spans) -> None:
    held = HeldAttempt(stage, announced=True, beats=True)
    await stage.serve(held)
    with spans.request({}):
        await stage.start()
    await held.began.wait()
    await stage.handle.cancel()
    await stage.ended()
    (run,) = ended("Run")
    assert (run.status, run.failed) == ("canceled", False)


async def test_a_create_is_in_the_trace_of_the_run_that_has_found_the_login_bad(
    name: str, client: Client, spans: Spans
) -> None:
    async with LoginStage(client, name) as stage:
        await stage.serve(ends(completed()), ends(completed()))
        with spans.request({}):
            await stage.bring_up()
        with spans.request({"traceparent": TRACEPARENT}):
            await stage.start(auth=stage.auth())
        await stage.ended()
        ((run,), (validate,), (create,)) = ended("Run"), ended("Validate"), ended("Create")
        assert {run.trace_id, validate.trace_id, create.trace_id} == {TRACEPARENT.split("-")[1]}
        assert (validate.parent, create.parent) == (run.id, validate.id)
        assert {span.parent for span in ended("Attempt (check)")} == {validate.id}
        assert {span.parent for span in ended("Attempt (create)")} == {create.id}


async def test_a_run_that_came_without_a_trace_begins_one(stage: RunStage) -> None:
    await stage.serve(ends(completed()))
    await stage.start()
    await stage.ended()
    (run,) = ended("Run")
    assert run.parent is None


async def test_recorded_histories_replay_and_make_no_spans(spans: Spans) -> None:
    interceptors = [each for each in spans.interceptors() if isinstance(each, Interceptor)]
    for runner in (SandboxedWorkflowRunner(), UnsandboxedWorkflowRunner()):
        replayer = Replayer(
            workflows=WORKFLOWS,
            data_converter=pydantic_data_converter,
            interceptors=interceptors,
            workflow_runner=runner,
        )
        for name in ("retry", "success"):
            history = WorkflowHistory.from_json(f"run-{name}", (HISTORIES / f"{name}.json").read_text())
            await replayer.replay_workflow(history)
    assert _exporter.get_finished_spans() == ()
