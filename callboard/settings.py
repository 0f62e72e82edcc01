"""The only settings class. Every value has a unit, a default and a reason; `callboard config` prints them.

Settings are read from the environment with the prefix `CALLBOARD_`; a command-line option takes precedence.
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

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

NO_WORKSPACE = UUID(int=0)


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(rf"(\d+(?:\.\d+)?) ?([{''.join(_UNITS)}]?)")


def _seconds(value: object) -> object:
    """Convert a duration to a `timedelta`: a number of seconds, or a text like `90s`, `5m`, `12h` or `7d`."""
    if not isinstance(value, str):
        return value
    if (given := _DURATION.fullmatch(value.strip())) is None:
        raise ValueError("must be a number of seconds, or a duration such as 90s, 5m, 12h or 7d")
    return timedelta(seconds=float(given[1]) * _UNITS[given[2]])


def _networks(value: object) -> object:
    """Read addresses and networks; the error of `ip_network` says which of them is wrong, and how."""
    if isinstance(value, str):
        return [ip_network(part.strip()) for part in value.split(",") if part.strip()]
    return value


def _listening_address(value: str) -> str:
    host, _, port = value.rpartition(":")
    is_host = host and (":" not in host or (host.startswith("[") and host.endswith("]")))
    if not is_host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65535:
        raise ValueError("must be a host and a port, such as 127.0.0.1:9464 or [::1]:9464")
    return value


Secrets = Annotated[list[SecretStr], NoDecode, BeforeValidator(_comma_separated)]
Networks = Annotated[list[IPv4Network | IPv6Network], NoDecode, BeforeValidator(_networks)]
Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
ListeningAddress = Annotated[str, AfterValidator(_listening_address)]


def default_data_dir() -> Path:
    """Return `$XDG_DATA_HOME/callboard`, or `~/.local/share/callboard` if that variable is not set."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "callboard"


def installed_version() -> str:
    """Return the version of Callboard that runs here."""
    try:
        return version("callboard")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unreleased"


