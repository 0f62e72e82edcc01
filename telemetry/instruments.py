"""The table of Callboard's own metrics: name, type, labels and meaning of each. docs/metrics.md has it, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_LONG = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0, 43_200.0)
"""Seconds, for what takes between a tenth of one and the twelve hours that an Attempt may take at most."""
_REQUEST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds, for requests. One that waits for a Run takes as long as it may wait."""

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Instrument:
    """One metric, without its values."""

    name: str
    """The name as code has it. The exporter appends `_total` to that of a counter."""
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    """One line, which stands in the exporter's HELP."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""

    @property
    def exported_name(self) -> str:
        """The name as Prometheus has it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


BUILD_INFO = Instrument("callboard_build_info", "gauge", ("version", "role"), "What runs here; the value is always 1.")
RUNS_ACCEPTED = Instrument("callboard_runs_accepted", "counter", ("project",), "Runs of APIs that were started.")
RUNS_ENDED = Instrument(
    "callboard_runs_ended", "counter", ("project", "status", "reason"), "Runs of APIs that have ended, and why so."
)
RUN_DURATION = Instrument(
    "callboard_run_duration_seconds",
    "histogram",
    ("project", "status"),
    "Time from the acceptance of a Run to its end.",
    _LONG,
)
RUN_WAIT = Instrument(
    "callboard_run_wait_seconds",
    "histogram",
    ("project",),
    "Time from the acceptance of a Run until its first Attempt, or check, began on a Machine.",
    _LONG,
)
RUNS_WAITING = Instrument("callboard_runs_waiting", "gauge", ("project",), "Runs that wait for a Machine.")
ATTEMPTS_ENDED = Instrument(
    "callboard_attempts_ended", "counter", ("project", "status"), "Attempts, checks and creates that have ended."
)
ATTEMPT_DURATION = Instrument(
    "callboard_attempt_duration_seconds",
    "histogram",
    ("project", "status"),
    "Time that Attempts, checks and creates were on a Machine.",
    _LONG,
)
MACHINES = Instrument(
    "callboard_machines", "gauge", ("project", "state"), "Machines that this worker may have, and that are up."
)
MACHINES_STARTED = Instrument("callboard_machines_started", "counter", ("project",), "Machines that were started.")
MACHINES_RECYCLED = Instrument(
    "callboard_machines_recycled", "counter", ("project", "cause"), "Machines that are gone, and why so."
)
MACHINES_MEMORY = Instrument(
    "callboard_machines_memory_bytes", "gauge", ("project",), "Memory that Machines have allocated, browsers included."
)
DELIVERIES_ENDED = Instrument(
    "callboard_deliveries_ended", "counter", ("project", "sink", "status"), "Deliveries that have ended."
)
DELIVERY_TRIES = Instrument("callboard_delivery_tries", "counter", ("sink", "outcome"), "Tries of Deliveries.")
AUTH_SESSION_CHECKS = Instrument(
    "callboard_auth_session_checks", "counter", ("project", "outcome"), "Checks of the login of an AuthSession."
)
AUTH_SESSION_CREATES = Instrument(
    "callboard_auth_session_creates", "counter", ("project", "outcome"), "Creates of a login of an AuthSession."
)
JOB_RUNS_ENDED = Instrument("callboard_job_runs_ended", "counter", ("project", "status"), "JobRuns that have ended.")
HTTP_REQUESTS = Instrument(
    "callboard_http_requests", "counter", ("method", "route", "status"), "Requests that the api has answered."
)
HTTP_REQUEST_DURATION = Instrument(
    "callboard_http_request_duration_seconds",
    "histogram",
    ("method", "route", "status"),
    "Time from a request to the end of its answer.",
    _REQUEST,
)

INSTRUMENTS = (
    BUILD_INFO,
    RUNS_ACCEPTED,
    RUNS_ENDED,
    RUN_DURATION,
    RUN_WAIT,
    RUNS_WAITING,
    ATTEMPTS_ENDED,
    ATTEMPT_DURATION,
    MACHINES,
    MACHINES_STARTED,
    MACHINES_RECYCLED,
    MACHINES_MEMORY,
    DELIVERIES_ENDED,
    DELIVERY_TRIES,
    AUTH_SESSION_CHECKS,
    AUTH_SESSION_CREATES,
    JOB_RUNS_ENDED,
    HTTP_REQUESTS,
    HTTP_REQUEST_DURATION,
)
