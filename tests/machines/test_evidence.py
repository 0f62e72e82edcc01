"""What a Machine leaves of an Attempt: its trace, and of one that does not complete where it was, and a picture."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zipfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from machines.attempt_log_file import AttemptLogFile
from machines.attempt_spec import AttemptReport
from machines.browser import browser_args, find_browser
from machines.evidence import Evidence
from machines.runner import evidence as runner_evidence
from machines.trace_redaction import parts_in
from schemas.workflow.attempt import AttemptKind
from schemas.workflow.run import ErrorCode, TraceMode
from settings import Settings
from tests.support.machines import PATIENCE, Lab, attempt_spec, failure, open_lab, settled, unnoticed, value
from tests.support.single_machine_pool import ENDLESS

TITLE = "data:text/html,<title>Chairs</title><h1>Chairs</h1>"
PROJECT = {
    **ENDLESS,
    "api/reads.py": f"""
        async def automation(page):
            await page.goto("{TITLE}")
            return await page.title()
    """,
    "shop/price.py": """
        async def price(page):
            await page.get_by_text("Price").click(timeout=50)
    """,
    "api/fails.py": f"""
        from shop.price import price

        async def automation(page):
            await page.goto("{TITLE}")
            await price(page)
    """,
    "api/waits.py": f"""
        async def automation(page):
            await page.goto("{TITLE}")
            await page.wait_for_event("close", timeout=0)
    """,
    "api/tells_and_waits.py": f"""
        from pathlib import Path

        async def automation(page, params):
            await page.goto("{TITLE}")
            Path(params["there"]).touch()
            await page.wait_for_event("close", timeout=0)
    """,
    "api/is_stopped.py": """
        import os, signal

        async def automation(page):
            await page.title()
            os.kill(os.getpid(), signal.SIGSTOP)
    """,
    **{
        f"api/{name}.py": f"""
            import os, signal

            async def automation(page):
                await page.goto("{TITLE}")
                {ends}
        """
        for name, ends in {
            "is_killed": "os.kill(os.getpid(), signal.SIGKILL)",
            "faults": "os.kill(os.getpid(), signal.SIGSEGV)",
            "exits": "os._exit(3)",
        }.items()
    },
    "api/hogs.py": f"""
        async def automation(page):
            await page.goto("{TITLE}")
            print("without an end", end="")
            hoard = []
            while True:
                hoard.append(bytearray(b"x" * 2**20))
    """,
    "api/hogs_in_a_child.py": f"""
        import asyncio, sys

        async def automation(page):
            await page.goto("{TITLE}")
            code = "hoard = []\\nwhile True: hoard.append(bytearray(b'x' * 2**20))"
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
            await process.wait()
    """,
    "api/hogs_in_the_page.py": f"""
        async def automation(page):
            await page.goto("{TITLE}")
            await page.evaluate("const hoard = []; while (true) hoard.push(new Uint8Array(2 ** 20).fill(1))")
    """,
    "api/opens_others.py": f"""
        import asyncio

        async def automation(page):
            browser = page.context.browser
            context = await browser.new_context()
            other = await context.new_page()
            await other.goto("{TITLE}")
            await context.close()
            await asyncio.gather(*(browser.new_context() for _ in range(2)))
            await (await browser.new_page()).goto("{TITLE}")
            raise ValueError("at last")
    """,
    "api/closes.py": f"""
        async def automation(page, params):
            await page.goto("{TITLE}")
            context = page.context
            await {{"page": page, "context": context, "browser": context.browser}}[params["what"]].close()
            if params["fails"]:
                raise ValueError("closed")
    """,
    "api/traces_itself.py": """
        async def automation(page):
            await page.context.tracing.stop()
    """,
    "api/busy_page.py": """
        import asyncio

        async def automation(page):
            asyncio.ensure_future(page.evaluate("while (true);"))
            await asyncio.sleep(0.2)
            raise ValueError("busy")
    """,
    "api/deferred.py": """
        from intuned_runtime import deferred_browser

        @deferred_browser
        async def automation(params, ensure_browser):
            raise ValueError("without a page")
    """,
    "auth-sessions/check.py": f"""
        async def check(page):
            await page.goto("{TITLE}")
            return False
    """,
}
PUTS = 'hoard.append(bytearray(b"x" * 2**20))'


@dataclass
class Left:
    """What there is of an Attempt."""

    evidence: Evidence
    report: AttemptReport | None

    @property
    def names(self) -> list[str]:
        # A Machine that is killed leaves its socket, too: nobody listens there, and the folder goes with the Attempt.
        return sorted(path.name for path in self.evidence.folder.iterdir() if not path.is_socket())

    def calls(self, part: int = 0) -> list[str]:
        """The methods that the trace has seen being called, in their order."""
        with zipfile.ZipFile(parts_in(self.evidence.folder)[part]) as trace:
            assert trace.testzip() is None
            events = [json.loads(line) for line in trace.read("trace.trace").splitlines()]
        return [event["method"] for event in events if event["type"] == "before"]


class Leaving:
    """Attempts on one Machine at a time."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._folder = folder
        self.lab = lab
        self.version = lab.version(PROJECT)
        self.pool = lab.pool()

    def evidence(self, trace: TraceMode = TraceMode.ALWAYS) -> Evidence:
        folder = self._folder / str(len(list(self._folder.iterdir())))
        folder.mkdir()
        return Evidence(folder, trace)

    async def run(self, api: str, parameters: Any = None, trace: TraceMode = TraceMode.ALWAYS, **fields: Any) -> Left:
        evidence = self.evidence(trace)
        asked = attempt_spec(api, parameters, evidence=evidence, **fields)
        return Left(evidence, await self.pool.run(self.version, asked, unnoticed))


