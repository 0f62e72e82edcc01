"""Attempts see their project and what the operator gave them, and nothing of each other or of Callboard."""

from __future__ import annotations

import os

import pytest

from tests.support.automations import automations
from tests.support.machines import Lab, Run, failure, value
from tests.support.repository import REPOSITORY

PROJECT = {
    **automations(
        plants_modules="""
            import importlib.util, sys, types
            class Hostile(types.ModuleType):
                def __getattribute__(self, name):
                    raise RuntimeError("leave me alone")
            spec = importlib.util.spec_from_file_location("planted", "counting.py")
            sys.modules["planted"] = importlib.util.module_from_spec(spec)
            sys.modules["planted_without_a_place"] = Hostile("hostile")
            sys.modules["nothing"] = None
        """,
        names="""
            import activities, worker, workflows
            from api import helpers
            from api.helpers import NAME
            return [m.NAME for m in (workflows, activities, worker, helpers)]
        """,
        imports="""
            import importlib
            found = []
            for name in params["names"]:
                try:
                    importlib.import_module(name)
                    found.append(name)
                except ModuleNotFoundError:
                    pass
            return found
        """,
        reads="""
            from pathlib import Path
            beside = Path(__file__).parent.parent / "data" / "words.txt"
            return [Path("data/words.txt").read_text(), beside.read_text()]
        """,
        environment="import os; return dict(os.environ)",
        state="""
            import os, sys, tempfile
            return [os.getcwd(), sys.path, sorted(os.environ), os.environ["LANG"], tempfile.gettempdir(), os.umask(0)]
        """,
        changes_state="""
            import os, sys, tempfile
            os.chdir("/")
            os.environ.pop("PATH")
            os.environ["LEFT"] = "behind"
            os.environ["LANG"] = "xx"
            sys.path.insert(0, "/nowhere")
            del sys.path[1:]
            tempfile.tempdir = "/nowhere"
            os.umask(0o777)
        """,
        leaves_contexts="""
            browser = page.context.browser
            before = len(browser.contexts)
            await (await browser.new_context()).new_page()
            await browser.new_page()
            return before
        """,
        commands="""
            context = page.context
            of_browser = params["by"] != "page" and await context.browser.new_browser_cdp_session()
            session = of_browser if params["by"] == "browser" else await context.new_cdp_session(page)
            return [await session.send(method, given) for method, given in params["commands"]]
        """,
        finds_in_the_browser="""
            session = await page.context.browser.new_browser_cdp_session()
            cookies = (await session.send("Storage.getCookies"))["cookies"]
            targets = (await session.send("Target.getTargets"))["targetInfos"]
            screens = await (await page.context.new_cdp_session(page)).send("Emulation.getScreenInfos")
            return [len(cookies), sorted({target["url"] for target in targets}), len(screens["screenInfos"])]
        """,
        copies="""
            await page.set_content("<input value='copied by an Attempt'>")
            await page.focus("input")
            await page.keyboard.press("Control+A")
            await page.keyboard.press("Control+C")
        """,
        pastes="""
            await page.set_content("<input>")
            await page.focus("input")
            await page.keyboard.press("Control+V")
            return await page.input_value("input")
        """,
        changes_its_output="""
            import fcntl, os
            if params["what"] == "size":
                fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 4096)
            else:
                os.fchmod(1, 0o640)
        """,
        traces_the_browser="await page.context.browser.start_tracing()",
    ),
    "workflows/__init__.py": "NAME = 'the workflows of the project'",
    "activities.py": "NAME = 'the activities of the project'",
    "worker.py": "NAME = 'the worker of the project'",
    "api/helpers.py": "NAME = 'the helpers of the project'",
    "counting.py": "count = 0",
    "api/shop/counts/deep.py": """
        import counting
        import api.shop.counts.other as other

        async def automation(page):
            counting.count += 1
            other.count += 1
            return [counting.count, other.count]
    """,
    "api/shop/counts/other.py": "count = 0",
    "data/words.txt": "words of the project",
}


async def test_modules_of_a_project_may_be_called_like_ours(quiet: Run) -> None:
    names = ["workflows", "activities", "worker", "helpers"]
    assert value(await quiet("names")) == [f"the {name} of the project" for name in names]


async def test_only_the_standard_library_playwright_and_runtime_are_importable(quiet: Run) -> None:
    rooms = {path.stem if path.is_file() else path.name for path in REPOSITORY.iterdir() if path.name[0].isalpha()}
    ours = rooms - set(PROJECT) - {"workflows", "activities", "worker", "api"}
    assert {"callboard", "hosting", "tests"} <= ours
    packages = ["fastapi", "temporalio", "pydantic", "psutil", "httpx", "pytest", "pip", "yaml", "typer", "rich"]
    allowed = ["json", "sqlite3", "ssl", "zoneinfo", "playwright.async_api", "playwright.sync_api", "intuned_runtime"]
    asked = [*sorted(ours), *packages, *allowed]
    assert value(await quiet("imports", {"names": asked})) == allowed


async def test_modules_are_fresh_in_every_attempt(quiet: Run) -> None:
    assert [value(await quiet("shop/counts/deep")) for _ in range(3)] == [[1, 1]] * 3


async def test_modules_that_an_attempt_planted_are_gone_after_it(quiet: Run) -> None:
    assert (await quiet("plants_modules")).error is None
    assert value(await quiet("imports", {"names": ["planted", "nothing"]})) == []


async def test_relative_reads_see_the_project(quiet: Run) -> None:
    assert value(await quiet("reads")) == ["words of the project"] * 2


