"""Attempts see their project and what the operator gave them, and nothing of each other or of Callboard."""

from __future__ import annotations

import os

import pytest

from machines.attempt_spec import Version
from tests.support.machines import Lab, Run, attempt_spec, failure, settled, unnoticed, value
from tests.support.repository import REPOSITORY

PROJECT = {
    "storage/__init__.py": "NAME = 'the storage of the project'",
    "schemas.py": "NAME = 'the schemas of the project'",
    "worker.py": "NAME = 'the worker of the project'",
    "cli.py": "NAME = 'the cli of the project'",
    "machines.py": "NAME = 'the machines of the project'",
    "api/helpers.py": "NAME = 'the helpers of the project'",
    "api/names.py": """
        import cli, schemas, machines, storage, worker
        from api import helpers
        from api.helpers import NAME

        async def automation(page):
            return [m.NAME for m in (storage, schemas, worker, cli, machines, helpers)]
    """,
    "api/imports.py": """
        import importlib

        async def automation(page, params):
            found = []
            for name in params["names"]:
                try:
                    importlib.import_module(name)
                    found.append(name)
                except ModuleNotFoundError:
                    pass
            return found
    """,
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
    "api/plants_modules.py": """
        import importlib.util, sys, types

        class Hostile(types.ModuleType):
            def __getattribute__(self, name):
                raise RuntimeError("leave me alone")

        async def automation(page):
            spec = importlib.util.spec_from_file_location("planted", "counting.py")
            sys.modules["planted"] = importlib.util.module_from_spec(spec)
            sys.modules["planted_without_a_place"] = Hostile("hostile")
            sys.modules["nothing"] = None
    """,
    "data/words.txt": "words of the project",
    "api/reads.py": """
        from pathlib import Path

        async def automation(page):
            beside = Path(__file__).parent.parent / "data" / "words.txt"
            return [Path("data/words.txt").read_text(), beside.read_text()]
    """,
    "api/writes.py": """
        import os, tempfile
        from pathlib import Path

        async def automation(page):
            places = [Path("."), Path(__file__).parent, Path(tempfile.gettempdir()), Path("~").expanduser()]
            before = [[p.name for p in place.iterdir() if p.name.startswith("written")] for place in places]
            for place in places:
                (place / "written.txt").write_text("x")
            Path("data/words.txt").write_text("overwritten")
            (place / "written").mkdir()
            os.chmod(place / "written", 0)
            return [before, [str(place.resolve()) for place in places]]
    """,
    "api/environment.py": """
        import os

        async def automation(page):
            return dict(os.environ)
    """,
    "api/state.py": """
        import os, sys, tempfile

        async def automation(page):
            return [os.getcwd(), sys.path, sorted(os.environ), os.environ["LANG"], tempfile.gettempdir(), os.umask(0)]
    """,
    "api/changes_state.py": """
        import os, sys, tempfile

        async def automation(page):
            os.chdir("/")
            os.environ.pop("PATH")
            os.environ["LEFT"] = "behind"
            os.environ["LANG"] = "xx"
            sys.path.insert(0, "/nowhere")
            del sys.path[1:]
            tempfile.tempdir = "/nowhere"
            os.umask(0o777)
    """,
    "api/removes_its_folder.py": """
        import os, shutil

        async def automation(page):
            shutil.rmtree(os.getcwd())
            return "gone"
    """,
    "api/cookies.py": """
        async def automation(page):
            await page.route("**/*", lambda route: route.fulfill(body="hello", content_type="text/html"))
            await page.goto("http://shop.test/")
            before = await page.evaluate("[document.cookie, localStorage.getItem('seen')]")
            await page.evaluate("document.cookie = 'seen=1; max-age=9999'; localStorage.setItem('seen', '1')")
            return [before, await page.evaluate("[document.cookie, localStorage.getItem('seen')]")]
    """,
    "api/leaves_contexts.py": """
        async def automation(page):
            browser = page.context.browser
            before = len(browser.contexts)
            await (await browser.new_context()).new_page()
            await browser.new_page()
            return before
    """,
    "api/commands.py": """
        async def automation(page, params):
            context = page.context
            of_page = await context.new_cdp_session(page)
            session = of_page if params["by"] == "page" else await context.browser.new_browser_cdp_session()
            return [await session.send(method, given) for method, given in params["commands"]]
    """,
    "api/finds_in_the_browser.py": """
        async def automation(page):
            session = await page.context.browser.new_browser_cdp_session()
            cookies = (await session.send("Storage.getCookies"))["cookies"]
            targets = (await session.send("Target.getTargets"))["targetInfos"]
            return [len(cookies), sorted({target["url"] for target in targets})]
    """,
    "api/changes_its_output.py": """
        import fcntl, os

        async def automation(page, params):
            if params["what"] == "size":
                fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 4096)
            else:
                os.fchmod(1, 0o640)
    """,
    "api/traces_the_browser.py": """
        async def automation(page):
            await page.context.browser.start_tracing()
    """,
}


