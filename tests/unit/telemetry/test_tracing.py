"""Traces of a process: off unless they are wanted, and never in the way."""

from __future__ import annotations

import sys

import pytest

from tests.support.otlp_collector import otlp_collector
from tests.support.processes import execute, surroundings
from tests.support.repository import REPOSITORY
from tests.support.webhook_receiver import hangs, receiver

TRACES_ONE = """
from callboard.telemetry import tracing
tracing.start_tracing("part")
with tracing.request_span({}) as span:
    assert tracing.current_trace_id() and tracing.current_traceparent()
    span.set_end(method="GET", route="/x", status=503, run_id=None)
tracing.stop_tracing()
assert tracing.current_trace_id() is None
print("stopped")
"""
LOADED = "sorted(name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter')))"


async def output(code: str, **variables: str) -> str:
    """What a process prints that executes this."""
    done = await execute(sys.executable, "-c", code, env=surroundings(**variables), cwd=REPOSITORY)
    assert done.code == 0, done
    return done.out.strip()


@pytest.mark.parametrize("module", ["worker", "api.app", "callboard.cli.main"])
async def test_who_does_not_trace_does_not_import_the_sdk(module: str) -> None:
    code = f"import sys, {module}\nfrom callboard.telemetry import tracing\ntracing.start_tracing('x')\nprint({LOADED})"
    assert await output(code, OTEL_SERVICE_NAME="callboard") == "[]"


async def test_spans_that_have_ended_are_sent_before_the_process_ends() -> None:
    async with otlp_collector() as collector:
        variables = {"OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
        assert await output(TRACES_ONE, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **variables) == "stopped"
        (span,) = collector.spans
        (request,) = collector.inbox.received
    assert (span.service, span.name, span.kind, span.failed) == ("mine", "GET /x", "SERVER", True)
    assert request.target == "/v1/traces"
    assert request.headers["content-type"] == "application/x-protobuf"


async def test_a_collector_that_never_answers_does_not_hold_up_the_end() -> None:
    async with receiver(hangs) as inbox:
        # Without a bound of its own, the process would wait for longer than this test may last.
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": inbox.url, "OTEL_EXPORTER_OTLP_TIMEOUT": "3600"}
        assert await output(TRACES_ONE, **variables) == "stopped"
        assert len(inbox.received) == 1


async def test_a_ratio_decides_which_traces_are_sent_and_all_have_an_id() -> None:
    async with otlp_collector() as collector:
        sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
        assert await output(TRACES_ONE, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **sampler) == "stopped"
    assert collector.spans == []
