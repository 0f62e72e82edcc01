"""What a Machine is told about an Attempt and what it reports: plain values between the activity and the Machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from machines.attempt_log_file import AttemptLogFile
from machines.evidence import Evidence
from machines.room_wait import RoomWait
from machines.services import RuntimeServices
from schemas.workflow.attempt import AttemptKind, AttemptStatus
from schemas.workflow.run import RunError


@dataclass(frozen=True)
class PythonEnvironment:
    """A Python environment that belongs to one project."""

    executable: Path
    site_packages: Path


@dataclass(frozen=True)
class Version:
    """One version of a project, unpacked on this host, and what its Machines need to know about it.

    A Machine serves one Version only: if any of these fields differs, another Machine is needed.
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
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Environment variables of user code, in addition to those that the worker has for it."""


@dataclass(frozen=True)
class Proxy:
    """A proxy with its credentials in clear text. It lives in memory only."""

    server: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


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
    services: RuntimeServices | None = field(default=None, repr=False, compare=False)
    """The services that answer the requests of user code."""
    kind: AttemptKind = AttemptKind.API
    """What is called: the API `api`, or the project's `check` or `create`. A check gets no `parameters`."""
    storage_state: str | None = field(default=None, repr=False)
    """JSON text of the AuthSession's state (docs/contract.md, section 4.5), restored before user code is called."""
    capture: bool = False
    """Whether to report the state after a good end if it differs from `storage_state`. A create always
    reports its state."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Secrets that errors must not tell, in addition to those of `storage_state` and of the proxy."""
    evidence: Evidence | None = field(default=None, repr=False, compare=False)
    """The trace and screenshot that the Attempt is to leave, and where. None: it leaves nothing."""
    log: AttemptLogFile | None = field(default=None, repr=False, compare=False)
    """The file that the Attempt's log is written to. None: it has no log."""
    room_wait: RoomWait = field(default_factory=RoomWait, repr=False, compare=False)
    """Says while the Attempt waits for a Machine that it may use."""

    @property
    def function(self) -> str:
        """The path of the called function, as hooks are told it (docs/contract.md, section 3.1)."""
        return f"api/{self.api}" if self.kind is AttemptKind.API else f"auth-sessions/{self.kind}"

    def note(self, message: str, level: str = "info") -> None:
        """Write a line of Callboard's own into the Attempt's log, if it has one."""
        if self.log is not None:
            self.log.write_line(message, level)


@dataclass(frozen=True)
class AttemptReport:
    """How an Attempt ended on its Machine.

    Unless the Attempt completed or simply failed, the Machine is gone when this is reported.
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
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    """The attributes that user code set by `set_attribute`, whatever the outcome."""
