"""The specification of an Attempt and its report: plain values between the activity and the Machine."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from machines.attempt_log_file import AttemptLogFile
from machines.capacity import RoomWait
from schemas.workflow.attempt import AttemptKind, AttemptStatus
from schemas.workflow.run import RunError
from schemas.workflow.trace import TraceMode
from security.masking import Masker
from security.secret_detection import find_secrets_in_state

SCREENSHOT = "screenshot.png"
TRACE = "trace.zip"
"""Names of the screenshot and the trace in the folder."""

AnswerRequest = Callable[[str, dict[str, Any]], Awaitable[str | None]]
"""Answers a request that user code makes of its worker, by its operation and arguments; texts are JSON.

Raises CallboardError if it cannot be met; the message is a sentence.
"""


@dataclass(frozen=True)
class PythonEnvironment:
    """A Python environment that belongs to one project."""

    executable: Path
    site_packages: Path


@dataclass(frozen=True)
class Version:
    """One version of a project, unpacked on this host, and what its Machines need to know about it.

    A Machine serves one Version at a time.
    """

    project: str
    version: str
    folder: Path
    memory_limit: int
    """Most bytes of memory that a Machine's whole process tree may use."""
    width: int
    height: int
    """Width and height of the browser's viewport in pixels."""
    headful: bool = False
    """Whether the project wants the full browser, in a window if there is a display."""
    allow_file_urls: bool = False
    """Whether the project's code may have the browser open any address, including files on this host."""
    python: PythonEnvironment | None = None
    """Environment that the Machines run on, with Playwright in our version. None: they run on our own interpreter."""

    def shares_machines_with(self, other: Version) -> bool:
        """Tell whether a Machine of one can serve the other: they differ in what concerns user code alone."""
        of_user_code = ("version", "folder", "python")
        return replace(self, **{name: getattr(other, name) for name in of_user_code}) == other


@dataclass(frozen=True)
class Proxy:
    """A proxy with its credentials in clear text. It lives in memory only."""

    server: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(eq=False)
class AttemptEvidence:
    """The trace and screenshot of one Attempt.

    Its Machine fills this in, however the two end.
    """

    folder: Path
    """Folder on this host for the files. It is not in the Machine's scratch folder, which is gone with the Machine."""
    trace: TraceMode = TraceMode.NEVER
    trace_limit: int = 64 * 1024 * 1024
    """Most bytes of a trace. A larger one is not kept."""
    project_root: str | None = None
    """The copy of the project that the Attempt runs in; None before the Attempt has begun."""
    reported: bool = False
    """Whether the Machine has said what it left. If not, the Machine was ended before it could."""
    page_url: str | None = field(default=None, repr=False)
    """Address of the page that the automation was at when it ended, as the browser has it."""
    missing: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """What is missing: by name, a sentence that says why. Not masked."""

    def to_message(self) -> dict[str, Any]:
        """Return the part of the Attempt's message that tells the Machine what to leave."""
        return {"folder": str(self.folder), "trace": self.trace, "limit": self.trace_limit}

    def record_report(self, message: dict[str, Any]) -> None:
        """Fill in what the Machine says that it has left."""
        self.reported = True
        self.page_url = message["pageUrl"]
        self.missing.update(message["missing"])


@dataclass(frozen=True)
class AttemptSpec:
    """The specification of one Attempt: what a Machine is to execute, and how."""

    run_id: str
    number: int
    api: str
    parameters: str = field(repr=False)
    """JSON text of the parameters: an object, or `null`."""
    timeout: timedelta
    """The Attempt's timeout; `extend_timeout` restarts its clock."""
    proxy: Proxy | None = None
    run_info: dict[str, Any] = field(default_factory=dict[str, Any])
    """What `run_info()` tells user code (docs/contract.md, section 3.2)."""
    answer_request: AnswerRequest | None = field(default=None, repr=False, compare=False)
    """Answers the requests of user code. None: it makes none."""
    kind: AttemptKind = AttemptKind.API
    """What is called: the API `api`, or the project's `check` or `create`. A check gets no `parameters`."""
    storage_state: str | None = field(default=None, repr=False)
    """JSON text of the AuthSession's state (docs/contract.md, section 4.5), restored before user code is called."""
    capture: bool = False
    """Whether to report the state after a good end if it differs from `storage_state`. A create always
    reports its state."""
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Environment variables of user code, in addition to those that the worker has for it."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Secrets that errors must not tell, in addition to those of `storage_state` and of the proxy."""
    evidence: AttemptEvidence | None = field(default=None, repr=False, compare=False)
    """The trace and screenshot that the Attempt is to leave, and where. None: it leaves nothing."""
    log: AttemptLogFile | None = field(default=None, repr=False, compare=False)
    """The file that the Attempt's log is written to. None: it has no log."""
    room_wait: RoomWait = field(default_factory=RoomWait, repr=False, compare=False)
    """Says while the Attempt waits for a Machine that it may use."""

    @property
    def function(self) -> str:
        """The path of the called function, which hooks get as `api_name` (docs/contract.md, section 3.1)."""
        return f"api/{self.api}" if self.kind is AttemptKind.API else f"auth-sessions/{self.kind}"

    def note(self, message: str, level: str = "info") -> None:
        """Write a line of Callboard's own into the Attempt's log, if it has one."""
        if self.log is not None:
            self.log.write_line(message, level)


@dataclass(frozen=True)
class AttemptReport:
    """How an Attempt ended on its Machine.

    When this is reported, none of its processes is left; when a time-out is, nothing at all of the Attempt is.
    """

    status: AttemptStatus
    """`completed` or `failed`: who cancels an Attempt gets no report of it."""
    machine: str
    browser_version: str | None
    started_at: datetime
    ended_at: datetime
    result: str | None = field(default=None, repr=False)
    """ASCII JSON text of the result. It is `true` or `false` for a check, and `null` for a create."""
    extended_payloads: str | None = field(default=None, repr=False)
    """ASCII JSON text of an array with the extended payloads; None if there were none."""
    storage_state: str | None = field(default=None, repr=False)
    """ASCII JSON text of the AuthSession's state after a good end (docs/contract.md, section 4.5), if it was asked for
    and has changed."""
    error: RunError | None = None
    final: bool = False
    """Whether the failure is final: no further Attempt can help."""
    retry_after: timedelta | None = None
    """How long to wait for the next Attempt, if user code has raised RetryLater."""
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    """The attributes that user code set by `set_attribute`, whatever the outcome."""


def masker_for(spec: AttemptSpec) -> Masker:
    """Return a masker for the secrets that the Attempt was given.

    These are the listed ones, those in its AuthSession's state, and the credentials of its proxy.
    """
    secrets = set(spec.secrets)
    if spec.storage_state is not None:
        secrets.update(_of_state(spec.storage_state))
    if spec.proxy is not None:
        secrets.update(each for each in (spec.proxy.username, spec.proxy.password) if each is not None)
    return Masker(secrets)


def _of_state(text: str) -> set[str]:
    try:
        state: Any = json.loads(text)
    except ValueError:  # the state is no JSON, which the Machine says in its report
        return set()
    return find_secrets_in_state(cast("dict[str, Any]", state)) if isinstance(state, dict) else set()
