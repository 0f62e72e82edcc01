"""The log of the core of Temporal's SDK, which is written in Rust."""

from __future__ import annotations

import logging

from temporalio.runtime import LogForwardingConfig, LoggingConfig

from telemetry.logs import wants_json_logs


def core_logging() -> LoggingConfig:
    """Return how the core logs: on the console by itself, or through Python's log where that is JSON."""
    if not wants_json_logs():
        return LoggingConfig.default
    forwarding = LogForwardingConfig(
        logging.getLogger("temporalio.core"), append_target_to_name=False, prepend_target_on_message=True
    )
    return LoggingConfig(filter=LoggingConfig.default.filter, forwarding=forwarding)
