"""Figures that several tables have."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from tests.bench.fleet.temporal_metrics import TemporalMetrics


def percentile(values: Sequence[float], of: int) -> float:
    """Return a percentile of at least two values."""
    return statistics.quantiles(values, n=100, method="inclusive")[of - 1]


def processor_seconds(process: psutil.Process) -> float:
    """Return the processor time that the process has taken until now."""
    times = process.cpu_times()
    return times.user + times.system


@dataclass(frozen=True)
class Cost:
    """What something that goes on costs, for each minute."""

    processor_seconds: tuple[float, ...]
    """Of each process."""
    requests: Counter[str]
    """Requests to Temporal, by operation."""


class Meter:
    """Measures what processes and Temporal do from its creation on."""

    def __init__(self, processes: Sequence[psutil.Process], metrics: TemporalMetrics) -> None:
        self._processes = processes
        self._metrics = metrics

    async def start(self) -> None:
        """Begin."""
        self._began = time.perf_counter()
        self._processor = [processor_seconds(process) for process in self._processes]
        self._requests = (await self._metrics.read()).requests

    async def stop(self) -> Cost:
        """Return what it has cost since the beginning."""
        minutes = (time.perf_counter() - self._began) / 60
        taken = [processor_seconds(process) for process in self._processes]
        requests = (await self._metrics.read()).requests
        requests.subtract(self._requests)
        return Cost(
            tuple((after - before) / minutes for before, after in zip(self._processor, taken, strict=True)),
            Counter({name: round(count / minutes) for name, count in requests.items() if count > 0}),
        )
