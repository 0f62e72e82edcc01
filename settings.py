"""The one settings class. Every value has a unit, a default and a reason; `callboard config` prints them.

Read from the environment with the prefix `CALLBOARD_`; a command-line option beats the environment.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, ByteSize, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

NO_WORKSPACE = UUID(int=0)


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(rf"(\d+(?:\.\d+)?) ?([{''.join(_UNITS)}]?)")


def _seconds(value: object) -> object:
    """A duration is a number of seconds at this edge, or `90s`, `5m`, `12h`, `7d`; inside, it is a `timedelta`."""
    if isinstance(value, str) and (given := _DURATION.fullmatch(value.strip())):
        return timedelta(seconds=float(given[1]) * _UNITS[given[2]])
    return value


def _networks(value: object) -> object:
    """Read addresses and networks; `ip_network` says in its error which of them is wrong, and how."""
    if isinstance(value, str):
        return [ip_network(part.strip()) for part in value.split(",") if part.strip()]
    return value


Secrets = Annotated[list[SecretStr], NoDecode, BeforeValidator(_comma_separated)]
Networks = Annotated[list[IPv4Network | IPv6Network], NoDecode, BeforeValidator(_networks)]
Seconds = Annotated[timedelta, BeforeValidator(_seconds)]


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/callboard`, else `~/.local/share/callboard`."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "callboard"


def installed_version() -> str:
    """The version of Callboard that runs here."""
    try:
        return version("callboard")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unreleased"


class Settings(BaseSettings):
    """All that an operator can set. Field `x_y` is the variable `CALLBOARD_X_Y`."""

    model_config = SettingsConfigDict(env_prefix="CALLBOARD_", frozen=True, extra="ignore")

    # Who may call, and for whom.
    api_keys: Secrets = Field(default_factory=list[SecretStr])
    """Keys that open the API, comma-separated: several at once, so that they can be rotated. 20 characters or more."""
    workspace_id: UUID = NO_WORKSPACE
    """The workspace that this installation serves."""
    secret_key: Secrets = Field(default_factory=list[SecretStr])
    """Keys that seal secrets, comma-separated, newest first: the first seals, all open. 16 characters or more."""

    # Where things lie.
    data_dir: Path = Field(default_factory=default_data_dir)
    """Folder of this host: scratch, unpacked versions, and in `dev` everything."""
    artifacts: str | None = None
    """The artifact store: a folder, or `s3://bucket/prefix`. Default: `artifacts` in the data folder."""
    artifacts_endpoint: str | None = None
    """Address of a store that speaks S3, such as `https://s3.example.com:9000`. Unset: AWS."""

    # What projects are run for.
    environment: Literal["dev", "deployed"] = "deployed"
    """Which of a project's settings apply where it has two, such as `proxy.dev` and `proxy.deployed`."""
    dev_projects: Path | None = None
    """Where the project folders are whose `.env` user code gets (the embedded stack sets it). Unset: none is read."""

    # Delivering results to sinks.
    webhook_secrets: Secrets = Field(default_factory=list[SecretStr])
    """Secrets that sign webhooks (`whsec_…`), comma-separated, newest first. All of them sign, so that receivers may
    go from one to the next when it suits them."""
    egress_allow: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(default_factory=list[str])
    """Networks and hosts, comma-separated, that sinks may lead to although they are not public: `10.1.0.0/16`."""
    delivery_timeout: Seconds = Field(default=timedelta(seconds=30), gt=timedelta(), le=timedelta(minutes=10))
    """How long one try may take, from looking the name up to the answer's status."""
    delivery_first_delay: Seconds = Field(default=timedelta(seconds=1), gt=timedelta())
    """From a try that failed to the next one; it grows with each."""
    delivery_factor: float = Field(default=2, ge=1, allow_inf_nan=False)
    """By how much it grows."""
    delivery_max_delay: Seconds = Field(default=timedelta(minutes=5), gt=timedelta())
    """It grows no further than this, also if a receiver asks for more (`Retry-After`)."""
    delivery_give_up_after: Seconds = Field(default=timedelta(hours=24), gt=timedelta())
    """A result that could not be delivered for so long is given up."""

    # How long Runs and what they leave are kept. `callboard setup-namespace` puts it into force.
    run_retention: Seconds = Field(default=timedelta(days=7), ge=timedelta(hours=1))
    """A Run is known, and its Idempotency-Key holds, for so long after its end: the retention of Temporal's namespace,
    which is an hour at least."""
    artifact_retention: Seconds | None = None
    """What a Run leaves in the artifact store is kept for so long after its end. Unset: a day longer than Runs, so that
    whatever is known of has its artifacts. Not shorter than that of Runs: a result may be an artifact."""

    # Temporal.
    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "default"
    temporal_ui_url: str | None = None
    """Address of the Temporal Web UI, for links. Unset: no links."""

    # The api service. Loopback by default: the operator decides what is reachable.
    host: str = "127.0.0.1"
    port: int = Field(default=8400, ge=0, le=65535)
    viewer_port: int | None = Field(default=None, ge=0, le=65535)
    """Of the trace viewer, which has an origin of its own because it shows what strangers have made. Unset: ten
    after `port` (8410)."""
    viewer_url: str | None = None
    """Address of that port for browsers, where it is another than the api's with this port, such as behind a proxy:
    best a host name of its own. It must be https, as service workers are, or on loopback."""

    trusted_proxies: Networks = Field(default_factory=list[IPv4Network | IPv6Network])
    """Addresses and networks, comma-separated, of the proxies before the api: `10.1.0.7,fd00::/8`. Only what comes from
    there is believed about who asks (`X-Forwarded-For`) and whether they use https (`X-Forwarded-Proto`). Unset: none,
    since anybody can send these headers."""
    max_connections: int = Field(default=2000, ge=10)
    """Connections at once to each of these two ports. A client that waits for a Run occupies one, and some 10 kB of
    memory. When there are more, those on which no request is under way give way."""
    ready_needs_workers: bool = False
    """`/readyz` also asks that every project is served by a worker (the embedded stack sets it)."""

    # Workers and their Machines.
    role: Literal["all", "browser", "control"] = "all"
    """What a worker does: `browser` executes Attempts, `control` sequences Runs, delivers their results and needs no
    browser, `all` both."""
    projects: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(default_factory=list[str])
    """The projects whose Attempts this worker takes, comma-separated. Empty: every deployed one."""
    machines: int | None = Field(default=None, ge=1)
    """This worker's share of each project's Machines, where several hosts share a project. Unset: all of them."""
    chromium: Path | None = None
    """A browser executable. Unset: Playwright's own headless shell, else the system's."""
    machine_idle: Seconds = timedelta(seconds=120)
    """A Machine without work for so long is stopped; an idle worker costs no browser."""
    machine_max_attempts: int = Field(default=200, ge=1)
    """Recycled after so many Attempts: browsers grow with use."""
    machine_max_age: Seconds = timedelta(hours=2)
    """Recycled at this age, for the same reason."""
    trace_limit: ByteSize = Field(default=ByteSize(64 * 1024 * 1024), gt=0)
    """Bytes, or `64MiB`: a trace that is bigger is not kept. One of an Attempt of some minutes has a few."""
    drain: Seconds = timedelta(seconds=60)
    """How long a worker that is told to stop lets running Attempts finish."""
    log_limit: ByteSize = Field(default=ByteSize(10 * 1024 * 1024), ge=1024)
    """Bytes of an Attempt's log, such as `10MiB`: a program that prints without end is cut there."""
    poll_versions: Seconds = timedelta(seconds=2)
    """How often workers and the api look for a newly deployed version."""

    # Clients: the commands that call an API.
    url: str | None = None
    """Address of the API to call, such as `http://127.0.0.1:8400`. Unset: the `dev` stack on the data folder."""
    api_key: SecretStr | None = None
    """The key to call it with: one of its `CALLBOARD_API_KEYS`."""

    @field_validator("delivery_max_delay", mode="after")
    @classmethod
    def _not_below_the_first(cls, longest: timedelta, info: ValidationInfo) -> timedelta:
        if longest < info.data.get("delivery_first_delay", longest):
            raise ValueError("must not be shorter than CALLBOARD_DELIVERY_FIRST_DELAY")
        return longest

    @field_validator("artifact_retention", mode="after")
    @classmethod
    def _not_shorter_than_runs(cls, kept: timedelta | None, info: ValidationInfo) -> timedelta | None:
        if kept is not None and kept < info.data.get("run_retention", kept):
            raise ValueError("must not be shorter than CALLBOARD_RUN_RETENTION: a Run's result may be an artifact")
        return kept

    @property
    def viewer_listens_on(self) -> int:
        """Port of the trace viewer; 0 takes a free one."""
        if self.viewer_port is not None:
            return self.viewer_port
        return self.port + 10 if 0 < self.port <= 65525 else 0

    @property
    def artifacts_kept(self) -> timedelta:
        """How long artifacts are kept after the end of their Run."""
        return self.artifact_retention or self.run_retention + timedelta(days=1)

    @property
    def artifact_location(self) -> str:
        """Where artifacts lie: a folder or an `s3://` address."""
        return self.artifacts or str(self.data_dir / "artifacts")

    @property
    def workspace(self) -> str:
        """The workspace id in canonical lower-case form, as it stands in paths."""
        return str(self.workspace_id)
