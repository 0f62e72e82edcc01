"""What the activity tells a Machine about an Attempt, and what the Machine reports: values without behaviour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from callboard.schemas.workflow.attempt import AttemptKind, AttemptStatus
from callboard.schemas.workflow.run import RunError
from callboard.schemas.workflow.trace import TraceMode
from callboard.security.masking import Masker
from callboard.security.secret_detection import find_secrets_in_state

SCREENSHOT = "screenshot.png"
TRACE = "trace.zip"
"""Names of the screenshot and the trace in the folder."""


@dataclass(frozen=True)
class PythonEnvironment:
    """A Python environment that belongs to one project."""

    executable: Path
    site_packages: Path


@dataclass(frozen=True)
class NodeEnvironment:
    """What user code in TypeScript runs on."""

    executable: Path
    """The Node.js."""
    modules: Path | None
    """The folder that holds `node_modules` with the packages that are not in the bundles; None if there are none."""


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
    node: NodeEnvironment | None = None
    """What user code runs on if it is in TypeScript. None: it is in Python."""

    def shares_machines_with(self, other: Version) -> bool:
        """Tell whether a Machine of one can serve the other: they differ in what concerns user code alone."""
        of_user_code = ("version", "folder", "python", "node")
        return replace(self, **{name: getattr(other, name) for name in of_user_code}) == other


@dataclass(frozen=True)
class Proxy:
    """A proxy with its credentials in clear text. It lives in memory only."""

    server: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class EvidenceSpec:
    """What an Attempt is to leave, and where: trace, screenshot and files."""

    folder: Path
    """Folder on this host for the files. It is not in the Machine's scratch folder, which is gone with the Machine."""
    trace: TraceMode = TraceMode.NEVER
    trace_limit: int = 64 * 1024 * 1024
    """Most bytes of a trace. A larger one is not kept."""
    downloads: bool = True
    """Whether what its pages download is kept. What user code leaves below `output/` always is."""

    def to_message(self) -> dict[str, Any]:
        """Return the part of the message `attempt` that tells the Machine what to leave."""
        return {
            "folder": str(self.folder),
            "trace": self.trace,
            "limit": self.trace_limit,
            "downloads": self.downloads,
        }


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
    kind: AttemptKind = AttemptKind.API
    """What is called: the API `api`, or the project's `check` or `create`. A check gets no `parameters`."""
    storage_state: str | None = field(default=None, repr=False)
    """JSON text of the AuthSession's state (docs/contract.md, section 4.5), restored before user code is called."""
    capture: bool = False
    """Whether to report the state after a good end if it differs from `storage_state`. A create always
    reports its state."""
    indexed_db: bool = False
    """Whether IndexedDB is a part of the state that is reported."""
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Environment variables of user code, in addition to those that the worker has for it."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Secrets that errors must not tell, in addition to those of `storage_state` and of the proxy."""
    evidence: EvidenceSpec | None = None
    """The trace and screenshot that the Attempt is to leave, and where. None: it leaves nothing."""
    wait_until: datetime | None = None
    """Until when the Attempt may wait for room. None: for any time."""

    @property
    def function(self) -> str:
        """The path of the called function, which hooks get as `api_name` (docs/contract.md, section 3.1)."""
        return f"api/{self.api}" if self.kind is AttemptKind.API else f"auth-sessions/{self.kind}"


@dataclass(frozen=True)
class MachineStart:
    """The beginning of an Attempt on its Machine: its user code is about to be called."""

    machine: str
    browser_version: str
    at: datetime
    project_root: str
    """The copy of the project that the Attempt runs in."""


@dataclass(frozen=True)
class AttemptEvidence:
    """What a Machine says that an Attempt has left, beside the files in its folder. Nothing of it is masked."""

    page_url: str | None = field(default=None, repr=False)
    """Address of the page that the automation was at when it ended, as the browser has it."""
    missing: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """What is missing: by name, a sentence that says why."""


@dataclass(frozen=True)
class AttemptReport:
    """How an Attempt ended on its Machine.

    When this is reported, none of its processes is left; when a time-out is, nothing at all of the Attempt is.
    """

    status: AttemptStatus
    """`completed` or `failed`: who cancels an Attempt gets no report of it."""
    machine: str
    result: str | None = field(default=None, repr=False)
    """ASCII JSON text of the result. It is `true` or `false` for a check, and `null` for a create."""
    extended_payloads: str | None = field(default=None, repr=False)
    """ASCII JSON text of an array with the extended payloads; None if there were none."""
    storage_state: str | None = field(default=None, repr=False)
    """ASCII JSON text of the AuthSession's state after a good end (docs/contract.md, section 4.5), if it was asked for
    and has changed."""
    unkept: str | None = None
    """What is not kept of the AuthSession's state, and why, as a sentence; None if all of it is."""
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
