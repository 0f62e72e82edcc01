"""Record a login: a person logs in, in a tab of the Machine's own, and no user code takes part.

The tab leaves neither trace nor screenshot, and the log tells nothing of what its pages do.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from callboard_runtime.page_events import PageEvents
from callboard_runtime.state import StateError, as_text, capture_within, captured
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from .browser import Tab
from .channel import Channel
from .evidence import Evidence
from .playwright_wire import guid_of

_OPENED_WITHIN = 30.0
"""Seconds in which the start address must have answered."""
_GONE = "The browser has ended, or its page has crashed or was closed, before the person was done. Record it again."
_ASKED_FOR = "43200"
"""Most seconds for which the person is asked: as many as `handoffs.maxTimeout`, which bounds it, may be."""


async def record(
    spec: dict[str, Any], tab: Tab, worker: Channel, evidence: Evidence, page_events: PageEvents
) -> dict[str, Any]:
    """Have a person log in, and return the fields of `done`.

    The result tells how that has ended, as `{"status", "reason"}` in JSON text. With `completed`, `session` is the
    state of the login.
    """
    await evidence.begin(tab.context, tab.page)  # which the live view goes by
    start_url: str = json.loads(spec["parameters"])["startUrl"]
    if (reason := await _open(tab, start_url, page_events)) is not None:
        return _done({"status": "failed", "reason": reason})
    instructions = f"Log in for AuthSession {spec['runInfo']['auth_session_id']}, from {start_url} on. Then press Done."
    asked = {"question": "1", "instructions": instructions, "timeout": _ASKED_FOR}
    with evidence.showing(guid_of(tab.page)):  # and the windows that it opens
        asking = asyncio.create_task(worker.ask("request", operation="hand_over", arguments=asked), name="ask")
        gone = asyncio.create_task(_gone(tab), name="gone")
        try:
            await asyncio.wait({asking, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            asking.cancel()
        if not asking.done():
            return _done({"status": "failed", "reason": _GONE})
        answer = asking.result()
    if "error" in answer:
        return _done({"status": "failed", "reason": answer["error"]})
    end: dict[str, Any] = json.loads(answer["value"])
    if end["status"] != "completed":
        return _done(end)
    worker.post("capturing", within=capture_within(databases=spec["indexedDb"]))
    try:
        state, unkept = await captured(tab.context, None, databases=spec["indexedDb"])
        return _done(end, session=as_text(state), unkept=unkept)
    except StateError as error:
        return _done({"status": "failed", "reason": f"The state of the login could not be captured: {error}"})


async def _gone(tab: Tab) -> None:
    """Return once there is nothing any more that the person could log in with."""
    over = asyncio.Event()

    def watch(page: Page) -> None:
        page.on("close", lambda _: None if tab.context.pages else over.set())
        page.on("crash", lambda _: over.set())

    tab.context.on("page", watch)
    tab.context.on("close", lambda _: over.set())
    for page in tab.context.pages:
        watch(page)
    await over.wait()


async def _open(tab: Tab, url: str, page_events: PageEvents) -> str | None:
    """Go to this address. Return why that fails, as a sentence; None if it does not."""
    try:
        async with asyncio.timeout(_OPENED_WITHIN):
            await tab.page.goto(url, wait_until="commit", timeout=0)
    except TimeoutError:
        why = f"{url} did not answer within {_OPENED_WITHIN:g} seconds"
    except PlaywrightError as error:
        why = error.message.partition("\n")[0].removeprefix("Page.goto: ")
    else:
        return None
    if tab.proxy_refused:
        why = "the proxy wants other credentials than it was given (407)"
    return " ".join([f"The start address could not be opened: {why}.", *page_events.reasons(why)])


def _done(end: dict[str, Any], *, session: str | None = None, unkept: str | None = None) -> dict[str, Any]:
    result = json.dumps({"status": end["status"], "reason": end["reason"]})
    return {"result": result, "extendedPayloads": None, "session": session, "unkept": unkept, "attributes": {}}
