"""Traces of a process: off unless they are wanted, and never in the way; which variables turn them on."""

from __future__ import annotations

import sys

import pytest

from callboard.schemas.errors import ConfigurationError
from callboard.telemetry.tracing import is_tracing_wanted
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


async def output(code: str, **variables: str) -> str:
    """What a process prints that executes this."""
    done = await execute(sys.executable, "-c", code, env=surroundings(**variables), cwd=REPOSITORY)
    assert done.code == 0, done
    return done.out.strip()


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


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    "variables",
    [
        ENDPOINT,
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector.example.com/v1/traces"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "false", "OTEL_TRACES_EXPORTER": "otlp"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5"},
        {**ENDPOINT, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc, x-scope=1,"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"},
    ],
)
def test_an_endpoint_turns_traces_on(variables: dict[str, str]) -> None:
    assert is_tracing_wanted(variables)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_SERVICE_NAME": "callboard", "OTEL_TRACES_EXPORTER": "otlp"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "True"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_traces_are_off_otherwise(variables: dict[str, str]) -> None:
    assert not is_tracing_wanted(variables)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "an address like"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@collector:4318", "without credentials"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:port", "an address like"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer secret", "name=value"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=1,secret", "name=value"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "a number of seconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "gzip"),
        ("OTEL_TRACES_EXPORTER", "console", "otlp or none"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "always_on"),
    ],
)
def test_what_cannot_be_used_is_refused_without_telling_it(name: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must be .*{expected}") as refused:
        is_tracing_wanted({**ENDPOINT, name: value})
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("argument", ["2", "-0.1", "half"])
def test_a_ratio_is_from_0_to_1(argument: str) -> None:
    with pytest.raises(ConfigurationError, match="OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1"):
        is_tracing_wanted({**ENDPOINT, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": argument})