async def test_modules_of_a_project_may_be_called_like_ours(quiet: Run) -> None:
    names = ["storage", "schemas", "worker", "cli", "machines", "helpers"]
    assert value(await quiet("names")) == [f"the {name} of the project" for name in names]


async def test_only_the_standard_library_playwright_and_runtime_are_importable(quiet: Run) -> None:
    rooms = {path.stem if path.is_file() else path.name for path in REPOSITORY.iterdir() if path.name[0].isalpha()}
    ours = rooms - set(PROJECT) - {"storage", "schemas", "worker", "cli", "machines", "api"}
    assert {"workflows", "temporal", "settings", "security"} <= ours
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


async def test_what_an_attempt_writes_is_gone_after_it(quiet: Run) -> None:
    for _ in range(2):
        before, _ = value(await quiet("writes"))
        assert before == [[], [], [], []]
    assert value(await quiet("reads")) == ["words of the project"] * 2


async def test_an_attempt_that_removes_its_folder_harms_nobody(quiet: Run) -> None:
    assert value(await quiet("removes_its_folder")) == "gone"
    assert value(await quiet("reads")) == ["words of the project"] * 2


async def test_the_environment_holds_a_few_harmless_names_only(quiet: Run) -> None:
    environment = value(await quiet("environment"))
    assert set(environment) <= {"PATH", "HOME", "LANG", "TZ", "TMPDIR"}
    assert environment["PATH"] == os.environ["PATH"]
    assert environment["HOME"] != os.environ["HOME"]


async def test_changes_of_the_process_do_not_reach_the_next_attempt(quiet: Run) -> None:
    def without_numbers(state: list[object]) -> str:
        return "".join(letter for letter in repr(state) if not letter.isdigit())

    *before, umask = value(await quiet("state"))
    assert (await quiet("changes_state")).error is None
    *after, umask_after = value(await quiet("state"))
    assert umask_after == umask
    assert without_numbers(after) == without_numbers(before)
    assert after[0] in after[1]


async def test_every_attempt_has_a_fresh_browser_context(quiet: Run) -> None:
    for _ in range(2):
        assert value(await quiet("cookies")) == [["", None], ["seen=1", "1"]]


