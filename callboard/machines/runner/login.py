"""The login of an Attempt in the Machine's own context.

A context that the project's hook has brought is restored and captured in the process of user code instead (`session`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from callboard_runtime.state import (
    NOTHING,
    State,
    StateError,
    as_text,
    captured,
    differ,
    is_wanted,
    parsed,
    restore,
    uncaptured,
)
from playwright.async_api import BrowserContext, Page


class Login:
    """The login of one Attempt: restored before user code, and captured after it."""

    def __init__(self, spec: dict[str, Any], context: BrowserContext, before_capture: Callable[[], None]) -> None:
        """Prepare, without touching the context yet.

        Args:
            spec: The message `attempt` of the worker.
            context: The Machine's own context.
            before_capture: Called before the state is captured, as that time is not the automation's.
        """
        self._spec = spec
        self._context = context
        self._before_capture = before_capture
        self._captured: asyncio.Task[tuple[State, str | None]] | None = None
        self.state: State | None = None
        """What the Attempt begins with; None if it has no login."""

    def read(self) -> None:
        """Read the state that the Attempt begins with. Raises StateError if that is none."""
        text = self._spec["session"]
        self.state = None if text is None else parsed(text)

    async def restore(self, unused: Page | None) -> None:
        """Restore the state in the context, whose page `unused` shows nothing yet.

        Raises:
            StateError: The state cannot be restored.
            PlaywrightError: The browser is gone.
        """
        if self.state is not None:
            await restore(self._context, self.state, unused=unused)

    async def capture_early(self) -> None:
        """Capture the state, if it may be wanted, before the hook's cleanup ends what it is captured from."""
        if self._captured is None and (self._spec["capture"] or self._spec["kind"] == "create"):
            self._captured = self._capture()
            await asyncio.wait({self._captured})

    async def changed(self, done: dict[str, Any], *, restored: bool) -> dict[str, Any]:
        """Return the changed state after a good end as field `session`, and as `unkept` what is not kept, and why.

        Args:
            done: The message of the process of user code. It has the state if the hook brought the context.
            restored: Whether the state was restored completely before.

        Raises:
            StateError: The state of a create could not be captured, so that the create has failed.
        """
        kind = self._spec["kind"]
        unkept = done.get("unkept")
        if unkept is not None and "state" not in done:
            return {"session": None, "unkept": unkept}
        try:
            if "state" in done:
                state = parsed(as_text(done["state"]))
            else:
                good = kind != "check" or done["result"] == "true"
                if not is_wanted(kind, capture=self._spec["capture"], restored=restored, good=good):
                    return {"session": None}
                state, unkept = await (self._captured or self._capture())
            if kind != "create" and not differ(self.state or NOTHING, state):
                return {"session": None}
            return {"session": as_text(state), "unkept": unkept}
        except StateError as error:
            return {"session": None, "unkept": uncaptured(kind, error)}

    def _capture(self) -> asyncio.Task[tuple[State, str | None]]:
        self._before_capture()
        return asyncio.create_task(captured(self._context, self.state, databases=self._spec["indexedDb"]))
