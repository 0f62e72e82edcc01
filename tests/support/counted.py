"""What is counted while a block lasts, by a real meter of the SDK."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from temporalio.common import MetricMeter
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig

from callboard.telemetry import metrics

Counted = Callable[[], list[tuple[str, float, dict[str, Any]]]]
"""Returns name, value and labels of what was counted since it was asked last."""


@contextmanager
def counting() -> Generator[Counted]:
    """Turn Callboard's metrics on."""
    buffer = MetricBuffer(10_000)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer, attach_service_name=False))
    metrics.install(runtime.metric_meter)
    try:
        yield lambda: [
            (update.metric.name, update.value, dict(update.attributes)) for update in buffer.retrieve_updates()
        ]
    finally:
        metrics.install(MetricMeter.noop)
