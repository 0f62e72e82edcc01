"""Call one function of a project in the foreground, on its author's own host: what `callboard run` starts.

`python -m callboard_runtime.local_run ORDER RESULT` runs in the project's own environment, and in its folder. ORDER is
a descriptor to read an `Order` from, as JSON. RESULT is one to write the outcome to, as a line with a JSON object:

    result              JSON text of what the function returned; for a check, whether the login is good
    error               or how it failed: `kind`, `name`, `message` and `stack`, as a Machine tells them
    attributes, extendedPayloads
    state               the state of the login after a create, or where an API has changed it; else null

There is no box, and no limit but that of time: the code is the author's own, and so is the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import importlib
import json
import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from intuned_runtime import IntunedContext, RunContext
from playwright.async_api import Browser, BrowserContext, Page, Playwright, ProxySettings, async_playwright
from playwright.async_api import Error as PlaywrightError

from .cdp import debugging_address, user_agent
from .downloads import Downloads
from .failures import UserCodeError, as_message, shown
from .page_events import PageEvents
from .project_code import Kind, as_user_code_errors, call, clean_up, has_hook, load, result_as_json, setup_context
from .results import to_json
from .state import NOTHING, State, captured, differ, restore
from .terminal import ask_on_terminal

_PR_SET_PDEATHSIG = 1
_CLOSE_WITHIN = 5.0
"""Seconds that the browser gets to close. What takes longer ends with its driver, as this process ends."""
_GRACE = 5.0
"""Seconds after the time limit until code that does not react to it is ended: it blocks, or it ignores a cancel."""
_VALUES = Path("output") / "persistent-store.json"
"""Where the values of `persistent_store` are kept. No version of a project holds that folder."""


_DOWNLOADS = Path("output") / "downloads"
_DOWNLOADED_WITHIN = 5.0
"""Seconds that downloads get to end once the call has."""


@dataclass(frozen=True)
class Login:
    """The login that the call begins with."""

    id: str
    parameters: dict[str, Any] | None
    """What it was made from; None if it was not."""
    state: State | None
    """None for a create."""
    check: bool
    """Whether to call the project's check first."""


@dataclass(frozen=True)
class Order:
    """What to call, and how."""

    kind: Kind
    function: str
    """Its path, such as `api/shop/list`."""
    parameters: Any
    login: Login | None
    browser: str
    """Path of the browser's executable."""
    sandbox: bool
    """Whether Chromium's own sandbox is used."""
    arguments: list[str]
    headless: bool
    viewport: tuple[int, int]
    proxy: ProxySettings | None
    slow_mo: float
    """Milliseconds that Playwright waits before each step."""
    cdp_url: str | None
    """Address of a running browser to use instead of one of its own."""
    indexed_db: bool
    """Whether IndexedDB is a part of the login's state."""
    downloads: bool
    """Whether to keep what pages download, below `output/downloads`."""
    trace: str | None
    """File for the trace; None for no trace."""
    timeout: float | None
    """Seconds that the call may take; None for no limit."""
    stack: int
    """Descriptor to write a stack to, by `faulthandler`, if the code has to be ended. Then there is no outcome."""
    keep_open: bool
    """Whether the browser stays open after the call, until its last page is closed."""
    debugpy: int | None
    """Port at which to wait for a debugger; None for none."""


