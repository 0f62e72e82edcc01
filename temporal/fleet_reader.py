"""Read who holds which Machines for whoever shows it: rarely, however many ask."""

from __future__ import annotations

import asyncio
import time
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


class FleetReader:
    """The state of the workflow `Fleet`, as of a second ago at most."""

    def __init__(self, fleet: FleetClient) -> None:
        self._fleet = fleet
        self._answer: FleetState | Unavailable | None = None
        self._fresh_until = 0.0
        """By the monotonic clock."""
        self._lock = asyncio.Lock()

    async def read(self) -> FleetState:
        """Return who holds what. Raises Unavailable if no worker has answered."""
        async with self._lock:
            if self._answer is None or time.monotonic() >= self._fresh_until:
                try:
                    self._answer, age = await self._fleet.read_state(_ANSWER_TIMEOUT), _MAX_AGE
                except Unavailable as error:
                    self._answer, age = error, _MAX_FAILURE_AGE
                self._fresh_until = time.monotonic() + age
            answer = self._answer
        if isinstance(answer, Unavailable):
            raise Unavailable(answer.message)
        return answer
