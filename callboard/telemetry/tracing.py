"""OpenTelemetry traces of this process: on if an endpoint for them is set, and otherwise nothing at all.

This module is imported by all who take part in traces. It imports the SDK of OpenTelemetry (in
`callboard.telemetry.spans`) only when tracing is started.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from callboard.telemetry.tracing_settings import is_tracing_wanted

if TYPE_CHECKING:
    from temporalio.client import Interceptor

    from callboard.telemetry.spans import RequestSpan, Spans


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
