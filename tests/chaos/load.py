"""Start Runs of all kinds, wait for their ends and cancel some, and read everything afterwards."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.bench.concurrency import for_each
from tests.chaos.checker import ENDED
from tests.chaos.record import Answer, Attempt, Run, Sink
from tests.support.rest import Refused, Rest

_LONGEST_WAIT = 20
"""Seconds for which a client waits for the end of a Run in one request."""
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


class Load:
    """All clients, and the Runs that they have started."""

    def __init__(self, seed: int, rest: Rest, sinks: Mapping[Sink, Any]) -> None:
        self.runs: list[Run] = []
        self.refused: list[str] = []
        self._chance = random.Random(seed)
        self._rest = rest
        self._sinks = sinks
        self._numbers = itertools.count()

    async def log_in(self) -> None:
        """Create the AuthSessions."""
        for id_ in _AUTH_SESSIONS:
            body = {"id": id_, "parameters": {"user": id_}}
            answer = await self._rest.operation("create", "create", body, project="members")
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

    async def read_all(self, others: Iterable[Run]) -> None:
        """Read every Run once more, also others than those that these clients have started."""
        await for_each([*self.runs, *others], self._read, at_once=_READERS)

    async def list_all(self) -> list[str]:
        """Return the ids of all Runs of APIs, as lists tell."""
        found: list[str] = []
        for project in ("market", "members", "batch"):
            cursor: dict[str, str] = {}
            while True:
                page = await self._rest.get("runs", project=project, type="api", limit=200, **cursor)
                found += [run["runId"] for run in page["runs"]]
                if page["nextCursor"] is None:
                    break
                cursor = {"cursor": page["nextCursor"]}
        return found

    async def until_delivered(self, others: Iterable[Run], within: float) -> None:
        """Wait until no Delivery is pending, also of others than these clients' Runs, or the time is over."""
        runs = [*self.runs, *others]
        delivered = [run for run in runs if run.sink and run.told and run.told.status in {"completed", "failed"}]
        with suppress(TimeoutError):  # the checker finds what is missing
            async with asyncio.timeout(within):
                await for_each(delivered, self._until_delivered, at_once=_READERS)

    async def _run(self, kind: Kind) -> None:
        n = next(self._numbers)
        fields: dict[str, Any] = {
            "retry": {"maximumAttempts": kind.attempts},
            "requestTimeout": kind.seconds,
            "saveTrace": self._chance.random() < 0.05,
        }
        sink = self._choose_sink()
        if sink is not None:
            fields["sink"] = self._sinks[sink]
        if kind.project == "members":
            stored = self._chance.random() < 0.9
            fields["authSession"] = (
                {"id": self._chance.choice(_AUTH_SESSIONS)} if stored else {"runtimeInput": {"user": "nobody"}}
            )
        parameters = {"n": n, "seconds": round(self._chance.uniform(0.5, 4), 2)}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        run_id = await self._rest.start(kind.api, parameters, project=kind.project, headers=headers, **fields)
        run = Run(
            run_id=run_id,
            n=n,
            project=kind.project,
            api=kind.api,
            maximum_attempts=kind.attempts,
            sink=sink,
            cancel_asked=kind.canceled,
        )
        self.runs.append(run)
        if kind.canceled:
            if self._chance.random() < _CANCELED_WHILE_IT_RUNS:
                while (await self._look(run))["status"] == "pending":
                    await asyncio.sleep(0.2)
            await asyncio.sleep(self._chance.uniform(0, 2))
            await self._rest.cancel(run_id, project=run.project, wait=0)
        while (answer := await self._look(run, wait=_LONGEST_WAIT))["status"] not in ENDED:
            pass
        run.told, run.told_at = answer_of(answer), time.monotonic()

    async def _look(self, run: Run, wait: float = 0) -> dict[str, Any]:
        return await self._rest.result(run.run_id, project=run.project, wait=wait)

    def _choose_sink(self) -> Sink | None:
        number = self._chance.random()
        return "webhook" if number < 0.25 else "bucket" if number < 0.3 else None

    async def _read(self, run: Run) -> None:
        try:
            found = await self._rest.get(f"runs/{run.run_id}", project=run.project)
        except Refused as refused:
            self.refused.append(str(refused))
            return
        run.read = answer_of(found)
        run.attempts = [
            Attempt(number=each["number"], status=each["status"], error=part_of(each, "error").get("code"))
            for each in found["attempts"]
        ]
        run.deliveries = [each["status"] for each in found["deliveries"]]

    async def _until_delivered(self, run: Run) -> None:
        while True:
            found = await self._rest.get(f"runs/{run.run_id}/deliveries", project=run.project)
            if found["deliveries"] and all(each["status"] != "pending" for each in found["deliveries"]):
                return
            await asyncio.sleep(1)


def answer_of(body: Mapping[str, Any]) -> Answer:
    """Return how a Run ended, as an answer or a line of results tells."""
    error = part_of(body, "error")
    return Answer(
        status=body["status"],
        result=body.get("result"),
        error=error.get("code"),
        last_error=part_of(part_of(error, "details"), "last_error").get("code"),
        reason=part_of(body, "reason").get("type"),
    )


def part_of(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object within an answer; an empty one if it is absent or null."""
    return body.get(name) or {}
