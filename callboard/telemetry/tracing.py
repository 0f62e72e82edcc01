"""OpenTelemetry traces of this process: on if an endpoint for them is set, and otherwise nothing at all.

This module is imported by all who take part in traces. It imports the SDK of OpenTelemetry (in
`callboard.telemetry.spans`) only when tracing is started.

The SDK reads the variables of OpenTelemetry by itself, but would only warn of a value that it cannot use, and would
quote headers, which hold secrets. So those that decide whether and how traces are exported are read here before, and
wrong ones are refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from callboard.schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from temporalio.client import Interceptor

    from callboard.telemetry.spans import RequestSpan, Spans

_PREFIXES = ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_")
_ENDPOINTS = tuple(f"{prefix}ENDPOINT" for prefix in _PREFIXES)
_EXPORTER = "OTEL_TRACES_EXPORTER"
_SAMPLER = "OTEL_TRACES_SAMPLER"
_SAMPLER_ARGUMENT = "OTEL_TRACES_SAMPLER_ARG"

_HEADER = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[^,]*"
_RULES = {
    "ENDPOINT": (
        r"https?://([^/?#@:\s\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/\S*)?",
        "an address like http://collector:4318, without credentials: these belong in the headers",
    ),
    "PROTOCOL": ("http/protobuf", "http/protobuf, the only protocol that Callboard speaks"),
    "HEADERS": (
        rf"({_HEADER})?(\s*,\s*({_HEADER})?)*",
        "a list like name=value,name=value, with values in URL encoding",
    ),
    "TIMEOUT": (r"(?=.*[1-9])[0-9]+(\.[0-9]+)?", "a number of seconds above 0"),
    "COMPRESSION": ("none|gzip|deflate", "none, gzip or deflate"),
}
"""Forms of the exporter's variables, by the ends of their names, and how errors describe them."""
_SAMPLERS = (
    "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio"
)


def is_tracing_wanted(variables: Mapping[str, str]) -> bool:
    """Tell whether traces are exported: an endpoint is set, and nothing turns them off.

    Raises:
        ConfigurationError: A variable has a value that cannot be used.
    """
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or not trace_endpoints(variables):
        return False
    _check(variables, _EXPORTER, "otlp|none", "otlp or none")
    if variables.get(_EXPORTER, "").strip() == "none":
        return False
    for end, (form, expected) in _RULES.items():
        for prefix in _PREFIXES:
            _check(variables, f"{prefix}{end}", form, expected)
    _check(variables, _SAMPLER, _SAMPLERS.replace(", ", "|"), f"one of {_SAMPLERS}")
    if variables.get(_SAMPLER, "").strip().endswith("traceidratio"):
        _check(variables, _SAMPLER_ARGUMENT, r"0?\.[0-9]+|0|1|1\.0*", "a number from 0 to 1")
    return True


def trace_endpoints(variables: Mapping[str, str]) -> list[str]:
    """Return the addresses of the collectors that are named, whether traces are exported or not."""
    return [value for name in _ENDPOINTS if (value := variables.get(name, "").strip())]


def _check(variables: Mapping[str, str], name: str, form: str, expected: str) -> None:
    """Raise ConfigurationError if a variable is set to anything but this form. The value may be a secret."""
    value = variables.get(name, "").strip()
    if value and not re.fullmatch(form, value):
        raise ConfigurationError(f"{name} must be {expected}.")


class _Process:
    """What this process has for traces; OpenTelemetry's provider is one for each process, too."""

    spans: Spans | None = None


def start_tracing(service: str) -> None:
    """Begin to trace, if the variables of OpenTelemetry ask for that. The process calls this once, as it starts.

    Args:
        service: The name of the service, unless a variable gives it another one.

    Raises:
        ConfigurationError: A variable has a value that cannot be used.
    """
    if _Process.spans is None and is_tracing_wanted(os.environ):
        from callboard.telemetry.spans import Spans  # whoever does not trace does not pay for the import

        _Process.spans = Spans.exporting(service)


def stop_tracing() -> None:
    """Send the spans that have ended, within bounded time, and trace no longer."""
    spans, _Process.spans = _Process.spans, None
    if spans is not None:
        spans.stop()


def tracing_interceptors() -> Sequence[Interceptor]:
    """Return the interceptors of a Temporal client, and of its workers, that carry traces on; none if off."""
    return () if _Process.spans is None else _Process.spans.interceptors()


def current_trace_id() -> str | None:
    """Return the id of the trace that this task belongs to, in 32 hexadecimal digits; None if there is none."""
    return None if _Process.spans is None else _Process.spans.current_trace_id()


def current_traceparent() -> str | None:
    """Return the header `traceparent` with which others take part in the trace of this task, or None."""
    return None if _Process.spans is None else _Process.spans.current_traceparent()


@contextmanager
def request_span(headers: Mapping[str, str]) -> Generator[RequestSpan | None]:
    """Trace a request to the api in the block, within the caller's trace if its headers name one."""
    if _Process.spans is None:
        yield None
        return
    with _Process.spans.request(headers) as span:
        yield span
