"""The live view of a browser: how soon a picture shows an input, and how Attempts fare beside those who watch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.support.rest import Rest

_KEY = {"kind": "key", "key": "a", "code": "KeyA"}
_PRESS = {"events": [{**_KEY, "type": "keyDown"}, {**_KEY, "type": "keyUp"}]}


@asynccontextmanager
async def in_hand(rest: Rest) -> AsyncGenerator[str]:
    """Take the browser of an Attempt whose page changes with each key. Yield the place of its live view."""
    run_id = await rest.start("changes", {}, saveTrace=False)
    place = f"runs/{run_id}/attempts/1/live"
    try:
        take = {"action": "take"}
        while not (await rest.request("POST", f"{place}/control", json=take)).is_success:
            await asyncio.sleep(0.1)
        yield place
    finally:
        await rest.cancel(run_id, wait=30)


async def seconds_to_picture(rest: Rest, place: str) -> float:
    """Press a key; return the seconds until there is a picture that shows what became of it."""
    number = "0"
    while (answer := await rest.request("GET", place, params={"after": number})).status_code == 200:
        number = answer.headers["x-number"]  # until the page does not change any more
    began = time.perf_counter()
    picture = asyncio.create_task(rest.request("GET", place, params={"after": number}))
    (await rest.request("POST", f"{place}/input", json=_PRESS)).raise_for_status()
    (await picture).raise_for_status()
    return time.perf_counter() - began


@asynccontextmanager
async def watched(rest: Rest, place: str, viewers: int) -> AsyncGenerator[None]:
    """Have so many watch, and keys be pressed, within the block."""

    async def watch() -> None:
        number = "0"
        while True:
            answer = await rest.request("GET", place, params={"after": number})
            number = answer.headers.get("x-number", number)

    async def press() -> None:
        while True:
            await rest.request("POST", f"{place}/input", json=_PRESS)

    tasks = [asyncio.create_task(press()), *(asyncio.create_task(watch()) for _ in range(viewers))] if viewers else []
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
