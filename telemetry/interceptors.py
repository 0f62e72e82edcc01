"""The interceptors of all Temporal clients, and of the workers that use them."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.client import Interceptor

from telemetry.log_interceptor import LogContextInterceptor
from telemetry.tracing import tracing_interceptors


def client_interceptors() -> Sequence[Interceptor]:
    """Return what carries the context of logs, and that of traces if there are any."""
    return (LogContextInterceptor(), *tracing_interceptors())
