"""Clients of the apis: each asks one of them or the other, until it is answered."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any, Self

import httpx

from settings import Settings
from tests.chaos.installation import KEY

LONGEST_WAIT = 20
"""Seconds for which a client waits for the end of a Run in one request."""


class Refused(Exception):  # noqa: N818  # it is an answer
    """An answer that is right under no circumstances."""


class Clients:
    """A client of each api."""

    def __init__(self, seed: int, apis: list[str]) -> None:
        self._chance = random.Random(seed)
        self._addresses = apis
        self._clients: list[httpx.AsyncClient] = []
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for address in self._addresses:
            client = httpx.AsyncClient(
                base_url=f"{address}/api/v1/workspace/{Settings().workspace}/projects/",
                headers={"x-api-key": KEY},
                timeout=LONGEST_WAIT + 15,
                limits=httpx.Limits(max_connections=None),
                trust_env=False,
            )
            self._clients.append(await self._resources.enter_async_context(client))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """Return the JSON of an answer. Raises Refused."""
        return (await self.request(method, path, **options)).json()

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask one api or the other, until one of them answers.

        Raises:
            Refused: The answer is right under no circumstances.
        """
        while True:
            client = self._chance.choice(self._clients)
            try:
                answer = await client.request(method, path, **options)
            except httpx.TransportError:
                await asyncio.sleep(0.2)
                continue
            if answer.is_success:
                return answer
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                raise Refused(f"{method} {path} was answered {answer.status_code}: {answer.text}")
            await asyncio.sleep(0.2)
