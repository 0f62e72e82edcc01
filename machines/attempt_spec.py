"""What a Machine is told and what it reports: plain values between the activity and the Machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from machines.attempt_log_file import AttemptLogFile
from machines.evidence import Evidence
from machines.services import Services
from schemas.workflow.attempt import AttemptKind
from schemas.workflow.run import RunError


@dataclass(frozen=True)
class Python:
    """An environment that a project has for itself."""

    executable: Path
    site_packages: Path


@dataclass(frozen=True)
class Version:
    """One version of a project, unpacked on this host, and what its Machines need to know of it.

    Where any of it differs, it takes another Machine.
    """

    project: str
    version: str
    folder: Path
    memory_limit: int
    """Bytes, of a Machine's whole process tree."""
    width: int
    height: int
    """Pixels of the browser's viewport."""
    headful: bool = False
    """The project wants the full browser, in a window where there is a display."""
    allow_file_urls: bool = False
    """Its code may have the browser open any address, that of a file on this host included."""
    python: Python | None = None
    """What its Machines run on, if not on our own interpreter. Playwright is in it, in our version."""
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Environment variables of user code, beside those that the worker has for it."""


@dataclass(frozen=True)
class Proxy:
    """A proxy with its credentials in the clear; lives in memory only."""

    server: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class AttemptSpec:
    """One Attempt."""

    run_id: str
    number: int
    api: str
    parameters: str = field(repr=False)
    """JSON text of an object, or `null`."""
    timeout: timedelta
    """The Attempt's clock; `extend_timeout` restarts it."""
    proxy: Proxy | None = None
    run_info: dict[str, Any] = field(default_factory=dict[str, Any])
    """What `run_info()` tells user code (docs/contract.md, section 3.2)."""
    services: Services | None = field(default=None, repr=False, compare=False)
    """Who answers what user code asks for."""
    kind: AttemptKind = AttemptKind.API
    """What is called: the API `api`, or the project's `check` or `create`; `parameters` are not a check's."""
    session: str | None = field(default=None, repr=False)
    """JSON text of the AuthSession's state (docs/contract.md, section 4.5), restored before user code is called."""
    capture: bool = False
    """Report the state after a good end, if it is another than `session`. That of a create is always reported."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What errors must not tell, beside the secrets of `session` and of the proxy."""
    evidence: Evidence | None = field(default=None, repr=False, compare=False)
    """What it is to leave, and where. None: nothing."""
    log: AttemptLogFile | None = field(default=None, repr=False, compare=False)
    """Where its log is written; None: there is none."""

    @property
    def key(self) -> tuple[str, int]:
        """Which Attempt this is."""
        return self.run_id, self.number

    @property
    def function(self) -> str:
        """The path of what is called, as hooks are told it (docs/contract.md, section 3.1)."""
        return f"api/{self.api}" if self.kind is AttemptKind.API else f"auth-sessions/{self.kind}"

    def note(self, message: str, level: str = "info") -> None:
        """Write a line of Callboard's own into its log."""
        if self.log is not None:
            self.log.say(message, level)


class EndState(StrEnum):
    """How an Attempt ended on its Machine."""

    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    """Somebody asked: a cancel, or a worker that must let go."""


@dataclass(frozen=True)
class AttemptReport:
    """How it went. On every path but `COMPLETED` and a plain failure the Machine is gone when this is reported."""

    end: EndState
    machine: str
    browser_version: str | None
    started_at: datetime
    ended_at: datetime
    result: str | None = field(default=None, repr=False)
    """JSON text, ASCII. Of a check `true` or `false`, of a create `null`."""
    extended_payloads: str | None = field(default=None, repr=False)
    """JSON text, ASCII: an array; None if there were none."""
    session: str | None = field(default=None, repr=False)
    """JSON text, ASCII, of the state after a good end (docs/contract.md, section 4.5), if it was asked for
    and has changed."""
    error: RunError | None = None
    final: bool = False
    """No further Attempt can help."""
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    """What user code set by `set_attribute`, whatever the outcome."""
