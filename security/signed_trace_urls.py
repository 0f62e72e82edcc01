"""Addresses of traces: each opens one trace, for a while, and nothing else. The trace viewer gets them, not a session.

What is in an address is sealed, so that nobody can make one, change one, or read in one which Run it is about.
"""

from __future__ import annotations

import json
import time
from dataclasses import astuple, dataclass
from datetime import timedelta

from schemas.errors import CallboardError
from security.keyring import KeyRing

LASTS = timedelta(hours=1)
"""The viewer reads a trace at once, and again if the browser has put it to sleep meanwhile."""

_BOUND_TO = "address of a trace"


@dataclass(frozen=True)
class TraceOf:
    """Whose trace it is."""

    workspace: str
    project: str
    run_id: str
    number: int
    """Of the Attempt."""


class TraceAddresses:
    """Makes and reads them. Every process with the same key ring knows those of the others."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def make(self, of: TraceOf) -> str:
        """ASCII that may be part of an address. Raises ConfigurationError if the ring is empty."""
        ends = int(time.time() + LASTS.total_seconds())
        return self._ring.seal(json.dumps([*astuple(of), ends]), bound_to=_BOUND_TO)

    def read(self, address: str) -> TraceOf | None:
        """What it opens; None if it is none of ours, or its time is over."""
        try:
            *of, ends = json.loads(self._ring.open(address, bound_to=_BOUND_TO))
        except CallboardError:  # changed, made up, or of a key that was taken out of the ring
            return None
        return TraceOf(*of) if time.time() < ends else None
