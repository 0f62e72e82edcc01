"""The project's hook in all its forms, deferred browsers, and the headful browser (docs/contract.md, section 3.1)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from callboard.schemas.errors import MachineError
from callboard.schemas.workflow.run import ErrorCode
from tests.support.automations import automations
from tests.support.machines import Lab, Language, Run, failure, open_lab, value
from tests.support.typescript import bundled, handlers

# One hook for all: what it does is the parameter `hook` of the Attempt.
HOOK = """
    from pathlib import Path

    from intuned_runtime import attempt_store
    from playwright.async_api import async_playwright

    async def setup_context(*, api_name, api_parameters, cdp_url):
        attempt_store.set("seen", [api_name, api_parameters, cdp_url.startswith("ws://127.0.0.1:")])
        form = api_parameters["hook"]
        if form == "nothing":
            return None
        if form == "raises":
            raise PermissionError("no seat left")
        if form == "exits":
            raise SystemExit(3)
        if form == "something else":
            return 42
        playwright = await async_playwright().start()
        browser = await playwright.chromium.connect_over_cdp(cdp_url)
        context = await browser.new_context(locale="fr-FR")

        async def cleanup():
            Path(api_parameters["told"]).write_text("cleaned up")
            await browser.close()
            await playwright.stop()
            if form == "cleanup raises":
                raise PermissionError("the seat is taken")

        if form == "cleanup that is not async":
            return context, None, lambda: None
        if form == "context":
            return context
        if form == "context and page":
            page = await context.new_page()
            await page.goto("data:text/html,<title>Brought</title>")
            return context, page
        return context, None, cleanup
"""
DEFAULT_CONTEXT_HOOK = """
    from playwright.async_api import async_playwright

    async def setup_context(*, api_name, api_parameters, cdp_url):
        playwright = await async_playwright().start()
        browser = await playwright.chromium.connect_over_cdp(cdp_url)
        context = await browser.new_context()
        match api_parameters["what"]:
            case "cookies":
                session = await browser.new_browser_cdp_session()
                cookie = {"name": "seen", "value": "1", "domain": "shop.test", "path": "/"}
                await session.send("Storage.setCookies", {"cookies": [cookie]})
            case "page":
                page = await browser.contexts[0].new_page()
                await page.close()
        return context
"""
PROJECT = {
    **automations(
        look="""
            from intuned_runtime import attempt_store
            if params.get("fail"):
                raise KeyError("the automation's own")
            return {
                "language": await page.evaluate("navigator.language"),
                "title": await page.title(),
                "seen": attempt_store.get("seen"),
            }
        """,
    ),
    "hooks/setup_context.py": HOOK,
    "api/later.py": """
        from intuned_runtime import attempt_store, deferred_browser

        @deferred_browser
        async def automation(params, ensure_browser):
            before = attempt_store.get("seen")
            if not params["browser"]:
                return before
            context, page = await ensure_browser()
            again = await ensure_browser()
            return [before, attempt_store.get("seen")[0], page.context is context, again == (context, page)]
    """,
}

# The same in TypeScript, where a hook may return nothing.
TYPESCRIPT = {
    **handlers(
        look="""
            const { attemptStore } = require("@intuned/runtime");
            const seen = attemptStore.get("seen");
            return { language: await page.evaluate("navigator.language"), title: await page.title(), seen };
        """
    ),
    **bundled(
        {
            "hooks/setupContext.ts": """
                export default async function setupContext({ cdpUrl, apiName, apiParameters }) {
                    const { attemptStore } = require("@intuned/runtime");
                    const { chromium } = require("playwright");
                    attemptStore.set("seen", [apiName, apiParameters, cdpUrl.startsWith("ws://127.0.0.1:")]);
                    switch (apiParameters.hook) {
                        case "raises": throw new RangeError("no seat left");
                        case "exits": process.exit(3);
                        case "something else": return 42;
                    }
                    const browser = await chromium.connectOverCDP(cdpUrl);
                    const context = await browser.newContext({ locale: "fr-FR" });
                    const page = await context.newPage();
                    if (apiParameters.hook === "opens a file") await page.goto("chrome://version");
                    await context.close();
                    await browser.close();
                    if (apiParameters.hook === "context") return context;
                }
            """
        }
    ),
}


@pytest.fixture(scope="module")
def run(shared_lab: Lab, project: dict[str, str], language: Language) -> Run:
    """Runs an API of the test's project. Unlike `quiet`, it lets the Machine be recycled: some hooks leave a driver."""
    return shared_lab.runner(shared_lab.version(project, project=language))


@pytest.mark.both_languages
async def test_a_hook_that_returns_nothing_keeps_the_host_s_page(run: Run) -> None:
    parameters = {"hook": "nothing"}
    seen = value(await run("look", parameters))
    assert seen == {"language": "en-US", "title": "", "seen": ["api/look", parameters, True]}


