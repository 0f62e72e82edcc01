"""The evidence of an Attempt: its trace and, if it fails, a last screenshot of its page.

Playwright traces contexts. The context that the automation is given, and each that it opens itself in the Machine's
browser, has a trace file of its own, `trace-1.zip` and so on. A trace can only be saved while its context is open, so
this is done before the context is closed, whoever closes it.

While a person has the browser, nothing is traced. What a trace shows first is the page as it is, with all that was
typed. So a context is traced again, in a further file, only once none of its pages is one that a person has used.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from .browser import nothing
from .folders import take_over
from .playwright_wire import guid_of
from .used_pages import UsedPages

SCREENSHOT = "screenshot.png"
PART = ".part"
"""Suffix of files that are not complete yet."""
_START_WITHIN = 5.0
_PICTURE_WITHIN = 1.0
"""Seconds for a screenshot. A page that is busy for ever gives none, and a stopped Attempt has no more time."""
_PAUSED_WITHIN = 5.0
"""Seconds in which a trace has to be saved when a person takes the browser."""
_LOOK_EVERY = 5.0
_RAW = 4
"""Factor of the kept size that gives the most bytes of traces before they are packed."""
_BLANK = "about:blank"
_NOT_STARTED = "Must start tracing before stopping"
_IN_SHORT = 300
"""Most characters of a reason."""
_GAP = "A person had the browser: there is a gap from then until each page that was used showed its next document."
_TOO_LATE = f"It had not ended {_PAUSED_WITHIN:g} s after a person took the browser, and could show what was typed."
_USED = "A person has used its page, which may show what was typed."


@dataclass(eq=False)
class _Traced:
    """A context that is traced, with the file for its trace and the task that saves it."""

    context: BrowserContext
    file: Path
    saving: asyncio.Task[None] | None = None
    is_late: bool = False
    """Whether it had not ended when a person began to use the browser."""


class Evidence:
    """Trace and screenshot of one Attempt: it starts them, and saves them in the Attempt's folder."""

    def __init__(
        self,
        wanted: dict[str, Any] | None = None,
        title: str = "",
        traces: Path | None = None,
        sign_of_life: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self._sign_of_life = sign_of_life
        self.folder = None if wanted is None else Path(wanted["folder"])
        """Folder in which everything is saved; None if nothing is wanted."""
        self._mode = "never" if wanted is None else str(wanted["trace"])
        self._title = title
        self._numbers = itertools.count(1)
        self._traced: list[_Traced] = []
        self.used = UsedPages()
        self.used.on_document = self._go_on_soon
        self._waiting: list[BrowserContext] = []
        """Contexts that are to be traced once no page of theirs was used by a person."""
        self._going_on: set[asyncio.Task[None]] = set()
        self._has_gap = False
        self._page: Page | None = None
        self._others: list[BrowserContext] = []
        self._shown: list[tuple[str, list[Page]]] = []
        """The ids of pages that user code wants to be seen, each with the pages that there were before."""
        self._missing: dict[str, str] = {}
        self._raw = traces
        self._most = 0 if wanted is None else int(wanted["limit"]) * _RAW
        self._watch: asyncio.Task[None] | None = None
        self._given_up = False
        self._failing: asyncio.Future[Any] | None = None
        self._failed_at: Page | None = None
        self._saving: asyncio.Task[dict[str, Any]] | None = None

    async def begin(self, context: BrowserContext, page: Page) -> None:
        """Begin to trace the context and page that the automation is about to be given."""
        self._page = page
        await self._trace(context)

    async def add_context(self, context: BrowserContext) -> None:
        """Trace a context that the automation has opened itself."""
        self._others.append(context)
        await self._trace(context)

    async def _trace(self, context: BrowserContext) -> None:
        # If tracing cannot be started, that is no failure of the automation.
        if self.folder is None or self._mode == "never" or self._given_up or self._saving is not None:
            return
        if self.used.is_held:
            self._waiting.append(context)
            self._has_gap = True
            return
        traced = _Traced(context, self.folder / f"trace-{next(self._numbers)}.zip")
        try:
            async with asyncio.timeout(_START_WITHIN):
                await context.tracing.start(title=self._title, screenshots=True, snapshots=True, sources=True)
        except (PlaywrightError, TimeoutError) as error:
            self._miss("trace", f"It could not be begun: {_reason(error)}")
            return
        self._traced.append(traced)
        if self._watch is None and self._raw is not None:
            self._watch = asyncio.ensure_future(self._watch_size(self._raw))
        setattr(context, "close", self._saving_first(traced, context.close))  # noqa: B010  # on this very object

    async def pause(self) -> None:
        """End all traces, as a person is about to use a page. A trace that does not end in time is discarded."""
        self.used.is_held = True
        ending = [traced for traced in self._traced if traced.saving is None]
        if not ending:
            return
        self._has_gap = True
        self._waiting += [traced.context for traced in ending]
        saved = asyncio.ensure_future(asyncio.gather(*map(self._save_trace, ending)))
        await asyncio.wait({saved}, timeout=_PAUSED_WITHIN)
        for traced in ending:
            traced.is_late = traced.saving is None or not traced.saving.done()

    async def resume(self) -> None:
        """Trace again what was traced before, as soon as nobody has used what it shows."""
        self.used.is_held = False
        await self._go_on()

    def _go_on_soon(self) -> None:
        if self._waiting:
            task = asyncio.create_task(self._go_on(), name="trace")
            self._going_on.add(task)
            task.add_done_callback(self._going_on.discard)

    async def _go_on(self) -> None:
        for context in [context for context in self._waiting if not self.used.are_in(context)]:
            self._waiting.remove(context)
            if not context.is_closed():
                await self._trace(context)

    async def save_context(self, guid: str) -> None:
        """Save the trace of a context that is about to be closed by another client."""
        await asyncio.gather(*(self._save_trace(traced) for traced in self._traced if guid_of(traced.context) == guid))

    @property
    def wanted(self) -> list[str]:
        """What is wanted of an Attempt that does not complete."""
        traced = [] if self._mode == "never" else ["trace"]
        return [] if self.folder is None else [*traced, "screenshot"]

    @property
    def traces(self) -> bool:
        """Whether something is traced."""
        return bool(self._traced)

    async def save_traces(self) -> None:
        """Save all traces that are not saved yet, as their contexts are about to be closed."""
        await asyncio.gather(*(self._save_trace(traced) for traced in self._traced))

    async def fail(self) -> None:
        """Save traces and screenshot of an automation that has not completed, while its page is open, once."""
        if self._failing is None:
            self._failed_at = self.last_page()
            self._failing = asyncio.gather(self.save_traces(), self._take_picture(self._failed_at))
        await asyncio.shield(self._failing)

    async def save(self, *, completed: bool) -> dict[str, Any]:
        """Save the Attempt's evidence, and return the fields of a `left` message.

        This is done once; a second call waits for the first. Its time is bounded except for the traces, whose saving
        takes as long as their size demands.
        """
        if self._saving is None:
            self._saving = asyncio.ensure_future(self._save_all(completed=completed))
        return await asyncio.shield(self._saving)

    async def _save_all(self, *, completed: bool) -> dict[str, Any]:
        if self._watch is not None:
            self._watch.cancel()
        if completed and self._mode == "on-failure":
            await self._discard_traces()
        elif completed:
            await self.save_traces()
        else:
            await self.fail()
        if self._has_gap and not (completed and self._mode == "on-failure"):
            self._miss("trace", _GAP)
        return {"pageUrl": None if self._failed_at is None else self._failed_at.url, "missing": self._missing}

    async def _save_trace(self, traced: _Traced) -> None:
        if traced.saving is None:
            traced.saving = asyncio.ensure_future(self._stop(traced))
        await asyncio.shield(traced.saving)

    async def _stop(self, traced: _Traced) -> None:
        # The supervisor's driver can write in the folder for raw traces, and nowhere else.
        part = (self._raw or traced.file.parent) / (traced.file.name + PART)
        try:
            await traced.context.tracing.stop(path=part)
            if traced.is_late:
                part.unlink()
                self._miss("trace", _TOO_LATE)
            else:
                take_over(part, traced.file)
        except (PlaywrightError, OSError) as error:
            stopped = _NOT_STARTED in str(error)
            why = "The automation has stopped it itself." if stopped else f"It could not be saved: {_reason(error)}"
            self._miss("trace", why)

    async def _watch_size(self, raw: Path) -> None:
        """Watch the size of the traces, and give them up before they fill the disk, as an Attempt may take hours."""
        size = 0
        while size <= self._most:
            await asyncio.sleep(_LOOK_EVERY)
            size = await asyncio.to_thread(_size, raw)
        self._given_up = True
        await self._discard_traces()
        self._miss("trace", f"It grew to {self._most} bytes before it was packed, and was given up.")

    async def _discard_traces(self) -> None:
        self._missing.pop("trace", None)
        for traced in self._traced:
            if traced.saving is None:  # else it is saved already, and is deleted
                traced.saving = asyncio.ensure_future(_discard(traced.context))
            await asyncio.shield(traced.saving)
            traced.file.unlink(missing_ok=True)

    async def _take_picture(self, page: Page | None) -> None:
        if self.folder is None or self._page is None:
            return
        if page is None:
            self._miss("screenshot", "Its page was closed.")
            return
        if page in self.used:
            self._miss("screenshot", _USED)
            return
        try:
            async with asyncio.timeout(_PICTURE_WITHIN):
                picture = await self._picture(page)
            part = self.folder / f"{SCREENSHOT}{PART}"
            part.write_bytes(picture)
            part.replace(self.folder / SCREENSHOT)
        except TimeoutError:
            self._miss("screenshot", f"Its page gave none within {_PICTURE_WITHIN:g} s.")
        except (PlaywrightError, OSError) as error:
            self._miss("screenshot", f"It could not be taken: {_reason(error)}")

    async def _picture(self, page: Page) -> bytes:
        # Once this answer is here, the traces have been told to stop, so that the screenshot is not in them.
        await self._sign_of_life()
        return await page.screenshot(timeout=0)

    def take_over(self, brought: Path) -> set[str]:
        """Take what the process of user code, which has ended, has saved of a context that the hook has brought.

        Return what there was: `trace`, `screenshot`, both or none.
        """
        taken = set[str]()
        if self.folder is not None:
            for file in (brought / SCREENSHOT, *sorted(brought.glob("trace-*.zip"))):
                what = "screenshot" if file.name == SCREENSHOT else "trace"
                name = SCREENSHOT if what == "screenshot" else f"trace-{next(self._numbers)}.zip"
                with contextlib.suppress(OSError):  # there is none, or no file of the kind that we write
                    take_over(file, self.folder / name)
                    taken.add(what)
        return taken

    def last_page(self) -> Page | None:
        """Return the page that the automation is or was last at, as far as that shows; None if all pages are closed."""
        opened = self._opened()
        if self._shown:
            guid, before = self._shown[-1]
            since = [page for page in opened if page not in before]
            opened = [*since, *(page for page in opened if guid_of(page) == guid)] or opened
        return next((page for page in opened if page.url != _BLANK), opened[0] if opened else None)

    @contextlib.contextmanager
    def showing(self, guid: str) -> Generator[None]:
        """Have `last_page` be the page with this id within the block, or one that is opened meanwhile, as a popup."""
        shown = guid, self._opened()
        self._shown.append(shown)
        try:
            yield
        finally:
            self._shown.remove(shown)

    def _opened(self) -> list[Page]:
        own = [] if self._page is None else [self._page, *reversed(self._page.context.pages)]
        others = [page for context in reversed(self._others) for page in reversed(context.pages)]
        return [page for page in (*others, *own) if not page.is_closed()]

    def _saving_first(self, traced: _Traced, close: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(close)
        async def closed(**reason: Any) -> None:
            await self._save_trace(traced)
            await close(**reason)

        return closed

    def _miss(self, what: str, reason: str) -> None:
        self._missing.setdefault(what, reason)


async def _discard(context: BrowserContext) -> None:
    with contextlib.suppress(PlaywrightError):
        await context.tracing.stop()


def _size(folder: Path) -> int:
    """Return the total bytes of all files below the folder."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(f"{path}/{name}").st_size  # noqa: PTH116  # they are many
    return total


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the browser did not answer in time."
    said = error.message if isinstance(error, PlaywrightError) else str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0][:_IN_SHORT]