def main() -> NoReturn:
    """Read the order, carry it out, and end with whatever user code has left.

    The browser's profile is made in TMPDIR, which belongs to whoever has started this process.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    order_fd, result_fd = map(int, sys.argv[1:])
    with os.fdopen(order_fd, encoding="utf-8") as file:
        fields: dict[str, Any] = json.load(file)
    login = fields.pop("login")
    order = Order(**fields, login=login and Login(**login))
    for ours in (result_fd, order.stack):  # which the browser must not hold
        os.set_inheritable(ours, False)  # noqa: FBT003
    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    status = 0
    try:
        asyncio.run(_run(order, Path.cwd(), result_fd))
    except (asyncio.CancelledError, KeyboardInterrupt):
        status = 128 + signal.SIGINT
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # threads that user code has left must not hold it up


async def _run(order: Order, root: Path, result_fd: int) -> None:
    """Carry the order out, and write the outcome as soon as it is known. Ctrl-C cancels this."""
    if (task := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    if order.debugpy is not None:
        _wait_for_debugger(order.debugpy)
    async with AsyncExitStack() as resources:
        browser = None
        try:
            playwright = await resources.enter_async_context(async_playwright())
            browser = await _browser(order, root, playwright)
            resources.push_async_callback(_close, browser)
            outcome = await _outcome(order, root, browser, resources)
        except PlaywrightError as error:
            outcome = {"error": as_message(UserCodeError(f"The browser cannot be used: {error.message}"))}
        with os.fdopen(result_fd, "w", encoding="utf-8") as file:
            file.write(f"{json.dumps(outcome)}\n")
        if browser is not None and order.keep_open:
            await _until_closed(browser)


async def _browser(order: Order, root: Path, playwright: Playwright) -> Browser:
    if order.cdp_url is not None:
        return await playwright.chromium.connect_over_cdp(order.cdp_url, slow_mo=order.slow_mo)
    return await playwright.chromium.launch(
        executable_path=order.browser,
        args=[*order.arguments, *(["--remote-debugging-port=0"] if has_hook(root) else [])],
        headless=order.headless,
        slow_mo=order.slow_mo,
        chromium_sandbox=order.sandbox,
        handle_sigint=False,
    )


async def _outcome(order: Order, root: Path, browser: Browser, resources: AsyncExitStack) -> dict[str, Any]:
    """Check the login first, if that is wanted, and call the function. `resources` closes what is to stay open."""
    try:
        with as_user_code_errors(root):
            if order.login is not None and order.login.check:
                async with AsyncExitStack() as contexts:
                    checked = await _call("check", "auth-sessions/check", None, order, root, browser, contexts)
                if checked["result"] != "true":
                    raise UserCodeError("The login is not good any more.", name="LoginError")
            async with AsyncExitStack() as contexts:  # the hook's cleanup is user code, too
                kept = resources if order.keep_open else contexts
                return await _call(order.kind, order.function, order.parameters, order, root, browser, kept)
    except UserCodeError as error:
        return {"error": as_message(error), "attributes": {}}


async def _call(
    kind: Kind, function: str, parameters: Any, order: Order, root: Path, browser: Browser, contexts: AsyncExitStack
) -> dict[str, Any]:
    """Call one function of the project, and return the outcome. `contexts` closes what is opened for it."""
    login = order.login

    async def ask(operation: str, **arguments: Any) -> Any:
        if operation not in ("request_input", "hand_over"):
            return _answer(order, operation, arguments)
        if operation == "hand_over" and order.headless and order.cdp_url is None:
            return json.dumps({"status": "withdrawn", "reason": "The browser has no window. Run it with --headful."})
        with limit.stopped():
            return await ask_on_terminal(arguments)

    runtime = IntunedContext(
        run_context=RunContext(
            run_id="local",
            auth_session_id=login and login.id,
            auth_session=login and login.state,
            proxy=None if order.proxy is None else order.proxy.get("server"),
        ),
        ask=ask,
    )
    runtime.enter()
    opening: asyncio.Task[tuple[BrowserContext, Page]] | None = None

    async def open_page() -> tuple[BrowserContext, Page]:
        nonlocal opening
        if opening is None:
            opening = asyncio.create_task(
                contexts.enter_async_context(_opened(order, function, parameters, root, browser))
            )
        return await opening

    async with _time_limit(order, root) as limit:
        runtime.extend_timeout = limit.begin_from_any_thread
        value = await call(load(function, root), kind, parameters, open_page)
    state = None
    if login is not None and opening is not None and kind != "check":
        state, unkept = await captured((await opening)[0], login.state, databases=order.indexed_db)
        if unkept is not None:
            _say("warning", "callboard", unkept)
        if kind == "api" and not differ(login.state or NOTHING, state):
            state = None
    payloads = runtime.extended_payloads
    return {
        "result": result_as_json(kind, value, root),
        "extendedPayloads": to_json(payloads, what="What extend_payload was given", path="extendedPayloads")
        if payloads
        else None,
        "attributes": runtime.attributes,
        "state": state,
    }


@asynccontextmanager
async def _opened(
    order: Order, function: str, parameters: Any, root: Path, browser: Browser
) -> AsyncGenerator[tuple[BrowserContext, Page]]:
    """Yield the context and page of a call: those of the project's hook if it brings some, with the login restored."""
    async with AsyncExitStack() as resources:
        cleanup = None
        context, page = None, None
        if has_hook(root):
            cdp_url = order.cdp_url or await asyncio.to_thread(debugging_address, Path(tempfile.gettempdir()))
            brought = await setup_context(root, api_name=function, api_parameters=parameters, cdp_url=cdp_url)
            context, page, cleanup = brought.context, brought.page, brought.cleanup
        if cleanup is not None:
            resources.push_async_callback(clean_up, cleanup)
        if context is None and order.cdp_url is not None and browser.contexts:
            context = browser.contexts[0]  # a person's own, with the logins that it has
            page = await context.new_page()
            resources.push_async_callback(page.close)
        elif context is None:
            width, height = order.viewport
            session = await browser.new_browser_cdp_session()
            context = await browser.new_context(
                viewport={"width": width, "height": height}, user_agent=await user_agent(session), proxy=order.proxy
            )
            if not order.keep_open:
                resources.push_async_callback(context.close)
        page = page or next(iter(context.pages), None) or await context.new_page()
        page_events = PageEvents(_say)
        page_events.downloads = Downloads(_DOWNLOADS) if order.downloads else None
        page_events.watch(context)
        resources.push_async_callback(_keep_downloads, page_events)
        if order.login is not None and order.login.state is not None:
            await restore(context, order.login.state, unused=page)
        if order.trace is not None:
            await context.tracing.start(title=function, screenshots=True, snapshots=True, sources=True)
            resources.push_async_callback(_save_trace, context, order.trace)
        yield context, page


