"""Fixtures of pytest for a project's own tests: `run_api` calls an API as an Attempt does, with the test's page.

`page` and `context` are those of pytest-playwright-asyncio. Where Playwright has no browser of its own, they use one of
the system, as Callboard's Machines do. The root folder of pytest is the project's.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from intuned_runtime import IntunedContext, RunContext
from playwright.async_api import BrowserContext, Page

from .handoffs import id_of
from .project_code import call, load, result_as_json
from .results import to_json
from .state import parsed, restore

_SHELLS = ("chromium-headless-shell", "chrome-headless-shell")
_FULL = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class ApiRun:
    """What an API has returned, and left beside that."""

    result: Any
    """Its result, as a caller of the REST API gets it."""
    extended_payloads: list[dict[str, Any]]
    """What `extend_payload` was given."""
    attributes: dict[str, Any]
    """What `set_attribute` was given."""


RunApi = Callable[..., Awaitable[ApiRun]]


@pytest.fixture
def run_api(context: BrowserContext, page: Page, pytestconfig: pytest.Config) -> RunApi:
    """Return the coroutine function `run_api(name, parameters=None, auth_session=None, answers=None)`.

    It calls an API with the test's page, and returns an `ApiRun`. Exceptions of user code reach the test. By the name
    `auth-sessions/create` it makes a login in this page, which the next call has. `auth_session` is the id of a login
    that `callboard run authsession create` has made; its check is not called. `answers` are what `request_input` gives,
    by name; and `hand_over` is what the person does whom the browser is handed over: a coroutine function that takes
    the page.
    """
    root = pytestconfig.rootpath
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))

    async def run(
        name: str,
        parameters: Any = None,
        auth_session: str | None = None,
        answers: Mapping[str, str | Callable[[Page], Awaitable[object]]] | None = None,
    ) -> ApiRun:
        async def ask(operation: str, **arguments: Any) -> Any:
            given = (answers or {}).get("hand_over" if operation == "hand_over" else arguments.get("name", ""))
            if operation == "hand_over" and callable(given):
                await given(next(each for each in context.pages if id_of(each) == arguments["page"]))
                return json.dumps({"status": "completed", "values": {}})
            if operation == "request_input" and isinstance(given, str):
                return json.dumps({"status": "completed", "values": {arguments["name"]: given}})
            return _answer(operation, arguments, values, login_folder)

        async def open_page() -> tuple[BrowserContext, Page]:
            return context, page

        values: dict[str, str] = {}
        login_folder = None if auth_session is None else root / "auth-sessions-instances" / auth_session
        state = None if login_folder is None else parsed((login_folder / "auth-session.json").read_text())
        if state is not None:
            await restore(context, state, unused=page)
        about = RunContext(run_id="test", auth_session_id=auth_session, auth_session=state)
        runtime = IntunedContext(run_context=about, ask=ask)
        runtime.enter()
        # The same JSON as a caller would get, so that what has none fails here, too.
        kind, path = ("create", name) if name == "auth-sessions/create" else ("api", f"api/{name}")
        value = await call(load(path, root), kind, parameters, open_page)
        result = result_as_json(kind, value, root)
        payloads = to_json(runtime.extended_payloads, what="What extend_payload was given", path="extendedPayloads")
        return ApiRun(json.loads(result), json.loads(payloads), runtime.attributes)

    return run


def _answer(operation: str, arguments: dict[str, Any], values: dict[str, str], login_folder: Path | None) -> Any:
    """Answer a request of `intuned_runtime`. Values of `persistent_store` live for one call."""
    match operation:
        case "auth_session_parameters" if login_folder is not None:
            return json.dumps(json.loads((login_folder / "metadata.json").read_text())["parameters"])
        case "persistent_get":
            return values.get(arguments["key"])
        case "persistent_set":
            values[arguments["key"]] = arguments["value"]
            return None
        case "withdraw" | "until_holds":
            return None  # it ends with who waits for it
        case _:
            raise RuntimeError(f"{operation} has no answer in this test")


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    """Launch the browser of CALLBOARD_CHROMIUM, else the system's where Playwright has none of its own."""
    value = yield
    if fixturedef.argname == "browser_type_launch_args" and (browser := _other_browser(value)) is not None:
        value.setdefault("executable_path", browser)
    return value


def _other_browser(launch_args: dict[str, Any]) -> str | None:
    if named := os.environ.get("CALLBOARD_CHROMIUM"):
        return named
    cache = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    if "channel" in launch_args or any(cache.glob("chromium*")):
        return None
    names = _FULL if launch_args.get("headless") is False else (*_SHELLS, *_FULL)
    return next(filter(None, map(shutil.which, names)), None)
