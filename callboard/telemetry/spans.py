"""The spans of this process and their export by OTLP, with the SDK of OpenTelemetry.

`callboard.telemetry.tracing` imports this module only when traces are wanted.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import override

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio.client import Interceptor
from temporalio.contrib.opentelemetry import OpenTelemetryInterceptor, ReplaySafeTracerProvider, create_tracer_provider

from callboard.settings import installed_version
from callboard.telemetry.span_interceptors import StartSpans, WorkSpans

FLUSH_TIMEOUT = 3.0
"""Seconds that a process takes at its end to send what has ended: a collector that does not answer holds up no stop."""

_TRACER = "callboard"
_EXPORT_LOGGERS = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")
_EXPORT_LOG_INTERVAL = 60.0
"""Seconds between two lines that say that spans cannot be exported: there would be several for each batch."""

_propagator = TraceContextTextMapPropagator()
"""Reads and writes `traceparent` and `tracestate` only. Baggage is not taken up, as a caller may keep secrets in it."""


class Spans:
    """The spans of this process."""

    def __init__(self, provider: ReplaySafeTracerProvider) -> None:
        """Make `provider` the one of this process, as the SDK's interceptor asks for it; that is possible once.

        Args:
            provider: A provider whose spans are safe in workflows that are replayed.
        """
        trace.set_tracer_provider(provider)
        self._provider = provider
        self._tracer = provider.get_tracer(_TRACER, installed_version())

    @classmethod
    def exporting(cls, service: str) -> Spans:
        """Return spans that are sent as the variables of OpenTelemetry say, by default in the name of `service`."""
        provider = create_tracer_provider(resource=_resource(service), shutdown_on_exit=False)
        limit = _OncePerInterval(_EXPORT_LOG_INTERVAL)
        for name in _EXPORT_LOGGERS:
            logging.getLogger(name).addFilter(limit)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    def stop(self) -> None:
        """Send the spans that have ended, and wait for that for `FLUSH_TIMEOUT` at most."""
        # The SDK's own shutdown may take longer than its timeout, since a request in progress is not cut off.
        sending = threading.Thread(target=self._provider.shutdown, name="flush spans", daemon=True)
        sending.start()
        sending.join(FLUSH_TIMEOUT)

    def interceptors(self) -> Sequence[Interceptor]:
        """Return the interceptors of a Temporal client and its workers.

        The SDK's carries the context on, in headers. Ours are on both sides of it: one is the first to see what a
        client starts, and the other the last to see what a worker executes, within the context that has come.
        """
        return (StartSpans(self._tracer), OpenTelemetryInterceptor(), WorkSpans(self._tracer))

    def current_trace_id(self) -> str | None:
        """Return the id of the current trace, also of one that is not sampled."""
        context = trace.get_current_span().get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else None

    def current_traceparent(self) -> str | None:
        """Return the current context as the header `traceparent`."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return carrier.get("traceparent")

    @contextmanager
    def request(self, headers: Mapping[str, str]) -> Generator[RequestSpan]:
        """Trace a request to the api, within the trace that its headers name."""
        carrier = {name: value for name in _propagator.fields if (value := headers.get(name)) is not None}
        with self._tracer.start_as_current_span(
            "request",
            context=_propagator.extract(carrier, Context()),
            kind=SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield RequestSpan(span)


class RequestSpan:
    """The span of a request to the api, which learns at its end what it was."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def set_end(self, *, method: str, route: str | None, status: int | None, run_id: str | None) -> None:
        """Say which route has answered, and how. The path itself is not told: it may hold more than ids."""
        self._span.update_name(f"{method} {route}" if route else method)
        self._span.set_attribute("http.request.method", method)
        for name, value in (("http.route", route), ("http.response.status_code", status), ("callboard.run_id", run_id)):
            if value is not None:
                self._span.set_attribute(name, value)
        if status is not None and status >= 500:
            self._span.set_status(StatusCode.ERROR)


class _OncePerInterval(logging.Filter):
    """Lets a record pass only if none has passed for some time."""

    def __init__(self, interval: float) -> None:
        super().__init__()
        self._interval = interval
        self._next = 0.0

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._interval
        return True


def _resource(service: str) -> Resource:
    """Return what all spans of this process say of it; what the variables say of it takes precedence."""
    own = Resource(
        {
            "service.name": service,
            "service.namespace": "callboard",
            "service.version": installed_version(),
            "service.instance.id": secrets.token_hex(8),
        }
    )
    return Resource.get_empty().merge(own).merge(OTELResourceDetector().detect())
