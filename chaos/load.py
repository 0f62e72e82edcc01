"""Clients that start Runs of all kinds, wait for their ends, and cancel some; and one that reads everything afterwards.

A client whose api does not answer asks the other one, with the same `Idempotency-Key`.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Self

import httpx

from bench.concurrency import for_each
from chaos.checker import ENDED
from chaos.installation import KEY
from chaos.record import Answer, Attempt, Run, Sink
from settings import Settings

_LONGEST_WAIT = 20
_READERS = 8
"""How many Runs are read at the same time when all is over."""
_CANCELED_WHILE_IT_RUNS = 0.8
"""Of the Runs that are canceled, this part has begun before; the others may wait for a Machine."""
_AUTH_SESSIONS = ("member-1", "member-2", "member-3")


@dataclass(frozen=True)
class Kind:
    """A way for a Run to go."""

    api: str
    weight: int
    attempts: int = 3
    seconds: int = 60
    """The Run's `requestTimeout`."""
    canceled: bool = False
    project: str = "market"


MIX = (
    Kind("quick", 840),
    Kind("slow", 30),
    Kind("slow", 15, attempts=1),
    Kind("slow", 15, canceled=True),
    Kind("flaky", 20),
    Kind("failing", 20, attempts=2),
    Kind("hanging", 5, attempts=1, seconds=2),
    Kind("hanging", 5, canceled=True),
    Kind("crashing", 10, attempts=2),
)
MEMBERS = (Kind("account", 9, project="members"), Kind("account", 1, canceled=True, project="members"))


class Refused(Exception):  # noqa: N818  # it is an answer
    """An answer that is right under no circumstances."""


class Load:
    """All clients, and the Runs that they have started."""

    def __init__(self, seed: int, apis: list[str], sinks: Mapping[Sink, Any]) -> None:
        self.runs: list[Run] = []
        self.refused: list[str] = []
        self._chance = random.Random(seed)
        self._sinks = sinks
        self._numbers = itertools.count()
        self._addresses = apis
        self._clients: list[httpx.AsyncClient] = []
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for address in self._addresses:
            client = httpx.AsyncClient(
                base_url=f"{address}/api/v1/workspace/{Settings().workspace}/projects/",
                headers={"x-api-key": KEY},
                timeout=_LONGEST_WAIT + 15,
                limits=httpx.Limits(max_connections=None),
                trust_env=False,
            )
            self._clients.append(await self._resources.enter_async_context(client))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    async def log_in(self) -> None:
        """Create the AuthSessions."""
        for id_ in _AUTH_SESSIONS:
            body = {"id": id_, "parameters": {"user": id_}}
            created = await self._ask("POST", "members/auth-sessions/create", json=body)
            path = f"members/auth-sessions/create/{created['operationId']}/result"
            while (answer := await self._ask("GET", path))["status"] in {"pending", "in_progress"}:
                await asyncio.sleep(0.1)
            if answer["status"] != "done":
                raise RuntimeError(f"AuthSession {id_} could not be created: {answer}")

    async def keep_starting(self, kinds: tuple[Kind, ...], stop: asyncio.Event) -> None:
        """Start one Run after the other, each when the one before has ended, until `stop` is set."""
        while not stop.is_set():
            (kind,) = self._chance.choices(kinds, [kind.weight for kind in kinds])
            try:
                await self._run(kind)
            except Refused as refused:
                self.refused.append(str(refused))

    async def read_all(self) -> None:
        """Read every Run once more."""
        await for_each(self.runs, self._read, at_once=_READERS)

    async def list_all(self) -> list[str]:
        """Return the ids of all Runs of APIs, as lists tell."""
        found: list[str] = []
        for project in ("market", "members"):
            cursor: dict[str, str] = {}
            while True:
                page = await self._ask("GET", f"{project}/runs", params={"type": "api", "limit": 200, **cursor})
                found += [run["runId"] for run in page["runs"]]
                if page["nextCursor"] is None:
                    break
                cursor = {"cursor": page["nextCursor"]}
        return found

    async def until_delivered(self, within: float) -> None:
        """Wait until no Delivery is pending, or the time is over."""
        delivered = [run for run in self.runs if run.sink and run.told and run.told.status in {"completed", "failed"}]
        with suppress(TimeoutError):  # the checker finds what is missing
            async with asyncio.timeout(within):
                await for_each(delivered, self._until_delivered, at_once=_READERS)

    async def _run(self, kind: Kind) -> None:
        n = next(self._numbers)
        body: dict[str, Any] = {
            "api": kind.api,
            "parameters": {"n": n, "seconds": round(self._chance.uniform(0.5, 4), 2)},
            "retry": {"maximumAttempts": kind.attempts},
            "requestTimeout": kind.seconds,
            "saveTrace": self._chance.random() < 0.05,
        }
        sink = self._choose_sink()
        if sink is not None:
            body["sink"] = self._sinks[sink]
        if kind.project == "members":
            stored = self._chance.random() < 0.9
            body["authSession"] = (
                {"id": self._chance.choice(_AUTH_SESSIONS)} if stored else {"runtimeInput": {"user": "nobody"}}
            )
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        started = await self._ask("POST", f"{kind.project}/run/start", json=body, headers=headers)
        run = Run(
            run_id=started["runId"],
            n=n,
            project=kind.project,
            api=kind.api,
            maximum_attempts=kind.attempts,
            sink=sink,
            cancel_asked=kind.canceled,
        )
        self.runs.append(run)
        path = f"{run.project}/run/{run.run_id}"
        if kind.canceled:
            if self._chance.random() < _CANCELED_WHILE_IT_RUNS:
                await self._until_begun(path)
            await asyncio.sleep(self._chance.uniform(0, 2))
            await self._ask("POST", f"{path}/cancel", params={"wait": 0})
        while True:
            answer = await self._ask("GET", f"{path}/result", params={"wait": _LONGEST_WAIT})
            if answer["status"] in ENDED:
                break
        run.told, run.told_at = _answer(answer), time.monotonic()

    async def _until_begun(self, path: str) -> None:
        while (await self._ask("GET", f"{path}/result"))["status"] == "pending":
            await asyncio.sleep(0.2)

    def _choose_sink(self) -> Sink | None:
        number = self._chance.random()
        return "webhook" if number < 0.25 else "bucket" if number < 0.3 else None

    async def _read(self, run: Run) -> None:
        try:
            found = await self._ask("GET", f"{run.project}/runs/{run.run_id}")
        except Refused as refused:
            self.refused.append(str(refused))
            return
        run.read = _answer(found)
        run.attempts = [
            Attempt(number=each["number"], status=each["status"], error=_part(each, "error").get("code"))
            for each in found["attempts"]
        ]
        run.deliveries = [each["status"] for each in found["deliveries"]]

    async def _until_delivered(self, run: Run) -> None:
        while True:
            found = await self._ask("GET", f"{run.project}/runs/{run.run_id}/deliveries")
            if found["deliveries"] and all(each["status"] != "pending" for each in found["deliveries"]):
                return
            await asyncio.sleep(1)

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
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
                return answer.json()
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                raise Refused(f"{method} {path} was answered {answer.status_code}: {answer.text}")
            await asyncio.sleep(0.2)


def _answer(body: Mapping[str, Any]) -> Answer:
    error = _part(body, "error")
    return Answer(
        status=body["status"],
        result=body.get("result"),
        error=error.get("code"),
        last_error=_part(_part(error, "details"), "last_error").get("code"),
        reason=_part(body, "reason").get("type"),
    )


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object within an answer; an empty one if it is absent or null."""
    return body.get(name) or {}
