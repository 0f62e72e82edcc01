"""The example site, as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import httpx
import pytest

from callboard.dev import ports
from examples.site import proxy
from tests.support.polling import until
from tests.support.processes import running


@dataclass(frozen=True)
class ExampleSite:
    """Addresses of the running example site, and of its proxy with the credentials that it asks for."""

    address: str
    proxy: str


@pytest.fixture(scope="session")
async def example_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ExampleSite]:
    port, proxy_port = ports.choose_ports({"--port": 0, "--proxy-port": 0}).values()
    address = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-m", "examples.site", "--port", str(port), "--proxy-port", str(proxy_port))
    async with (
        running(*command, log=tmp_path_factory.mktemp("site") / "log") as server,
        httpx.AsyncClient(trust_env=False) as http,
    ):

        async def answers() -> bool:
            assert server.returncode is None
            with suppress(httpx.TransportError):
                return (await http.get(f"{address}/healthz")).is_success
            return False

        await until(answers)
        yield ExampleSite(address, f"http://{proxy.USER}:{proxy.PASSWORD}@127.0.0.1:{proxy_port}")


@pytest.fixture(scope="session")
def site(example_site: ExampleSite) -> str:
    """Address of a running example site."""
    return example_site.address