class _TimeLimit:
    """The time that a call may take."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._loop = asyncio.get_running_loop()
        self.timeout = asyncio.timeout(None)
        self._stoppers = 0
        self._left = 0.0
        """Seconds that are left while the clock stands still."""

    def begin(self) -> None:
        """Begin the time anew."""
        if self._order.timeout is None:
            return
        self._left = self._order.timeout
        if not self._stoppers:
            self._go_on()

    def begin_from_any_thread(self) -> None:
        """Begin the time anew, soon."""
        self._loop.call_soon_threadsafe(self.begin)

    @contextlib.contextmanager
    def stopped(self) -> Generator[None]:
        """Have the clock stand still within the block. Blocks may overlap."""
        self._stoppers += 1
        if (end := self.timeout.when()) is not None:
            self._left = end - self._loop.time()
            self.timeout.reschedule(None)
            faulthandler.cancel_dump_traceback_later()
        try:
            yield
        finally:
            self._stoppers -= 1
            if self._order.timeout is not None and not self._stoppers:
                self._go_on()

    def _go_on(self) -> None:
        self.timeout.reschedule(self._loop.time() + self._left)
        faulthandler.dump_traceback_later(self._left + _GRACE, file=self._order.stack, exit=True)


@asynccontextmanager
async def _time_limit(order: Order, root: Path) -> AsyncGenerator[_TimeLimit]:
    """Bound the time of a call."""
    limit = _TimeLimit(order)
    try:
        async with limit.timeout:
            limit.begin()
            try:
                yield limit
            finally:
                faulthandler.cancel_dump_traceback_later()
    except TimeoutError as error:
        if not limit.timeout.expired():
            raise  # a time-out of user code's own
        stood = error.__cause__ or error  # the cancel has come up from where the code stood
        raise UserCodeError(
            f"It took longer than {order.timeout:g} seconds.",
            name="TimeoutError",
            stack=shown(traceback.extract_tb(stood.__traceback__), root),
        ) from error


def _answer(order: Order, operation: str, arguments: dict[str, Any]) -> Any:
    """Answer a request of `intuned_runtime`, as a worker does.

    Raises:
        RuntimeError: There is no answer.
    """
    values: dict[str, str] = json.loads(_VALUES.read_text()) if _VALUES.exists() else {}
    match operation:
        case "auth_session_parameters" if order.login is not None and order.login.parameters is not None:
            return json.dumps(order.login.parameters)
        case "auth_session_parameters":
            raise RuntimeError("get_auth_session_parameters: this AuthSession was not made from parameters.")
        case "persistent_get":
            return values.get(arguments["key"])
        case "withdraw" | "until_holds":
            return None  # it ends with who waits for it
        case _:
            values[arguments["key"]] = arguments["value"]
            _VALUES.parent.mkdir(exist_ok=True)
            part = _VALUES.with_suffix(".part")
            part.write_text(json.dumps({key: value for key, value in values.items() if value != "null"}))
            part.replace(_VALUES)
            return None


async def _keep_downloads(page_events: PageEvents) -> None:
    if (downloads := page_events.downloads) is not None:
        await downloads.wait(_DOWNLOADED_WITHIN)
        for lost in downloads.end():
            _say("warning", "callboard", f"Not kept: {lost}")
    await page_events.tell_lost()


async def _save_trace(context: BrowserContext, file: str) -> None:
    try:
        await context.tracing.stop(path=file)
    except PlaywrightError as error:
        _say("warning", "callboard", f"The trace could not be saved: {error.message}")


def _say(level: str, source: str, message: str) -> None:
    sys.stderr.write(f"{level.upper()} {source}: {message}\n")


def _wait_for_debugger(port: int) -> None:
    try:
        debugpy: Any = importlib.import_module("debugpy")
    except ImportError:
        sys.exit(
            "debugpy is not in the project's environment. Add it there: "
            f"uv pip install --python {sys.prefix}/bin/python debugpy"
        )
    debugpy.listen(("127.0.0.1", port))
    _say("info", "callboard", f"It waits for a debugger at 127.0.0.1:{port}.")
    debugpy.wait_for_client()


async def _until_closed(browser: Browser) -> None:
    """Wait until the browser has no page any more."""
    _say("info", "callboard", "The browser stays open. Close its window, or press Ctrl-C, to end.")
    closed = asyncio.Event()
    browser.on("disconnected", lambda _: closed.set())

    def look(_: Any) -> None:
        if not any(context.pages for context in browser.contexts):
            closed.set()

    for context in browser.contexts:
        context.on("page", lambda page: page.on("close", look))
        for page in context.pages:
            page.on("close", look)
    await closed.wait()


async def _close(browser: Browser) -> None:
    with contextlib.suppress(PlaywrightError, TimeoutError):
        async with asyncio.timeout(_CLOSE_WITHIN):
            await browser.close()


if __name__ == "__main__":
    main()
