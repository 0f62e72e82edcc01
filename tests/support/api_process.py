"""The api as a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from devstack import ports
from tests.support.api_in_process import KEY
from tests.support.constants import WORKSPACE
from tests.support.repository import REPOSITORY


@dataclass
class ApiProcess:
    """`python -m api`, started on free ports."""

    environment: dict[str, str]
    log: Path

    async def __aenter__(self) -> Self:
        free = ports.choose_ports({"CALLBOARD_PORT": 0, "CALLBOARD_VIEWER_PORT": 0})
        environment = {name: str(port) for name, port in free.items()} | self.environment
        self.url = f"http://127.0.0.1:{environment['CALLBOARD_PORT']}"
        self.viewer_url = f"http://127.0.0.1:{environment['CALLBOARD_VIEWER_PORT']}"
        self.base = f"{self.url}/api/v1/workspace/{WORKSPACE}/projects"
        plain = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "api"),
                cwd=REPOSITORY,
                env=plain | environment,
                stdout=log,
                stderr=log,
            )
        self.client = httpx.AsyncClient(headers={"x-api-key": KEY}, timeout=90)
        return self

    async def alive(self) -> None:
        """Wait until it answers."""
        async with asyncio.timeout(30):
            while True:
                assert self.process.returncode is None, self.log.read_text()
                with suppress(httpx.TransportError):
                    if (await self.client.get(f"{self.url}/healthz")).is_success:
                        return
                await asyncio.sleep(0.05)

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
