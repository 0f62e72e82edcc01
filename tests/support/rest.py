"""The client of the REST API for tests, whatever serves it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

from callboard.settings import Settings
from tests.support.polling import until

PATIENCE = 180
"""Seconds. Everything takes moments; a busy machine may be slow."""
UNDER_WAY = frozenset({"pending", "started", "in_progress"})
"""Statuses of Runs and of operations of AuthSessions that have not ended."""


class Refused(AssertionError):  # noqa: N818  # it is an answer
    """An answer that is no success."""


class Rest:
    """A client of one api, or of several that serve the same.

    Places are paths below a project: `project`, unless a call names another one.
    """

    def __init__(self, *apis: httpx.AsyncClient, project: str = "lab", comes_again: bool = False) -> None:
        """Make a client.

        Args:
            apis: Clients of the apis, which are asked in turn.
            project: The project.
            comes_again: Ask once more, and another api, when no api is there or it has an error of its own.
        """
        self.http = apis[0]
        self.project = project
        self.workspace = str(Settings().workspace)
        self._apis = itertools.cycle(apis)
        self._comes_again = comes_again

    @classmethod
    @asynccontextmanager
    async def of(cls, *urls: str, key: str, **options: Any) -> AsyncGenerator[Self]:
        """Connect to the apis at these addresses until the block ends. The options are those of a client."""
        clients = [
            httpx.AsyncClient(
                base_url=url,
                headers={"x-api-key": key},
                timeout=90,
                limits=httpx.Limits(max_connections=None),
                trust_env=False,
            )
            for url in urls
        ]
        try:
            yield cls(*clients, **options)
        finally:
            for client in clients:
                await client.aclose()

    def path(self, place: str, project: str | None = None) -> str:
        return f"/api/v1/workspace/{self.workspace}/projects/{project or self.project}/{place}".rstrip("/")

    async def request(self, method: str, place: str, *, project: str | None = None, **options: Any) -> httpx.Response:
        """Return an answer, whatever it is."""
        while True:
            try:
                answer = await next(self._apis).request(method, self.path(place, project), **options)
            except httpx.TransportError:
                if not self._comes_again:
                    raise
            else:
                if not self._comes_again or answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    return answer
            await asyncio.sleep(0.2)

    async def ask(self, method: str, place: str, body: Any = None, **options: Any) -> Any:
        """Return the JSON of an answer, None if it is empty.

        Raises:
            Refused: It is no success.
        """
        answer = await self.request(method, place, json=body, **options)
        if not answer.is_success:
            raise Refused(f"{method} {place} was answered {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None

    async def get(self, place: str, *, project: str | None = None, **query: Any) -> Any:
        return await self.ask("GET", place, project=project, params=query)

    async def post(self, place: str, body: Any = None, **options: Any) -> Any:
        return await self.ask("POST", place, body, **options)

    async def until(
        self, place: str, true: Callable[[Any], object], *, within: float = PATIENCE, every: float = 0.1, **query: Any
    ) -> Any:
        """Ask for this again and again until the answer is so; return it."""
        return await until(lambda: self.get(place, **query), within, true=true, every=every)

    async def is_ready(self) -> bool:
        try:
            return (await self.http.get("/readyz")).is_success
        except httpx.TransportError:  # it does not listen yet
            return False

    # Runs.

    async def start(
        self, api: str, parameters: Any = None, *, project: str | None = None, headers: Any = None, **fields: Any
    ) -> str:
        """Start a Run; its id."""
        body = {"api": api, "parameters": parameters or {}, **fields}
        return (await self.post("run/start", body, project=project, headers=headers))["runId"]

    async def result(self, run_id: str, *, project: str | None = None, wait: float | None = None) -> dict[str, Any]:
        """The result when the Run has ended; or what is answered after `wait` seconds."""
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self.get(f"run/{run_id}/result", project=project, wait=20 if wait is None else wait)
                if wait is not None or answer["status"] not in UNDER_WAY:
                    return answer

    async def run(
        self, api: str, parameters: Any = None, *, project: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Start a Run and wait for its end."""
        return await self.result(await self.start(api, parameters, project=project, **fields), project=project)

    async def cancel(self, run_id: str, *, project: str | None = None, wait: float = 30) -> dict[str, Any]:
        return await self.post(f"run/{run_id}/cancel", project=project, params={"wait": wait})

    async def until_status(self, run_id: str, status: str, *, project: str | None = None) -> None:
        await self.until(f"run/{run_id}/result", lambda run: run["status"] == status, project=project, every=0.05)

    # AuthSessions.

    async def operation(
        self, start: str, result: str, body: dict[str, Any], *, project: str | None = None
    ) -> dict[str, Any]:
        """Start an operation of an AuthSession, and wait for how it ended; `start` and `result` are its places."""
        started = await self.post(f"auth-sessions/{start}", body, project=project)
        place = f"auth-sessions/{result}/{started['operationId']}/result"
        ended = await self.until(place, lambda answer: answer["status"] not in UNDER_WAY, project=project)
        return {"operationId": started["operationId"], **ended}
