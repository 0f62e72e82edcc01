"""Make and read links to a trace, a file of an Attempt, the results of a JobRun, or a Handoff.

Each opens one of them without a key: for an hour, and a Handoff until that expires.

The content of a link is sealed, so that nobody can make one, change one, or read from one what it is about. All
processes with the same key ring can read each other's links.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta

from callboard.schemas.errors import CallboardError
from callboard.schemas.rest.files import LinkedFile
from callboard.schemas.workflow.attempt import RecordedFile
from callboard.security.keyring import KeyRing

HANDOFF_PATH = "/answer"
"""Path of the page that opens a Handoff by its link."""
LINK_LIFETIME = timedelta(hours=1)
"""How long a link is valid. A download that has begun goes on."""


@dataclass(frozen=True)
class TraceRef:
    """The Attempt whose trace it is."""

    workspace: str
    project: str
    run_id: str
    number: int
    """Number of the Attempt."""


@dataclass(frozen=True)
class ResultsRef:
    """The JobRun whose results these are."""

    workspace: str
    project: str
    job_run_id: str
    shards: int
    """How many artifacts hold them."""


@dataclass(frozen=True)
class FileRef:
    """A file that the Attempt has left."""

    workspace: str
    project: str
    run_id: str
    number: int
    """Number of the Attempt."""
    name: str


@dataclass(frozen=True)
class HandoffRef:
    """The content of a link to a Handoff, which can be opened once."""

    workspace: str
    project: str
    run_id: str
    """The Run that asks."""
    handoff_id: str
    key_id: str | None
    """The API key in whose name it answers; None for the webhook of the project."""
    nonce: str


@dataclass(frozen=True)
class HandoffPass(HandoffRef):
    """What such a link was exchanged for: the content of a cookie. Its nonce is the token of the forms."""


type _Ref = TraceRef | FileRef | ResultsRef | HandoffRef

_BOUND_TO = {
    TraceRef: "address of a trace",
    FileRef: "address of a file of an Attempt",
    ResultsRef: "address of the results of a JobRun",
    HandoffRef: "link to a Handoff",
    HandoffPass: "cookie of a Handoff",
}


def link_files(
    files: Iterable[RecordedFile],
    workspace: str,
    project: str,
    run_id: str,
    number: int,
    *,
    origin: str | None,
    ring: KeyRing,
) -> list[LinkedFile]:
    """Return the files of an Attempt with links to them, at the origin of the trace viewer; without one, there is none.

    Raises:
        ConfigurationError: There is an origin, and the ring is empty.
    """
    linked: list[LinkedFile] = []
    for file in files:
        url = expires_at = None
        if origin is not None:
            address, expires_at = sign_link(FileRef(workspace, project, run_id, number, file.name), ring)
            url = f"{origin}/files/{address}"
        linked.append(LinkedFile(**file.model_dump(), url=url, expires_at=expires_at))
    return linked


def handoff_link(ref: HandoffRef, ring: KeyRing, origin: str, until: datetime) -> tuple[str, datetime]:
    """Return the address with which somebody opens a Handoff, at this origin of the API, and until when it is valid.

    What the link holds stands behind the `#`, which browsers send to nobody. Raises ConfigurationError as `sign_link`.
    """
    sealed, expires_at = sign_link(ref, ring, until)
    return f"{origin.rstrip('/')}{HANDOFF_PATH}#{sealed}", expires_at


def sign_link(ref: _Ref, ring: KeyRing, until: datetime | None = None) -> tuple[str, datetime]:
    """Return an ASCII text that may be part of a URL, and until when it is valid: for an hour if nothing is said.

    Raises:
        ConfigurationError: The ring is empty.
    """
    ends = int(until.timestamp() if until is not None else time.time() + LINK_LIFETIME.total_seconds())
    sealed = ring.seal(json.dumps([*astuple(ref), ends]), bound_to=_BOUND_TO[type(ref)])
    return sealed, datetime.fromtimestamp(ends, UTC)


def read_link[Ref: _Ref](link: str, kind: type[Ref], ring: KeyRing) -> Ref | None:
    """Return what a link of this kind opens; None if Callboard did not make it, or if it has expired."""
    try:
        *of, ends = json.loads(ring.open(link, bound_to=_BOUND_TO[kind]))
    except CallboardError:  # changed, made up, or sealed with a key that was taken out of the ring
        return None
    return kind(*of) if time.time() < ends else None
