"""Read who holds which Machines for whoever shows it: rarely, however many ask."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta

from schemas.errors import Unavailable
from schemas.workflow.fleet import FleetState
from temporal.fleet import FleetClient

_MAX_AGE = 1.0
"""Seconds for which an answer is used. A worker has to compute each, and it is as old as the last renewal anyway."""
_MAX_FAILURE_AGE = 5.0
"""The same for a failure: while no worker answers, pages wait for it only now and then."""
_ANSWER_TIMEOUT = timedelta(seconds=3)
"""How long a page waits for a worker. Those that can answer do so within milliseconds."""


@dataclass(frozen=True)
class _Reading:
    answer: FleetState | Unavailable
    read_at: float
    """By the monotonic clock."""

    @property
    def is_fresh(self) -> bool:
        max_age = _MAX_FAILURE_AGE if isinstance(self.answer, Unavailable) else _MAX_AGE
        return time.monotonic() - self.read_at < max_age


class FleetReader:
    """The state of the workflow `Fleet`, as of a second ago at most."""

    def __init__(self, fleet: FleetClient) -> None:
        self._fleet = fleet
        self._reading: _Reading | None = None
        self._lock = asyncio.Lock()

    async def read(self) -> FleetState:
        """Return who holds what. Raises Unavailable if no worker has answered."""
        async with self._lock:
            if self._reading is None or not self._reading.is_fresh:
                self._reading = _Reading(await self._ask(), time.monotonic())
            answer = self._reading.answer
        if isinstance(answer, Unavailable):
            raise Unavailable(answer.message)
        return answer

    async def _ask(self) -> FleetState | Unavailable:
        try:
            return await self._fleet.read_state(_ANSWER_TIMEOUT)
        except Unavailable as error:
            return error
