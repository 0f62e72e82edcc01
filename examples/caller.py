"""The calls of the demo, as any HTTP client would make them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from callboard.dev.dev import DevStack
from callboard.schemas.errors import StackError

LIMIT = 60.0
"""Seconds that one thing of the demo may take."""


class Caller:
    """Talks to the api of a running stack."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @classmethod
    @asynccontextmanager
    async def of(cls, stack: DevStack) -> AsyncGenerator[Caller]:
        """For as long as the block lasts."""
        base = f"{stack.url}/api/v1/workspace/{stack.settings.workspace}/projects"
        async with httpx.AsyncClient(
            base_url=base, headers={"x-api-key": stack.api_key}, timeout=LIMIT, trust_env=False
        ) as http:
            yield cls(http)

    async def run(self, project: str, body: dict[str, Any]) -> dict[str, Any]:
        """Start a Run and wait for its end."""
        run_id = (await self._post(f"/{project}/run/start", body))["runId"]
        answer = await self._until(f"/{project}/run/{run_id}/result?wait=30", {"completed", "failed", "canceled"})
        if answer["status"] != "completed":
            raise StackError(f"Run {run_id} ended as {answer['status']}: {answer.get('message')}")
        return answer

    async def log_in(self, project: str, auth_session: str, parameters: dict[str, Any]) -> None:
        """Create an AuthSession and wait until it is ready."""
        body = {"id": auth_session, "parameters": parameters}
        operation = (await self._post(f"/{project}/auth-sessions/create", body))["operationId"]
        result = f"/{project}/auth-sessions/create/{operation}/result"
        answer = await self._until(result, {"done", "failed", "canceled"})
        if answer["status"] != "done":
            raise StackError(f"The login could not be made: {answer.get('message')}")

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._http.post(path, json=body)
        if answer.status_code != 201:
            raise StackError(f"{path} was not accepted: {answer.status_code} {answer.text}")
        accepted: dict[str, Any] = answer.json()
        return accepted

    async def _until(self, path: str, statuses: set[str]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(LIMIT):
                while True:
                    answer = await self._http.get(path)
                    if answer.status_code != 200:
                        raise StackError(f"{path} cannot be had: {answer.status_code} {answer.text}")
                    body: dict[str, Any] = answer.json()
                    if body["status"] in statuses:
                        return body
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise StackError(f"{path} has no end to tell after {LIMIT:g} seconds.") from None