@pytest.fixture(scope="module")
async def leaving(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Leaving]:
    folder = tmp_path_factory.mktemp("leaving")
    (folder / "evidence").mkdir()
    async with open_lab(folder) as lab:
        yield Leaving(lab, folder / "evidence")


async def test_an_attempt_that_completes_leaves_its_trace_and_nothing_else(leaving: Leaving) -> None:
    left = await leaving.run("reads")
    assert left.report is not None
    assert value(left.report) == "Chairs"
    assert left.names == ["trace-1.zip"]
    assert left.calls() == ["goto", "title"]
    assert (left.evidence.reported, left.evidence.missing) == (True, {})


async def test_one_that_fails_leaves_a_picture_too_and_tells_where_it_was(leaving: Leaving) -> None:
    left = await leaving.run("fails")
    assert left.report is not None
    failed = failure(left.report)
    assert failed.name == "TimeoutError"
    assert failed.stack.startswith('  File "api/fails.py", line 6, in automation\n    await price(page)\n')
    assert '  File "shop/price.py", line 3, in price\n' in failed.stack
    assert "site-packages" not in failed.stack
    assert left.names == ["screenshot.png", "trace-1.zip"]
    assert left.calls() == ["goto", "click"]
    assert left.evidence.page_url == TITLE
    assert (left.evidence.folder / "screenshot.png").read_bytes().startswith(b"\x89PNG")


async def test_one_that_times_out_leaves_them_and_tells_what_it_waited_for(leaving: Leaving) -> None:
    left = await leaving.run("waits", timeout=3)
    assert left.report is not None
    failed = failure(left.report)
    assert failed.code == ErrorCode.SCRIPT_TIMEOUT
    assert failed.stack == (
        '  File "api/waits.py", line 4, in automation\n    await page.wait_for_event("close", timeout=0)\n'
    )
    assert left.names == ["screenshot.png", "trace-1.zip"]
    assert left.calls()[0] == "goto"
    assert left.evidence.page_url == TITLE


async def test_one_that_is_canceled_leaves_them(leaving: Leaving, tmp_path: Path) -> None:
    there = tmp_path / "there"
    evidence = leaving.evidence()
    asked = attempt_spec("tells_and_waits", {"there": str(there)}, evidence=evidence)
    attempt = asyncio.create_task(leaving.pool.run(leaving.version, asked, lambda _: None))
    async with asyncio.timeout(PATIENCE):
        while not there.exists():
            await asyncio.sleep(0.01)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert Left(evidence, None).names == ["screenshot.png", "trace-1.zip"]
    assert evidence.reported


@pytest.mark.parametrize(
    ("api", "stack"),
    [
        ("blocks", '  File "api/blocks.py", line 5, in automation\n    time.sleep(600)\n'),
        ("spins", '  File "api/spins.py", line 4, in automation\n    pass\n'),
        ("is_stopped", '  File "api/is_stopped.py", line 6, in automation\n    os.kill(os.getpid(), signal.SIGSTOP)\n'),
    ],
)
async def test_one_that_hears_nothing_leaves_them_too_and_tells_where_it_stood(
    leaving: Leaving, api: str, stack: str
) -> None:
    left = await leaving.run(api, timeout=2)
    assert left.report is not None
    told = failure(left.report).stack
    assert told in (stack, stack.replace("line 4", "line 3").replace("pass", "while True:"))
    assert left.names == ["screenshot.png", "trace-1.zip"]
    assert (left.evidence.reported, left.evidence.missing) == (True, {})
    await leaving.run("reads")