async def test_changes_of_the_process_do_not_reach_the_next_attempt(quiet: Run) -> None:
    def without_numbers(state: list[object]) -> str:
        return "".join(letter for letter in repr(state) if not letter.isdigit())

    *before, umask = value(await quiet("state"))
    assert (await quiet("changes_state")).error is None
    *after, umask_after = value(await quiet("state"))
    assert umask_after == umask
    assert without_numbers(after) == without_numbers(before)
    assert after[0] in after[1]


async def test_the_operator_gives_variables_to_user_code_by_a_prefix(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"SHOP_KEY": "12345", "HOME": "/root", "": "nameless"}
    others = {
        **dict.fromkeys(["CALLBOARD_API_KEYS", "CALLBOARD_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"], "secret"),
        "PYTHONPATH": str(REPOSITORY),
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "Asia/Tokyo",
    }
    for name, text in {**{f"CALLBOARD_USER_{name}": text for name, text in given.items()}, **others}.items():
        monkeypatch.setenv(name, text)
    environment = value(await lab.runner(PROJECT)("environment"))
    assert set(environment) == {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "SHOP_KEY"}
    assert (environment["SHOP_KEY"], environment["TZ"]) == ("12345", "Asia/Tokyo")
    assert environment["HOME"].startswith(str(lab.scratch))
    assert environment["PATH"] == os.environ["PATH"]


async def test_each_attempt_has_the_variables_that_it_was_given_and_no_others(lab: Lab) -> None:
    pool = lab.pool()
    run = lab.runner(PROJECT, pool)
    one = value(await run("environment", variables=(("SHOP_KEY", "12345"), ("TZ", "Asia/Tokyo"))))
    assert (one["SHOP_KEY"], one["TZ"]) == ("12345", "Asia/Tokyo")
    machine = await lab.settled(pool)
    two = value(await run("environment", variables=(("OTHER_KEY", "67890"),)))
    assert "SHOP_KEY" not in two
    assert two["OTHER_KEY"] == "67890"
    assert "OTHER_KEY" not in value(await run("environment"))
    assert await lab.settled(pool) is machine, "a change of variables needs no other Machine"


async def test_modules_of_the_same_name_in_two_projects_do_not_meet(lab: Lab) -> None:
    source = automations(who="import names; return names.NAME")
    runs = {
        name: lab.runner(lab.version({**source, "names.py": f"NAME = {name!r}"}, project=name), lab.pool(project=name))
        for name in ("one", "two")
    }
    for name in ("one", "two", "one"):
        assert value(await runs[name]("who")) == name


async def test_contexts_that_an_attempt_opened_itself_are_gone_after_it(quiet: Run) -> None:
    assert [value(await quiet("leaves_contexts")) for _ in range(2)] == [1] * 2


COOKIE = {"name": "seen", "value": "1", "domain": "shop.test", "path": "/"}


async def test_what_an_attempt_has_copied_is_gone_after_it(quiet: Run) -> None:
    assert (await quiet("copies")).error is None
    assert value(await quiet("pastes")) == ""


SCREEN = {"left": 800, "top": 0, "width": 700, "height": 500}
OF_BROWSER = [("Storage.setCookies", {"cookies": [COOKIE]}), ("Emulation.addScreen", SCREEN)]


@pytest.mark.parametrize(
    ("by", "commands"), [("browser", OF_BROWSER[:1]), ("page, with a session of the browser", OF_BROWSER)]
)
async def test_a_browser_that_user_code_has_a_session_of_is_not_used_again(
    lab: Lab, by: str, commands: list[object]
) -> None:
    pool = lab.pool()
    run = lab.runner(PROJECT, pool)
    assert (await run("commands", {"by": by, "commands": commands})).error is None
    assert await lab.settled(pool) is None
    assert value(await run("finds_in_the_browser")) == [0, ["about:blank"], 1]
    await lab.settled(pool)


@pytest.mark.parametrize("command", OF_BROWSER)
async def test_a_session_of_a_page_does_not_reach_the_browser(lab: Lab, command: object) -> None:
    pool = lab.pool()
    run = lab.runner(PROJECT, pool)
    failed = failure(await run("commands", {"by": "page", "commands": [command]}))
    assert "is not known to end with this page" in failed.message
    assert await lab.settled(pool) is not None
    assert value(await run("finds_in_the_browser")) == [0, ["about:blank"], 1]
    await lab.settled(pool)


async def test_what_the_driver_notes_for_itself_is_gone_after_an_attempt(lab: Lab) -> None:
    pool = lab.pool()
    run = lab.runner(PROJECT, pool)
    assert (await run("names")).error is None
    machine = await lab.settled(pool)
    assert machine is not None
    scratch = lab.scratch / machine.name
    left = [scratch / path for path in ("home/.cache/x/recorder.json", "downloads/x", "tmp/x")]
    kept = next((scratch / "tmp").glob("playwright_chromiumdev_profile-*"))
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left")
    assert (await run("names")).error is None
    assert await lab.settled(pool) is machine
    assert [path for path in (*left, left[0].parent) if path.exists()] == []
    assert kept.exists()


@pytest.mark.parametrize("what", ["size", "mode"])
async def test_a_machine_whose_output_was_changed_is_not_used_again(lab: Lab, what: str) -> None:
    pool = lab.pool()
    assert (await lab.runner(PROJECT, pool)("changes_its_output", {"what": what})).error is None
    assert await lab.settled(pool) is None


async def test_an_attempt_cannot_trace_the_browser(quiet: Run) -> None:
    assert failure(await quiet("traces_the_browser")).message.startswith(
        "Error: Browser.start_tracing: An automation cannot"
    )
