"""What the processes count: a table of all metrics, which docs/metrics.md has, too, and a method for each event.

Like the log, the metrics belong to the process, and code that counts something asks for `current()`. Nothing is counted
until `install` gives them a meter of the SDK. `callboard.temporal.workflow_metrics` counts workflows by these methods.

The label `project` has names of deployed projects only, and no label has what a caller can invent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from temporalio.common import MetricCounter, MetricGauge, MetricHistogramFloat, MetricMeter

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


INSTRUMENTS = (
    Instrument("callboard_build_info", "gauge", ("version", "role"), "What runs here; the value is always 1."),
    Instrument("callboard_runs_accepted", "counter", ("project",), "Runs of APIs that were started."),
    Instrument(
        "callboard_runs_ended", "counter", ("project", "status", "reason"), "Runs of APIs that have ended, and why so."
    ),
    Instrument(
        "callboard_run_duration_seconds",
        "histogram",
        ("project", "status"),
        "Time from the acceptance of a Run to its end.",
        _LONG,
    ),
    Instrument(
        "callboard_run_wait_seconds",
        "histogram",
        ("project",),
        "Time from the acceptance of a Run until its first Attempt, or check, began on a Machine.",
        _LONG,
    ),
    Instrument("callboard_runs_waiting", "gauge", ("project",), "Runs that wait for a Machine."),
    Instrument(
        "callboard_attempts_ended", "counter", ("project", "status"), "Attempts, checks and creates that have ended."
    ),
    Instrument(
        "callboard_attempt_duration_seconds",
        "histogram",
        ("project", "status"),
        "Time that Attempts, checks and creates were on a Machine.",
        _LONG,
    ),
    Instrument(
        "callboard_machines", "gauge", ("project", "state"), "Machines that this worker may have, and that are up."
    ),
    Instrument("callboard_machines_started", "counter", ("project",), "Machines that were started."),
    Instrument("callboard_machines_recycled", "counter", ("project", "cause"), "Machines that are gone, and why so."),
    Instrument(
        "callboard_machines_memory_bytes",
        "gauge",
        ("project",),
        "Memory that Machines have allocated, browsers included.",
    ),
    Instrument("callboard_handoffs_open", "gauge", ("project",), "Questions with which Attempts wait for a person."),
    Instrument("callboard_handoffs_ended", "counter", ("project", "kind", "status"), "Questions that have ended."),
    Instrument("callboard_deliveries_ended", "counter", ("project", "sink", "status"), "Deliveries that have ended."),
    Instrument("callboard_delivery_tries", "counter", ("sink", "outcome"), "Tries of Deliveries."),
    Instrument(
        "callboard_auth_session_checks", "counter", ("project", "outcome"), "Checks of the login of an AuthSession."
    ),
    Instrument(
        "callboard_auth_session_creates", "counter", ("project", "outcome"), "Creates of a login of an AuthSession."
    ),
    Instrument("callboard_job_runs_ended", "counter", ("project", "status"), "JobRuns that have ended."),
    Instrument(
        "callboard_http_requests", "counter", ("method", "route", "status"), "Requests that the api has answered."
    ),
    Instrument(
        "callboard_http_request_duration_seconds",
        "histogram",
        ("method", "route", "status"),
        "Time from a request to the end of its answer.",
        _REQUEST,
    ),
    Instrument(
        "callboard_audit_entries_lost", "counter", (), "Entries of the audit that the artifact store did not take."
    ),
)


class Metrics:
    """The instruments of a process."""

    def __init__(self, meter: MetricMeter) -> None:
        self._meter = meter
        self._instruments: dict[str, Any] = {each.name: _make(each, meter) for each in INSTRUMENTS}

    @property
    def is_on(self) -> bool:
        """Whether anybody can read what is counted. It matters only to those who would work to find out a number."""
        return self._meter is not MetricMeter.noop

    def process_started(self, *, version: str, role: str) -> None:
        """Say what this process is."""
        self._instruments["callboard_build_info"].set(1, {"version": version, "role": role})

    def run_accepted(self, project: str) -> None:
        """Count a Run that was started."""
        self._instruments["callboard_runs_accepted"].add(1, {"project": project})

    def run_ended(self, project: str, *, status: str, reason: str, duration: timedelta, wait: timedelta | None) -> None:
        """Count a Run that has ended; `wait` is None if nothing of it began on a Machine."""
        self._instruments["callboard_runs_ended"].add(1, {"project": project, "status": status, "reason": reason})
        self._instruments["callboard_run_duration_seconds"].record(
            _seconds(duration), {"project": project, "status": status}
        )
        if wait is not None:
            self._instruments["callboard_run_wait_seconds"].record(_seconds(wait), {"project": project})

    def runs_waiting(self, project: str, count: int) -> None:
        """Tell how many Runs of the project wait."""
        self._instruments["callboard_runs_waiting"].set(count, {"project": project})

    def attempt_ended(self, project: str, *, status: str, duration: timedelta | None) -> None:
        """Count an Attempt, check or create that has ended; `duration` is None if it was on no Machine."""
        labels = {"project": project, "status": status}
        self._instruments["callboard_attempts_ended"].add(1, labels)
        if duration is not None:
            self._instruments["callboard_attempt_duration_seconds"].record(_seconds(duration), labels)

    def machines(self, project: str, *, leased: int, busy: int, warm: int, memory: int) -> None:
        """Tell which Machines of the project this worker may have and has, and how many bytes those take."""
        for state, count in (("leased", leased), ("busy", busy), ("warm", warm)):
            self._instruments["callboard_machines"].set(count, {"project": project, "state": state})
        self._instruments["callboard_machines_memory_bytes"].set(memory, {"project": project})

    def machine_started(self, project: str) -> None:
        """Count a Machine that was started."""
        self._instruments["callboard_machines_started"].add(1, {"project": project})

    def machine_recycled(self, project: str, cause: str) -> None:
        """Count a Machine that is gone."""
        self._instruments["callboard_machines_recycled"].add(1, {"project": project, "cause": cause})

    def handoffs_open(self, project: str, count: int) -> None:
        """Tell how many questions Attempts of the project wait with, on this worker."""
        self._instruments["callboard_handoffs_open"].set(count, {"project": project})

    def handoff_ended(self, project: str, *, kind: str, status: str) -> None:
        """Count a question that has ended."""
        self._instruments["callboard_handoffs_ended"].add(1, {"project": project, "kind": kind, "status": status})

    def delivery_ended(self, project: str, *, sink: str, status: str) -> None:
        """Count a Delivery that has arrived or was given up."""
        self._instruments["callboard_deliveries_ended"].add(1, {"project": project, "sink": sink, "status": status})

    def delivery_tried(self, *, sink: str, outcome: str) -> None:
        """Count a try of a Delivery."""
        self._instruments["callboard_delivery_tries"].add(1, {"sink": sink, "outcome": outcome})

    def auth_session_checked(self, project: str, outcome: str) -> None:
        """Count a check of a login."""
        self._instruments["callboard_auth_session_checks"].add(1, {"project": project, "outcome": outcome})

    def auth_session_created(self, project: str, outcome: str) -> None:
        """Count a create of a login."""
        self._instruments["callboard_auth_session_creates"].add(1, {"project": project, "outcome": outcome})

    def job_run_ended(self, project: str, status: str) -> None:
        """Count a JobRun that has ended."""
        self._instruments["callboard_job_runs_ended"].add(1, {"project": project, "status": status})

    def request_ended(self, *, method: str, route: str, status: str, duration: timedelta) -> None:
        """Count a request that was answered; `route` is the template of its path."""
        labels = {"method": method, "route": route, "status": status}
        self._instruments["callboard_http_requests"].add(1, labels)
        self._instruments["callboard_http_request_duration_seconds"].record(_seconds(duration), labels)

    def audit_entry_lost(self) -> None:
        """Count an entry of the audit that is in the log only."""
        self._instruments["callboard_audit_entries_lost"].add(1)


def _make(instrument: Instrument, meter: MetricMeter) -> MetricCounter | MetricGauge | MetricHistogramFloat:
    make = {
        "counter": meter.create_counter,
        "gauge": meter.create_gauge,
        "histogram": meter.create_histogram_float,
    }
    return make[instrument.kind](instrument.name, instrument.meaning)


_current = Metrics(MetricMeter.noop)


def current() -> Metrics:
    """Return the metrics of this process."""
    return _current


def install(meter: MetricMeter) -> None:
    """Count by the instruments of this meter from now on."""
    global _current
    _current = Metrics(meter)


def _seconds(time: timedelta) -> float:
    """Return a number of seconds. The clocks of two hosts may differ, and no time is negative."""
    return max(time.total_seconds(), 0.0)