@pytest.mark.parametrize(
    ("api", "message"),
    [
        ("is_killed", "Process was ended by signal SIGKILL."),
        ("faults", "Process was ended by signal SIGSEGV."),
        ("exits", "Process exited unexpectedly with code 3."),
    ],
)
async def test_one_whose_process_ends_leaves_them_too(leaving: Leaving, api: str, message: str) -> None:
    left = await leaving.run(api)
    assert left.report is not None
    failed = failure(left.report)
    assert failed.message == message
    where = '  File "api/faults.py", line 6, in automation\n    os.kill(os.getpid(), signal.SIGSEGV)\n'
    assert failed.stack == (where if api == "faults" else "")
    assert left.names == ["screenshot.png", "trace-1.zip"]
    assert left.calls() == ["goto"]
    assert left.evidence.page_url == TITLE


@pytest.mark.parametrize(
    ("api", "stack", "picture"),
    [
        ("hogs", f'  File "api/hogs.py", line 7, in automation\n    {PUTS}\n', True),
        (
            "hogs_in_a_child",
            '  File "api/hogs_in_a_child.py", line 8, in automation\n    await process.wait()\n',
            True,
        ),
        (
            "hogs_in_the_page",
            '  File "api/hogs_in_the_page.py", line 4, in automation\n    await page.evaluate(',
            False,
        ),
    ],
)
async def test_one_that_takes_too_much_memory_leaves_them_too(
    lab: Lab, tmp_path: Path, api: str, stack: str, picture: bool
) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    leaving = Leaving(lab, folder)
    leaving.version = lab.version(PROJECT, memory_limit=700 * 1024**2)
    with contextlib.closing(AttemptLogFile(tmp_path / "log", 10_000)) as log:
        left = await leaving.run(api, log=log)
        said = [json.loads(line) for line in log.file.read_bytes().splitlines()]
    assert left.report is not None
    failed = failure(left.report)
    assert failed.message == "Execution ran out of memory."
    assert failed.stack.startswith(stack)
    assert left.names == ["screenshot.png", "trace-1.zip"] if picture else ["trace-1.zip"]
    assert left.calls()[0] == "goto"
    assert left.evidence.page_url == TITLE
    assert left.evidence.reported
    assert list(left.evidence.missing) == ([] if picture else ["screenshot"])
    assert any(one["message"].endswith("its limit is 734003200 bytes.") for one in said)
    assert [one["message"] for one in said if one["source"] == "user"] == (["without an end"] if api == "hogs" else [])
    lab.assert_clean()


@pytest.mark.parametrize(
    ("mode", "api", "names"),
    [
        (TraceMode.ON_FAILURE, "reads", []),
        (TraceMode.ON_FAILURE, "fails", ["screenshot.png", "trace-1.zip"]),
        (TraceMode.NEVER, "reads", []),
        (TraceMode.NEVER, "fails", ["screenshot.png"]),
    ],
)
async def test_traces_are_left_of_those_of_which_they_are_wanted(
    leaving: Leaving, mode: TraceMode, api: str, names: list[str]
) -> None:
    left = await leaving.run(api, trace=mode)
    assert (left.names, left.evidence.missing) == (names, {})


async def test_a_check_that_does_not_find_the_login_good_has_not_completed(leaving: Leaving) -> None:
    left = await leaving.run("", trace=TraceMode.ON_FAILURE, kind=AttemptKind.CHECK)
    assert left.names == ["screenshot.png", "trace-1.zip"]


async def test_contexts_that_the_automation_opens_are_traced_too(leaving: Leaving) -> None:
    left = await leaving.run("opens_others")
    assert left.names == ["screenshot.png", *(f"trace-{n}.zip" for n in range(1, 6))]
    assert [left.calls(part) for part in range(1, 5)] == [["newPage", "goto"], [], [], ["goto"]]
    assert left.evidence.page_url == TITLE, "the page that it was last at is none of its own context"


@pytest.mark.parametrize("what", ["page", "context", "browser"])
@pytest.mark.parametrize("fails", [False, True])
async def test_what_the_automation_closes_is_traced_to_its_end(leaving: Leaving, what: str, fails: bool) -> None:
    left = await leaving.run("closes", {"what": what, "fails": fails})
    assert left.names == ["trace-1.zip"]
    assert left.calls()[:1] == ["goto"]
    assert left.evidence.missing == ({"screenshot": "Its page was closed."} if fails else {})


async def test_a_trace_that_was_kept_as_its_context_closed_is_not_left_of_one_that_completes(leaving: Leaving) -> None:
    left = await leaving.run("closes", {"what": "context", "fails": False}, trace=TraceMode.ON_FAILURE)
    assert (left.names, left.evidence.missing) == ([], {})


