"""The bodies that cost the api most, by route, and how long others wait for it meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import httpx

from callboard.schemas.rest.json_text import MAX_VALUES
from tests.support.rest import Rest

_LOOK_EVERY = 0.02


@dataclass(frozen=True)
class Body:
    """A request with a body that is as costly as it may be."""

    name: str
    method: str
    place: str
    content: bytes
    project: str | None = None
    kind: str = "application/json"


def worst_bodies() -> Iterator[Body]:
    """Yield the bodies. Those of other routes are not larger, and cost no more to check."""
    lists = b'{"api":"read","parameters":{"x":[%b]}}' % _as_many_as_may_be(b"[[[[[[[[]]]]]]]]", 9)
    yield Body("a start, of lists in lists", "POST", "run/start", lists)
    names = b'{"api":"read","parameters":{%b}}' % b",".join(b'"%d":0' % number for number in range(100_000))
    yield Body("a start, of many names", "POST", "run/start", names)
    item, head = b'{"apiName":"read","parameters":{}}', b'"configuration":{}'
    items = b'{"id":"items",%b,"payload":[%b]}' % (head, _as_many_as_may_be(item, 4))
    yield Body("a Job, of as many items as may be", "POST", "jobs", items)
    numbers = b'{"id":"numbers",%b,"payload":[%b]}' % (head, b",".join([b"1"] * 3_900_000))
    yield Body("a Job, of 3,900,000 numbers", "POST", "jobs", numbers)
    lines = b"\n".join([b'{"id":"lines",%b}' % head, *[item] * 200_000])
    yield Body("a Job, of 200,000 lines", "POST", "jobs", lines, kind="application/x-ndjson")
    stored = _as_many_as_may_be(b'{"name":"","value":""}', 3)
    state = b'{"state":{"cookies":[],"origins":[{"origin":"http://a","localStorage":[%b]}]}}' % stored
    yield Body("an import, of items of a storage", "POST", "auth-sessions/import", state, "bench-manual")
    files = b",".join(b'"%d":{"file":{"contents":""}}' % number for number in range(49_000))
    project = b'{"codeTree":{"Intuned.json":{"file":{"contents":"{}"}},%b}}' % files
    yield Body("a project as JSON, of 49,001 files", "PUT", "", project, "bench-sent")


def _as_many_as_may_be(unit: bytes, values: int) -> bytes:
    """Return as many units as a body may have, each of so many values, with some left for what is around them."""
    return b",".join([unit] * ((MAX_VALUES - 50) // values))


async def send(rest: Rest, url: str, body: Body) -> tuple[int, float, float]:
    """Send a body. Return the status, the seconds until the answer, and the longest that `/healthz` took meanwhile."""
    headers = {"content-type": body.kind}
    waits = [0.0]
    async with httpx.AsyncClient(base_url=url, timeout=90, trust_env=False) as others:
        watch = asyncio.create_task(_watch(others, waits))
        try:
            began = time.perf_counter()
            answer = await rest.request(
                body.method, body.place, project=body.project, content=body.content, headers=headers
            )
            took = time.perf_counter() - began
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
    return answer.status_code, took, max(waits)


async def _watch(others: httpx.AsyncClient, waits: list[float]) -> None:
    while True:
        began = time.perf_counter()
        try:
            await others.get("/healthz")
        finally:
            waits.append(time.perf_counter() - began)  # also of one that still waits as the answer comes
        await asyncio.sleep(_LOOK_EVERY)