async def test_the_operator_gives_variables_to_user_code_by_a_prefix(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_USER_SHOP_KEY", "12345")
    monkeypatch.setenv("CALLBOARD_USER_HOME", "/root")
    monkeypatch.setenv("CALLBOARD_USER_", "nameless")
    monkeypatch.setenv("CALLBOARD_API_KEYS", "secret")
    monkeypatch.setenv("CALLBOARD_SECRET_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LANG", "C")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    report = await lab.pool().run_attempt(lab.version(PROJECT), attempt_spec("environment"), unnoticed)
    environment = value(report)
    assert set(environment) == {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "SHOP_KEY"}
    assert environment["SHOP_KEY"] == "12345"
    assert environment["TZ"] == "Asia/Tokyo"
    assert environment["HOME"].startswith(str(lab.scratch))
    assert "secret" not in repr(environment)


async def test_modules_of_the_same_name_in_two_projects_do_not_meet(lab: Lab) -> None:
    source = {"api/who.py": "import names\nasync def automation(page): return names.NAME"}
    one = lab.version({**source, "names.py": "NAME = 'one'"}, project="one")
    two = lab.version({**source, "names.py": "NAME = 'two'"}, project="two")
    pools = {version: lab.pool(project=version.project) for version in (one, two)}
    for version in (one, two, one):
        assert value(await pools[version].run_attempt(version, attempt_spec("who"), unnoticed)) == version.project


async def test_a_project_folder_is_never_written_to(quiet: Run, quiet_version: Version) -> None:
    for api in ("writes", "names", "removes_its_folder"):
        assert (await quiet(api)).error is None
    folder = quiet_version.folder
    files = [folder / path for path in PROJECT]
    folders = {parent for file in files for parent in file.parents if folder in parent.parents}
    assert sorted(folder.rglob("*")) == sorted({*files, *folders})
    assert (quiet_version.folder / "data" / "words.txt").read_text() == "words of the project"


async def test_contexts_that_an_attempt_opened_itself_are_gone_after_it(quiet: Run) -> None:
    assert [value(await quiet("leaves_contexts")) for _ in range(2)] == [1] * 2


COOKIE = {"name": "seen", "value": "1", "domain": "shop.test", "path": "/"}


@pytest.mark.parametrize("by", ["browser", "page"])
@pytest.mark.parametrize(
    "commands",
    [
        pytest.param([("Storage.setCookies", {"cookies": [COOKIE]})], id="a cookie"),
        pytest.param([("Target.createTarget", {"url": "data:text/html,left"})], id="a page"),
        pytest.param([("Tracing.start", {})], id="a trace"),
        pytest.param([("Browser.setDownloadBehavior", {"behavior": "deny"})], id="downloads"),
    ],
)
async def test_a_browser_that_took_raw_protocol_commands_is_not_used_again(
    lab: Lab, by: str, commands: list[tuple[str, object]]
) -> None:
    pool, version = lab.pool(), lab.version(PROJECT)
    asked = attempt_spec("commands", {"by": by, "commands": commands})
    assert len(value(await pool.run_attempt(version, asked, unnoticed))) == 1
    await settled(pool)
    assert pool.slots[0].machine is None
    assert value(await pool.run_attempt(version, attempt_spec("finds_in_the_browser"), unnoticed)) == [
        0,
        ["about:blank"],
    ]
    await settled(pool)


async def test_a_browser_in_which_only_a_page_was_commanded_is_used_again(lab: Lab) -> None:
    pool, version = lab.pool(), lab.version(PROJECT)
    commands = [("Network.enable", {}), ("Page.captureScreenshot", {}), ("Runtime.evaluate", {"expression": "1"})]
    asked = attempt_spec("commands", {"by": "page", "commands": commands})
    assert len(value(await pool.run_attempt(version, asked, unnoticed))) == 3
    await settled(pool)
    assert pool.slots[0].machine is not None


async def test_what_the_driver_notes_for_itself_is_gone_after_an_attempt(lab: Lab) -> None:
    pool, version = lab.pool(), lab.version(PROJECT)
    assert (await pool.run_attempt(version, attempt_spec("names"), unnoticed)).error is None
    await settled(pool)
    (machine,) = [slot.machine for slot in pool.slots]
    assert machine is not None
    left = [lab.scratch / machine.name / path for path in ("home/.cache/x/recorder.json", "downloads/x", "tmp/x")]
    kept = next((lab.scratch / machine.name / "tmp").glob("playwright_chromiumdev_profile-*"))
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left")
    assert (await pool.run_attempt(version, attempt_spec("names"), unnoticed)).error is None
    await settled(pool)
    assert [path for path in (*left, left[0].parent) if path.exists()] == []
    assert kept.exists()
    assert pool.slots[0].machine is machine


@pytest.mark.parametrize("what", ["size", "mode"])
async def test_a_machine_whose_output_was_changed_is_not_used_again(lab: Lab, what: str) -> None:
    pool, version = lab.pool(), lab.version(PROJECT)
    asked = attempt_spec("changes_its_output", {"what": what})
    assert (await pool.run_attempt(version, asked, unnoticed)).error is None
    await settled(pool)
    assert pool.slots[0].machine is None


async def test_an_attempt_cannot_trace_the_browser(quiet: Run) -> None:
    assert failure(await quiet("traces_the_browser")).message.startswith(
        "Error: Browser.start_tracing: An automation cannot"
    )
