"""The example site, as a process of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from devstack import ports
from examples.site import proxy
from tests.support.repository import REPOSITORY


@dataclass(frozen=True)
class ExampleSite:
    """Addresses of the running example site, and of its proxy with the credentials that it asks for."""

    address: str
    proxy: str


@pytest.fixture(scope="session")
async def example_site() -> AsyncIterator[ExampleSite]:
    port, proxy_port = ports.choose_ports({"--port": 0, "--proxy-port": 0}).values()
    address = f"http://127.0.0.1:{port}"
    options = ["--port", str(port), "--proxy-port", str(proxy_port)]
    server = await asyncio.create_subprocess_exec(sys.executable, "-m", "examples.site", *options, cwd=REPOSITORY)
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
            while server.returncode is None:
                try:
                    await client.get(f"{address}/healthz")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
        yield ExampleSite(address, f"http://{proxy.USER}:{proxy.PASSWORD}@127.0.0.1:{proxy_port}")
        server.terminate()
        # Ends at once, also if pages are still being served.
        assert await asyncio.wait_for(server.wait(), 10) in {0, -15}
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()


@pytest.fixture(scope="session")
def site(example_site: ExampleSite) -> str:
    """Address of a running example site."""
    return example_site.address
