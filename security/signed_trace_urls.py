"""Make and read URLs of traces. Each opens one trace, for a while; the trace viewer gets it instead of a session.

The content of a URL is sealed, so that nobody can make one, change one, or read from one which Run it is about.
"""

from __future__ import annotations

import json
import time
from dataclasses import astuple, dataclass
from datetime import timedelta

from schemas.errors import CallboardError
from security.keyring import KeyRing

URL_LIFETIME = timedelta(hours=1)
"""How long a URL is valid: the viewer reads a trace at once, and again if the browser has suspended it meanwhile."""

_BOUND_TO = "address of a trace"


@dataclass(frozen=True)
class TraceRef:
    """The Attempt whose trace it is."""

    workspace: str
    project: str
    run_id: str
    number: int
    """Number of the Attempt."""


class SignedTraceUrls:
    """Makes and reads URLs of traces. All processes with the same key ring can read each other's URLs."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def sign(self, trace: TraceRef) -> str:
        """Return an ASCII text that may be part of a URL. Raises ConfigurationError if the ring is empty."""
        ends = int(time.time() + URL_LIFETIME.total_seconds())
        return self._ring.seal(json.dumps([*astuple(trace), ends]), bound_to=_BOUND_TO)

    def verify(self, address: str) -> TraceRef | None:
        """Return what a URL opens; None if Callboard did not make it, or if it has expired."""
        try:
            *of, ends = json.loads(self._ring.open(address, bound_to=_BOUND_TO))
        except CallboardError:  # changed, made up, or sealed with a key that was taken out of the ring
            return None
        return TraceRef(*of) if time.time() < ends else None
