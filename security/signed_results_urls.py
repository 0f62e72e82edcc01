"""Make and read URLs of the results of JobRuns. Each opens those of one JobRun, for a while, without an API key."""

from __future__ import annotations

import json
import time
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta

from schemas.errors import CallboardError
from security.keyring import KeyRing

URL_LIFETIME = timedelta(hours=1)
"""How long a URL is valid; a download that has begun goes on."""

_BOUND_TO = "address of the results of a JobRun"


@dataclass(frozen=True)
class ResultsRef:
    """The JobRun whose results these are."""

    workspace: str
    project: str
    job_run_id: str
    shards: int
    """How many artifacts hold them."""


class SignedResultsUrls:
    """Makes and reads URLs of results. All processes with the same key ring can read each other's URLs."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def sign(self, results: ResultsRef) -> tuple[str, datetime]:
        """Return an ASCII text that may be part of a URL, and until when it is valid.

        Raises:
            ConfigurationError: The ring is empty.
        """
        ends = int(time.time() + URL_LIFETIME.total_seconds())
        sealed = self._ring.seal(json.dumps([*astuple(results), ends]), bound_to=_BOUND_TO)
        return sealed, datetime.fromtimestamp(ends, UTC)

    def verify(self, address: str) -> ResultsRef | None:
        """Return what a URL opens; None if Callboard did not make it, or if it has expired."""
        try:
            *of, ends = json.loads(self._ring.open(address, bound_to=_BOUND_TO))
        except CallboardError:  # changed, made up, or sealed with a key that was taken out of the ring
            return None
        return ResultsRef(*of) if time.time() < ends else None
