"""Which variables of OpenTelemetry turn traces on, and which are refused."""

from __future__ import annotations

import pytest

from callboard.schemas.errors import ConfigurationError
from callboard.telemetry.tracing_settings import is_tracing_wanted

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