HOOK = """
    from playwright.async_api import async_playwright

    async def setup_context(*, api_name, api_parameters, cdp_url):
        playwright = await async_playwright().start()
        browser = await playwright.chromium.connect_over_cdp(cdp_url)
        context = await browser.new_context()

        async def cleanup():
            await context.close()
            await browser.close()
            await playwright.stop()

        return context, await context.new_page(), cleanup
"""


async def test_a_context_that_the_hook_brings_is_traced_until_the_hook_cleans_up(lab: Lab, tmp_path: Path) -> None:
    pool, version = lab.pool(), lab.version({**PROJECT, "hooks/setup_context.py": HOOK})
    for api, names in (("reads", ["trace-1.zip"]), ("fails", ["screenshot.png", "trace-1.zip"])):
        evidence = Evidence(tmp_path / api, TraceMode.ALWAYS)
        evidence.folder.mkdir()
        await pool.run(version, attempt_spec(api, evidence=evidence), unnoticed)
        left = Left(evidence, None)
        assert left.names == names
        assert left.calls()[:1] == ["goto"]
        assert evidence.page_url == (TITLE if api == "fails" else None)


@pytest.mark.parametrize(
    ("api", "message"),
    [
        ("waits", "The Attempt did not end within 6 seconds."),
        ("blocks_there", "The Attempt did not end within 6 seconds."),
        ("is_killed", "Process was ended by signal SIGKILL."),
        ("exits", "Process exited unexpectedly with code 3."),
        ("hogs", "Execution ran out of memory."),
    ],
)
async def test_a_context_that_the_hook_brings_leaves_a_picture_also_if_its_process_cannot(
    lab: Lab, tmp_path: Path, api: str, message: str
) -> None:
    blocks = f"""
        import time

        async def automation(page):
            await page.goto("{TITLE}")
            time.sleep(600)
    """
    files = {**PROJECT, "api/blocks_there.py": blocks, "hooks/setup_context.py": HOOK}
    leaving = Leaving(lab, tmp_path / "evidence")
    (tmp_path / "evidence").mkdir()
    leaving.version = lab.version(files, memory_limit=800 * 1024**2)
    left = await leaving.run(api, timeout=6 if "did not end" in message else PATIENCE)
    assert left.report is not None
    assert failure(left.report).message == message
    assert left.names == (["screenshot.png", "trace-1.zip"] if api == "waits" else ["screenshot.png"]), left
    assert (left.evidence.folder / "screenshot.png").read_bytes().startswith(b"\x89PNG")
    assert left.evidence.page_url == TITLE
    assert list(left.evidence.missing) == ([] if api == "waits" else ["trace"])
    await settled(leaving.pool)
    lab.assert_clean(leaving.pool.slots[0].machine)
    assert (await leaving.run("reads")).calls()[:1] == ["goto"], "it works on"


async def test_what_cannot_be_had_is_told(leaving: Leaving) -> None:
    left = await leaving.run("traces_itself")
    assert left.report is not None
    assert "Callboard traces the Attempt itself" in failure(left.report).message
    assert (left.names, left.evidence.missing) == (["screenshot.png", "trace-1.zip"], {})
    left = await leaving.run("busy_page")
    assert left.evidence.missing == {"screenshot": "Its page gave none within 1 s."}
    assert left.names == ["trace-1.zip"]


async def test_where_no_page_was_wanted_nothing_is_missing(leaving: Leaving) -> None:
    left = await leaving.run("deferred", {})
    assert (left.names, left.evidence.missing, left.evidence.page_url) == ([], {}, None)


async def test_a_trace_that_grows_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("machines.runner.evidence._LOOK_EVERY", 0.01)
    raw = tmp_path / "traces"
    (raw / "screencast").mkdir(parents=True)
    asked = Evidence(tmp_path / "evidence", TraceMode.ALWAYS, trace_limit=100)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_browser(Settings().chromium), args=browser_args(), traces_dir=raw
        )
        context = await browser.new_context()
        page = await context.new_page()
        evidence = runner_evidence.Evidence(asked.to_message(), "api/long", raw)
        await evidence.begin(context, page)
        (raw / "screencast" / "1.jpeg").write_bytes(bytes(500))
        async with asyncio.timeout(PATIENCE):
            while not evidence._missing:
                await asyncio.sleep(0.01)
        left = await evidence.leave(completed=True)
        await browser.close()
    assert left["missing"] == {"trace": "It grew to 400 bytes before it was packed, and was given up."}
    assert not asked.folder.exists()


async def test_traces_do_not_pile_up_in_the_machine(leaving: Leaving) -> None:
    for _ in range(2):
        await leaving.run("reads")
        await settled(leaving.pool)
    (traces,) = leaving.lab.scratch.glob("*/traces")
    assert list(traces.iterdir()) == []
