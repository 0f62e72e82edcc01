"""The Temporal SDK's runtime of a process, which exports its metrics if the settings name an address for that."""

from __future__ import annotations

import logging
from typing import Literal

from temporalio.runtime import LogForwardingConfig, LoggingConfig, PrometheusConfig, Runtime, TelemetryConfig

from callboard.schemas.errors import ConfigurationError
from callboard.settings import Settings, installed_version
from callboard.telemetry import metrics
from callboard.telemetry.addresses import listen
from callboard.telemetry.logs import wants_json_logs

_VARIABLE = "CALLBOARD_METRICS_ADDRESS"

Role = Literal["api", "worker"]


def install_runtime(settings: Settings, role: Role) -> None:
    """Make the runtime of this process, once, before anything connects to Temporal.

    With an address, the runtime's own HTTP server answers `/metrics` there until the process ends, from threads of its
    own. Without one, all instruments of `callboard.telemetry.metrics` do nothing.

    Args:
        settings: The settings of the process.
        role: What the process is.

    Raises:
        ConfigurationError: Nothing can listen at the address.
    """
    runtime = make_runtime(settings.metrics_address)
    Runtime.set_default(runtime)
    if settings.metrics_address is not None:
        metrics.install(runtime.metric_meter)
        metrics.current().process_started(version=installed_version(), role=role)


def make_runtime(metrics_address: str | None) -> Runtime:
    """Return a runtime that exports its metrics at this address, for as long as there are references to it.

    Raises:
        ConfigurationError: Nothing can listen at the address.
    """
    exporter = None if metrics_address is None else _exporter(metrics_address)
    # No `service_name`: Prometheus itself says of each sample where it comes from.
    telemetry = TelemetryConfig(logging=core_logging(), metrics=exporter, attach_service_name=False)
    try:
        return Runtime(telemetry=telemetry)
    except ValueError as error:  # somebody has taken the port since we have looked
        raise ConfigurationError(f"{_VARIABLE}: {error}.") from error


def _exporter(address: str) -> PrometheusConfig:
    """Return the configuration of the exporter. Raises ConfigurationError."""
    # The SDK takes no host names, and says of a port that is taken only that it is.
    with listen(_VARIABLE, address) as probe:
        host, port = probe.getsockname()[:2]
    return PrometheusConfig(
        bind_address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides={each.name: each.buckets for each in metrics.INSTRUMENTS if each.buckets},
    )


def core_logging() -> LoggingConfig:
    """Return how the core logs: on the console by itself, or through Python's log where that is JSON."""
    if not wants_json_logs():
        return LoggingConfig.default
    forwarding = LogForwardingConfig(
        logging.getLogger("temporalio.core"), append_target_to_name=False, prepend_target_on_message=True
    )
    return LoggingConfig(filter=LoggingConfig.default.filter, forwarding=forwarding)