class Settings(BaseSettings):
    """The settings of an installation. Field `x_y` is the variable `CALLBOARD_X_Y`."""

    model_config = SettingsConfigDict(env_prefix="CALLBOARD_", frozen=True, extra="ignore")

    # These settings say where a process reports its health and its metrics.
    metrics_address: ListeningAddress | None = None
    """Host and port, such as `127.0.0.1:9464`, at which the process answers `/metrics` for Prometheus, without a key.
    Unset: nothing is counted."""
    health_address: ListeningAddress | None = None
    """Host and port at which a worker answers `/healthz`, without a key. Unset: it listens nowhere."""

    # These settings say who may call, and which workspace is served.
    api_keys: Secrets = Field(default_factory=list[SecretStr])
    """Keys that open the API, comma-separated: several at once, so that they can be rotated. 20 characters or more."""
    workspace_id: UUID = NO_WORKSPACE
    """The workspace that this installation serves."""
    secret_key: Secrets = Field(default_factory=list[SecretStr])
    """Keys that seal secrets, comma-separated, newest first: the first seals, and all open. 16 characters or more."""

    # These settings say where data is stored.
    data_dir: Path = Field(default_factory=default_data_dir)
    """Data folder of this host: scratch folders, unpacked versions, and in `dev` everything."""
    artifacts: str | None = None
    """The artifact store: a folder, or `s3://bucket/prefix`. Default: `artifacts` in the data folder."""
    artifacts_endpoint: str | None = None
    """Address of an S3-compatible store, such as `https://s3.example.com:9000`. Unset: AWS."""

    # These settings say what projects are run for.
    environment: Literal["dev", "deployed"] = "deployed"
    """Which of a project's settings apply where it has two, such as `proxy.dev` and `proxy.deployed`."""
    dev_projects: Path | None = None
    """Location of the project folders whose `.env` user code gets (the embedded stack sets it). Unset: none is read."""

    # These settings are about secrets that parameters of AuthSessions refer to (`{"$secret": …}`).
    secrets_dir: Path | None = None
    """Folder with a folder for each project, whose files are secrets of that project. Unset: there are none."""
    vault_url: str | None = Field(default=None, pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$")
    """Address of a mount of version 2 of a vault's key-value engine, such as
    `https://vault.example:8200/v1/secret/data`. What lies below a path of a project's name is for that project. Its
    address has to be public, or one of `egress_allow`. Unset: there is no vault."""
    vault_token: SecretStr | None = None
    """The token that reads from the vault."""

    # These settings are about delivering results to sinks.
    webhook_secrets: Secrets = Field(default_factory=list[SecretStr])
    """Secrets that sign webhooks (`whsec_…`), comma-separated, newest first. All of them sign, so that receivers can
    switch to a new one at any time."""
    egress_allow: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(default_factory=list[str])
    """Networks and hosts, comma-separated, that sinks may use although they are not public: `10.1.0.0/16`."""
    delivery_timeout: Seconds = Field(default=timedelta(seconds=30), gt=timedelta(), le=timedelta(minutes=10))
    """How long one try may take, from looking up the host name to the answer's status."""
    delivery_give_up_after: Seconds = Field(default=timedelta(hours=24), gt=timedelta())
    """Time after which a result that could not be delivered is given up."""

    # These settings say how long Runs and their artifacts are kept. `callboard setup-namespace` applies them.
    run_retention: Seconds = Field(default=timedelta(days=7), ge=timedelta(hours=1))
    """How long a Run is known, and its Idempotency-Key holds, after its end: the retention of Temporal's namespace,
    which is an hour at least."""
    artifact_retention: Seconds | None = None
    """How long the artifacts of a Run are kept after its end. Unset: a day longer than Runs, so that every Run that
    is known has its artifacts. It is not shorter than the retention of Runs: a result may be an artifact."""
    version_retention: Seconds = Field(default=timedelta(days=30), ge=timedelta(hours=1))
    """How long a version of a project stays after it was stored, or the deployed one, last. It stays in any case while
    it is the deployed one, and while a Run or JobRun that has not ended executes it. Control workers read it."""

    audit_retention: Seconds = Field(default=timedelta(days=365), ge=timedelta(days=1))
    """How long entries of the audit are kept: who has changed what. Workers that sequence Runs remove older ones."""

    # These settings are about Temporal. What they leave open, and TLS, certificates and API keys, come from Temporal's
    # own configuration, which all of its tools read: the variables `TEMPORAL_*`, and the profiles in its TOML file.
    temporal_address: str | None = None
    """Host and port of Temporal. Unset: what Temporal's own configuration says (`TEMPORAL_ADDRESS`), else
    `127.0.0.1:7233`."""
    temporal_namespace: str | None = None
    """The namespace. Unset: what Temporal's own configuration says (`TEMPORAL_NAMESPACE`), else `default`."""
    temporal_environment_config: bool = True
    """Whether Temporal's own configuration is read. If not, connections are plain (the embedded stack sets this to
    false, as it has a Temporal of its own)."""
    temporal_ui_url: str | None = None
    """Address of the Temporal Web UI, for links, and as the origin that may have payloads decrypted. Unset: neither."""
    encrypt_payloads: bool = False
    """Whether what Runs write into Temporal is encrypted, by the first key of `CALLBOARD_SECRET_KEY`: parameters,
    results, messages of errors. docs/encryption.md says what stays readable."""

    # These settings are about the API service. It listens on loopback by default: the operator decides what is
    # reachable.
    host: str = "127.0.0.1"
    port: int = Field(default=8400, ge=0, le=65535)
    viewer_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the trace viewer, which has an origin of its own because it shows content made by strangers. Unset:
    ten after `port` (8410)."""
    viewer_url: str | None = None
    """Address of the trace viewer for browsers, if it is not the API's address with this port, for example
    behind a proxy: preferably a host name of its own. It must be https, as service workers require, or on loopback."""

    public_url: str | None = Field(default=None, pattern=r"^https?://[^/?#@\s]+/?$")
    """Address of the API for the browsers of people, such as `https://callboard.example.com`, without a path, as all
    pages have absolute ones. Control workers make links to questions of it, which the webhooks of projects are sent.
    Unset: what these are sent has no link."""

    live_address: str | None = Field(default=None, pattern=r"^https?://[^/?#@\s]+/?$")
    """Address at which workers reach this api process, such as `http://api:8400`: they send live pictures there while
    somebody watches. With several api processes, each has its own. Unset: its port on this host."""

    trusted_proxies: Networks = Field(default_factory=list[IPv4Network | IPv6Network])
    """Addresses and networks, comma-separated, of the proxies in front of the API: `10.1.0.7,fd00::/8`. Only
    from these are the headers about the client's address (`X-Forwarded-For`) and about https (`X-Forwarded-Proto`)
    believed. Unset: none, since anybody can send these headers."""
    upload_limit: ByteSize = Field(default=ByteSize(512 * 1024**2), ge=1024 * 1024)
    """Largest upload of a project in bytes, or as `512MiB`, as it is sent: compressed. It goes to the disk, and from
    there to the artifact store."""
    ready_needs_workers: bool = False
    """Whether `/readyz` also requires that every project is served by a worker (the embedded stack sets it)."""

    # This setting is about the workspace as a whole.
    max_machines: int | None = Field(default=None, ge=1)
    """Most Machines of all projects together, over all workers: a deploy that asks for more is refused, and workers
    never have more. Unset: any number."""

    # These settings are about workers and their Machines.
    role: Literal["all", "browser", "control"] = "all"
    """What a worker does: `browser` executes Attempts, `control` sequences Runs, delivers their results and needs no
    browser, `all` both."""
    build_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)
    """Name of what this worker runs, such as a release or a commit, if Runs are to end on the build that they began
    on: the worker is then a version of Temporal's Worker Deployment `callboard`. Unset: Runs continue with newer
    code."""
    projects: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(default_factory=list[str])
    """The projects whose Attempts this worker takes, comma-separated. Empty: every deployed one."""
    machines: int | None = Field(default=None, ge=1)
    """Most Machines of each project that this worker may have. Unset: as many as it has room for."""
    capacity: int | None = Field(default=None, ge=1)
    """Most Machines that this worker has at once, over all projects. Unset: as many as the memory and the cores of its
    host allow, or of its container."""
    chromium: Path | None = None
    """A browser executable. Unset: Playwright's own headless shell, else the system's."""
    node: Path | None = None
    """The Node.js that user code in TypeScript runs on, from 22.15 on. Unset: that of Playwright's driver."""
    shared_folders: Annotated[list[Path], NoDecode, BeforeValidator(_comma_separated)] = Field(
        default_factory=list[Path]
    )
    """Folders of this host, comma-separated, that user code of every project may read and write, at the same paths: its
    box has no other files of the host. Each Attempt finds what others have left there."""
    machine_disk: ByteSize = Field(default=ByteSize(10 * 1024**3), ge=256 * 1024 * 1024)
    """Most bytes of disk that a Machine's files may take, or as `10GiB`, also those of its browser and unsaved traces.
    A Machine that takes more is ended; no single file of it can be larger."""
    machine_idle: Seconds = timedelta(seconds=120)
    """Time after which a Machine without work is stopped, so that an idle worker costs no browser."""
    isolation: Literal["full", "open", "none"] | None = None
    """How far Machines are isolated: in boxes with networks of their own, in boxes with the host's network, or not at
    all. A worker does not start where a wall of that level is missing. Unset: `full` where the host allows it, else
    `open`."""
    browser_allow: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(default_factory=list[str])
    """Networks and hosts, comma-separated, that Machines may connect to although they are closed by default at the
    level `full` of isolation."""
    browser_deny: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(default_factory=list[str])
    """Networks and hosts, comma-separated, that Machines may not connect to, at the level `full` of isolation:
    `10.1.0.0/16`. Of this list and `CALLBOARD_BROWSER_ALLOW`, the longer network decides."""
    build_packages: bool | None = None
    """Whether packages of projects may be built from their sources, at deploys and by workers, which executes code of
    theirs. If not, only wheels are installed. Unset: wherever there is a box, so not at the level `none` of
    isolation."""
    own_ports: Annotated[list[int], NoDecode, BeforeValidator(_comma_separated)] = Field(default_factory=list[int])
    """Ports of this host, comma-separated, at which parts of Callboard listen that no other setting names (the
    embedded stack sets it). Machines may not connect to them, even where loopback is open."""
    trace_limit: ByteSize = Field(default=ByteSize(64 * 1024 * 1024), gt=0)
    """Largest size of a trace in bytes, or as `64MiB`; a larger one is not kept. An Attempt of some minutes has a
    few MiB."""
    files_count: int = Field(default=100, ge=0, le=1000)
    """Most files of an Attempt that are kept: what its code leaves below `output/`, and what its pages download."""
    files_limit: ByteSize = Field(default=ByteSize(100 * 1024 * 1024), ge=0, le=5 * 1024**3)
    """Most bytes of these files together, or as `100MiB`. One that would be more is not kept."""
    drain: Seconds = timedelta(seconds=60)
    """How long a worker that is told to stop lets running Attempts finish."""
    log_limit: ByteSize = Field(default=ByteSize(10 * 1024 * 1024), ge=1024)
    """Largest size of an Attempt's log in bytes, or as `10MiB`: the log of a program that prints without end is cut
    there."""
    store_limit: ByteSize = Field(default=ByteSize(256 * 1024 * 1024), ge=1024 * 1024)
    """Most bytes that a project's values in `persistent_store` may take, or as `256MiB`. A value counts as 1 KiB at
    least."""

    # These settings are about what the processes tell of themselves. Where OpenTelemetry traces go, the standard
    # variables of OpenTelemetry say (docs/tracing-and-logs.md).
    log_format: Literal["text", "json"] = "text"
    """Format of the logs of all processes: lines for people, or `json`, an object on each line."""
    otel_trace_url: str | None = None
    """Address of an OpenTelemetry trace for browsers, with `{trace_id}` in place of its id, for links on the pages:
    `https://grafana.example.com/trace/{trace_id}`. Unset: no links."""

    # These settings are about clients: the commands that call an API.
    url: str | None = None
    """Address of the API to call, such as `http://127.0.0.1:8400`. Unset: the `dev` stack on the data folder."""
    api_key: SecretStr | None = None
    """The key to call it with: one of its `CALLBOARD_API_KEYS`."""

    @field_validator("shared_folders", mode="after")
    @classmethod
    def _are_folders(cls, folders: list[Path]) -> list[Path]:
        for folder in folders:
            if not folder.is_absolute() or not folder.is_dir():
                raise ValueError(f"must name existing folders by absolute paths, and {folder} is none")
        return folders

    @field_validator("otel_trace_url", mode="after")
    @classmethod
    def _has_place_of_trace_id(cls, url: str | None) -> str | None:
        if url is not None and not (url.startswith(("http://", "https://")) and "{trace_id}" in url):
            raise ValueError("must be an address, http:// or https://, with {trace_id} in place of the id of a trace")
        return url

    @field_validator("artifact_retention", mode="after")
    @classmethod
    def _not_shorter_than_runs(cls, kept: timedelta | None, info: ValidationInfo) -> timedelta | None:
        if kept is not None and kept < info.data.get("run_retention", kept):
            raise ValueError("must not be shorter than CALLBOARD_RUN_RETENTION: a Run's result may be an artifact")
        return kept

    @property
    def viewer_listens_on(self) -> int:
        """Port of the trace viewer; 0 takes a free port."""
        if self.viewer_port is not None:
            return self.viewer_port
        return self.port + 10 if 0 < self.port <= 65525 else 0

    @property
    def live_url(self) -> str:
        """Address at which workers reach this api process."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return self.live_address or f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def artifacts_kept(self) -> timedelta:
        """How long artifacts are kept after the end of their Run."""
        return self.artifact_retention or self.run_retention + timedelta(days=1)

    def make_folder(self, name: str) -> Path:
        """Return a folder in the data folder, made for nobody else: it gets logs, traces, and settings with passwords.

        Raises:
            OSError: It cannot be made.
        """
        folder = self.data_dir.expanduser().resolve() / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    @property
    def artifact_location(self) -> str:
        """Location of the artifact store: a folder or an `s3://` address."""
        return self.artifacts or str(self.data_dir / "artifacts")

    @property
    def keeps_artifacts_in_bucket(self) -> bool:
        """Whether the artifact store is an S3 bucket, whose requests are slower and paid for."""
        return self.artifact_location.startswith("s3:")

    @property
    def workspace(self) -> str:
        """The workspace id in canonical lower-case form, as it stands in paths."""
        return str(self.workspace_id)
