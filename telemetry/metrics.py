"""What the processes count: each event has one method here, and each metric one instrument of the SDK's meter.

Like the log, the metrics belong to the process: whoever has something to count asks for `current()`. Until `install`
gives them a meter, that counts nothing. Each instrument is made once. What is counted of workflows is counted by
`temporal.workflow_metrics`, with these instruments.

The label `project` has names of deployed projects only, and no label has what a caller can invent.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import MetricCounter, MetricGauge, MetricHistogramFloat, MetricMeter

from telemetry import instruments
from telemetry.instruments import INSTRUMENTS, Instrument

__all__ = ["INSTRUMENTS", "Metrics", "current", "install"]


class Metrics:
    """The instruments of a process."""

    def __init__(self, meter: MetricMeter) -> None:
        self._meter = meter
        self._build_info = self._gauge(instruments.BUILD_INFO)
        self._runs_accepted = self._counter(instruments.RUNS_ACCEPTED)
        self._runs_ended = self._counter(instruments.RUNS_ENDED)
        self._run_duration = self._histogram(instruments.RUN_DURATION)
        self._run_wait = self._histogram(instruments.RUN_WAIT)
        self._runs_waiting = self._gauge(instruments.RUNS_WAITING)
        self._attempts_ended = self._counter(instruments.ATTEMPTS_ENDED)
        self._attempt_duration = self._histogram(instruments.ATTEMPT_DURATION)
        self._machines = self._gauge(instruments.MACHINES)
        self._machines_started = self._counter(instruments.MACHINES_STARTED)
        self._machines_recycled = self._counter(instruments.MACHINES_RECYCLED)
        self._machines_memory = self._gauge(instruments.MACHINES_MEMORY)
        self._deliveries_ended = self._counter(instruments.DELIVERIES_ENDED)
        self._delivery_tries = self._counter(instruments.DELIVERY_TRIES)
        self._auth_session_checks = self._counter(instruments.AUTH_SESSION_CHECKS)
        self._auth_session_creates = self._counter(instruments.AUTH_SESSION_CREATES)
        self._job_runs_ended = self._counter(instruments.JOB_RUNS_ENDED)
        self._http_requests = self._counter(instruments.HTTP_REQUESTS)
        self._http_request_duration = self._histogram(instruments.HTTP_REQUEST_DURATION)

    @property
    def is_on(self) -> bool:
        """Whether anybody can read what is counted. It matters only to those who would work to find out a number."""
        return self._meter is not MetricMeter.noop

    def process_started(self, *, version: str, role: str) -> None:
        """Say what this process is."""
        self._build_info.set(1, {"version": version, "role": role})

    def run_accepted(self, project: str) -> None:
        """Count a Run that was started."""
        self._runs_accepted.add(1, {"project": project})

    def run_ended(self, project: str, *, status: str, reason: str, duration: timedelta, wait: timedelta | None) -> None:
        """Count a Run that has ended; `wait` is None if nothing of it began on a Machine."""
        self._runs_ended.add(1, {"project": project, "status": status, "reason": reason})
        self._run_duration.record(_seconds(duration), {"project": project, "status": status})
        if wait is not None:
            self._run_wait.record(_seconds(wait), {"project": project})

    def runs_waiting(self, project: str, count: int) -> None:
        """Tell how many Runs of the project wait."""
        self._runs_waiting.set(count, {"project": project})

    def attempt_ended(self, project: str, *, status: str, duration: timedelta | None) -> None:
        """Count an Attempt, check or create that has ended; `duration` is None if it was on no Machine."""
        labels = {"project": project, "status": status}
        self._attempts_ended.add(1, labels)
        if duration is not None:
            self._attempt_duration.record(_seconds(duration), labels)

    def machines(self, project: str, *, leased: int, busy: int, warm: int, memory: int) -> None:
        """Tell which Machines of the project this worker may have and has, and how many bytes those take."""
        for state, count in (("leased", leased), ("busy", busy), ("warm", warm)):
            self._machines.set(count, {"project": project, "state": state})
        self._machines_memory.set(memory, {"project": project})

    def machine_started(self, project: str) -> None:
        """Count a Machine that was started."""
        self._machines_started.add(1, {"project": project})

    def machine_recycled(self, project: str, cause: str) -> None:
        """Count a Machine that is gone."""
        self._machines_recycled.add(1, {"project": project, "cause": cause})

    def delivery_ended(self, project: str, *, sink: str, status: str) -> None:
        """Count a Delivery that has arrived or was given up."""
        self._deliveries_ended.add(1, {"project": project, "sink": sink, "status": status})

    def delivery_tried(self, *, sink: str, outcome: str) -> None:
        """Count a try of a Delivery."""
        self._delivery_tries.add(1, {"sink": sink, "outcome": outcome})

    def auth_session_checked(self, project: str, outcome: str) -> None:
        """Count a check of a login."""
        self._auth_session_checks.add(1, {"project": project, "outcome": outcome})

    def auth_session_created(self, project: str, outcome: str) -> None:
        """Count a create of a login."""
        self._auth_session_creates.add(1, {"project": project, "outcome": outcome})

    def job_run_ended(self, project: str, status: str) -> None:
        """Count a JobRun that has ended."""
        self._job_runs_ended.add(1, {"project": project, "status": status})

    def request_ended(self, *, method: str, route: str, status: str, duration: timedelta) -> None:
        """Count a request that was answered; `route` is the template of its path."""
        labels = {"method": method, "route": route, "status": status}
        self._http_requests.add(1, labels)
        self._http_request_duration.record(_seconds(duration), labels)

    def _counter(self, instrument: Instrument) -> MetricCounter:
        return self._meter.create_counter(instrument.name, instrument.meaning)

    def _gauge(self, instrument: Instrument) -> MetricGauge:
        return self._meter.create_gauge(instrument.name, instrument.meaning)

    def _histogram(self, instrument: Instrument) -> MetricHistogramFloat:
        return self._meter.create_histogram_float(instrument.name, instrument.meaning)


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