@pytest.mark.parametrize(("form", "title"), [("context", ""), ("context and page", "Brought"), ("cleanup", "")])
async def test_a_hook_may_bring_its_context(run: Run, form: str, title: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    seen = value(await run("look", {"hook": form, "told": str(told)}))
    assert (seen["language"], seen["title"]) == ("fr-FR", title)
    assert told.exists() == (form == "cleanup")


async def test_the_cleanup_runs_also_when_the_automation_fails_whose_error_it_is(run: Run, tmp_path: Path) -> None:
    told = tmp_path / "told"
    failed = failure(await run("look", {"hook": "cleanup raises", "told": str(told), "fail": True}))
    assert failed.name == "KeyError"
    assert told.read_text() == "cleaned up"


@pytest.mark.parametrize(
    ("form", "name", "final", "says"),
    [
        ("raises", "PermissionError", False, "no seat left (hooks/setup_context.py:"),
        ("cleanup raises", "PermissionError", False, "the seat is taken (hooks/setup_context.py:"),
        ("exits", "SystemExit", False, "setup_context called sys.exit(3). (hooks/setup_context.py:"),
        ("something else", "InvalidAPIError", True, "setup_context returned int"),
        ("cleanup that is not async", "InvalidAPIError", True, "returned is not async; write `async def`."),
    ],
)
async def test_what_a_hook_does_wrong_is_the_scripts_error(
    run: Run, form: str, name: str, final: bool, says: str, tmp_path: Path
) -> None:
    failed = failure(await run("look", {"hook": form, "told": str(tmp_path / "told")}))
    assert (failed.code, failed.name, failed.final) == (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, name, final)
    assert says in failed.message
    assert ("hooks/setup_context.py" in failed.stack) is not final


@pytest.mark.typescript
@pytest.mark.parametrize(
    ("form", "name", "final", "says"),
    [
        ("raises", "RangeError", False, "RangeError: no seat left (hooks/setupContext.ts:"),
        ("exits", "ProcessExit", False, "process.exit(3). (hooks/setupContext.ts:"),
        ("something else", "InvalidAPIError", True, "hooks/setupContext has returned number; it must return nothing."),
        ("context", "InvalidAPIError", True, "hooks/setupContext has returned a context; it must return nothing."),
        ("opens a file", "Error", False, "chrome://version was refused: only http:"),
    ],
)
async def test_what_a_hook_in_typescript_does_wrong_is_the_scripts_error(
    run: Run, form: str, name: str, final: bool, says: str
) -> None:
    failed = failure(await run("look", {"hook": form}))
    assert (failed.code, failed.name, failed.final) == (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, name, final)
    assert says in failed.message


async def test_a_hook_file_without_its_function_is_refused_for_good(lab: Lab) -> None:
    run = lab.runner({**PROJECT, "hooks/setup_context.py": "def setup_context(): ..."})
    failed = failure(await run("look", {}))
    assert (failed.name, failed.final) == ("InvalidAPIError", True)


async def test_a_deferred_automation_gets_hook_and_page_when_it_asks(run: Run) -> None:
    assert value(await run("later", {"browser": False, "hook": "nothing"})) is None
    assert value(await run("later", {"browser": True, "hook": "nothing"})) == [None, "api/later", True, True]


@pytest.mark.parametrize(
    "files",
    [automations(fine="pass"), {**handlers(fine=""), "hooks/setup_context.py": HOOK}],
    ids=["python", "typescript with the hook of a project in Python"],
)
async def test_the_debugging_port_is_closed_where_there_is_no_hook(lab: Lab, files: dict[str, str]) -> None:
    assert (await lab.runner(files)("fine")).error is None
    assert list(lab.scratch.glob("*/tmp/*/Default")) != []
    assert list(lab.scratch.glob("*/tmp/*/DevToolsActivePort")) == []


@pytest.mark.parametrize("windows", [False, True])
async def test_a_headful_project_runs_in_the_full_browser_or_says_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, windows: bool
) -> None:
    """Also where the folder of the Machine has a path that is too long for a socket."""
    if windows and shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed (Debian: apt-get install xvfb).")
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    with x11_display() if windows else nullcontext("") as display:
        monkeypatch.setenv("DISPLAY", display)
        async with open_lab(folder) as lab:
            project = automations(agent="return await page.evaluate('[navigator.userAgent, window.outerHeight]')")
            run = lab.runner(replace(lab.version(project), headful=True))
            if shutil.which("chromium") or shutil.which("google-chrome"):
                agent, height = value(await run("agent"))
                assert "Headless" not in agent
                assert (height > 800) is windows, "a window has a frame and bars"
            else:
                with pytest.raises(MachineError, match="chromium"):
                    await run("agent")


@contextmanager
def x11_display() -> Generator[str]:
    read, write = os.pipe()
    with subprocess.Popen(["Xvfb", "-displayfd", str(write)], pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as told:
            number = told.readline().strip()
        try:
            yield f":{number}"
        finally:
            server.kill()


@pytest.mark.parametrize("what", ["cookies", "page", "nothing"])
async def test_a_browser_whose_default_context_a_hook_used_is_not_kept(lab: Lab, what: str) -> None:
    pool = lab.pool()
    run = lab.runner({"hooks/setup_context.py": DEFAULT_CONTEXT_HOOK, **automations(fine="pass")}, pool)
    assert (await run("fine", {"what": what})).error is None
    assert (await lab.settled(pool) is None) == (what != "nothing")
