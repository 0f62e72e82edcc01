"""The example site, served as its users serve it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
async def site() -> AsyncIterator[str]:
    """Address of a running example site."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.site", "--port", str(port), cwd=REPOSITORY
    )
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
            while server.returncode is None:
                try:
                    await client.get(f"{address}/healthz")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
        yield address
        server.terminate()
        # Ends at once, also if pages are still being served.
        assert await asyncio.wait_for(server.wait(), 10) in {0, -15}
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()
