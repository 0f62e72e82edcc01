"""What a Machine leaves of an Attempt: its trace, and of one that does not complete where it was, and a picture."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from callboard.machines.attempt_log_file import AttemptLogFile
from callboard.machines.attempt_spec import EvidenceSpec
from callboard.machines.browser_program import browser_args, find_browser
from callboard.machines.runner import evidence as runner_evidence
from callboard.schemas.workflow.attempt import AttemptKind
from callboard.schemas.workflow.run import TraceMode
from callboard.settings import Settings
from tests.support import attempt_evidence
from tests.support.attempt_evidence import PROJECT, TITLE, Leaving, Left
from tests.support.machines import PATIENCE, Lab, Language, failure, open_lab, value
from tests.support.polling import until

TYPESCRIPT = attempt_evidence.TYPESCRIPT
FAULT = "os.kill(os.getpid(), signal.SIGSEGV)"
FAULTS = f'  File "api/faults.py", line 6, in automation\n    {FAULT}\n'
PUTS = 'hoard.append(bytearray(b"x" * 2**20))'


@pytest.fixture(scope="module")
async def leaving(tmp_path_factory: pytest.TempPathFactory, project: dict[str, str]) -> AsyncGenerator[Leaving]:
    folder = tmp_path_factory.mktemp("leaving")
    (folder / "evidence").mkdir()
    async with open_lab(folder) as lab:
        yield Leaving(lab, folder / "evidence", project)


@pytest.mark.both_languages
async def test_an_attempt_that_completes_leaves_its_trace_and_nothing_else(
    leaving: Leaving, language: Language
) -> None:
    left = await leaving.run("reads")
    assert left.report is not None
    assert value(left.report) == "Chairs"
    assert left.names == ["trace-1.zip"]
    assert left.calls() == ["goto", "title"]
    assert left.sources() == [".py" if language is Language.PYTHON else ".ts"]
    assert left.evidence.missing == {}


TIMED_OUT = "The Attempt did not end within 2 seconds; it stood at api/"
KILLS = '  File "api/is_stopped.py", line 6, in automation\n    os.kill(os.getpid(), signal.SIGSTOP)\n'


@pytest.mark.parametrize(
    ("api", "timeout", "message", "stack"),
    [
        ("fails", PATIENCE, "TimeoutError: ", '  File "api/fails.py", line 6, in automation\n    await price(page)\n'),
        ("waits", 2, TIMED_OUT, '  File "api/waits.py", line 4, in automation\n    await page.wait_for_event('),
        ("blocks", 2, TIMED_OUT, '  File "api/blocks.py", line 2, in automation\n    import time; time.sleep(600)\n'),
        ("spins", 2, TIMED_OUT, '  File "api/spins.py", line '),
        ("is_stopped", 2, TIMED_OUT, KILLS),
        ("is_killed", PATIENCE, "Process was ended by signal SIGKILL.", ""),
        ("faults", PATIENCE, f"Process was ended by signal SIGSEGV; it stood at api/faults.py:6 (`{FAULT}`).", FAULTS),
        ("exits", PATIENCE, "Process exited unexpectedly with code 3.", ""),
    ],
)
async def test_one_that_does_not_complete_leaves_evidence_and_tells_its_place(
    leaving: Leaving, api: str, timeout: float, message: str, stack: str
) -> None:
    await leaves_evidence(leaving, api, timeout, message, stack)


@pytest.mark.typescript
@pytest.mark.parametrize(
    ("api", "timeout", "message", "stack"),
    [
        ("fails", PATIENCE, "TimeoutError: locator.click: Timeout 50ms exceeded. (api/fails.ts:2)", "TimeoutError: "),
        ("clicks", 2, f"{TIMED_OUT}clicks.ts:3.", "It waits for locator.click:\n    at handler (api/clicks.ts:3:"),
        ("waits", 2, f"{TIMED_OUT}waits.ts:3.", "It waits for page.waitForEvent:\n    at handler (api/waits.ts:3:"),
        ("spins", 2, "The Attempt did not end within 2 seconds.", ""),
        ("exits", PATIENCE, "Process exited unexpectedly with code 3.", ""),
    ],
)
async def test_one_in_typescript_leaves_them_too(
    leaving: Leaving, api: str, timeout: float, message: str, stack: str
) -> None:
    await leaves_evidence(leaving, api, timeout, message, stack)


async def leaves_evidence(leaving: Leaving, api: str, timeout: float, message: str, stack: str) -> None:
    left = await leaving.run(api, timeout=timeout)
    assert left.report is not None
    failed = failure(left.report)
    assert failed.message.startswith(message)
    assert failed.stack.startswith(stack) if stack else failed.stack == ""
    assert "site-packages" not in failed.stack
    assert left.names == ["screenshot.png", "trace-1.zip"]
    assert left.evidence.missing == {}
    if api in {"fails", "clicks", "waits", "is_killed", "faults", "exits"}:  # the others have opened no page
        assert left.calls()[0] == "goto"
        assert left.evidence.page_url == TITLE
    assert (left.folder / "screenshot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.both_languages
async def test_one_that_is_canceled_leaves_them(leaving: Leaving, tmp_path: Path) -> None:
    there = tmp_path / "there"
    attempt = leaving.attempt("tells_and_waits", {"there": str(there)})
    running = asyncio.create_task(leaving.pool.run_attempt(leaving.version, attempt))
    await until(there.exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    left = Left(attempt, None)
    assert (left.names, left.evidence.missing) == (["screenshot.png", "trace-1.zip"], {})


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
        assert await log.wait_complete(PATIENCE) is not None
        said = [json.loads(line) for line in log.file.read_bytes().splitlines()]
    assert left.report is not None
    failed = failure(left.report)
    assert failed.message.startswith("Execution ran out of memory: its Machine used ")
    assert f"; it stood at api/{api}.py:" in failed.message
    assert failed.stack.startswith(stack)
    assert left.names == ["screenshot.png", "trace-1.zip"] if picture else ["trace-1.zip"]
    assert left.calls()[0] == "goto"
    assert left.evidence.page_url == TITLE
    assert list(left.evidence.missing) == ([] if picture else ["screenshot"])
    assert any(one["message"].endswith("its limit is 734003200 bytes.") for one in said)
    assert [one["message"] for one in said if one["source"] == "user"] == (["without an end"] if api == "hogs" else [])
    assert await lab.settled(leaving.pool) is None


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


@pytest.mark.both_languages
async def test_contexts_that_the_automation_opens_are_traced_too(leaving: Leaving) -> None:
    left = await leaving.run("opens_others")
    assert left.names == ["screenshot.png", *(f"trace-{n}.zip" for n in range(1, 6))]
    assert [left.calls(part) for part in range(1, 5)] == [["newPage", "goto"], [], [], ["goto"]]
    assert left.evidence.page_url == TITLE, "the page that it was last at is none of its own context"


@pytest.mark.both_languages
@pytest.mark.parametrize("what", ["page", "context", "browser"])
@pytest.mark.parametrize("fails", [False, True])
async def test_what_the_automation_closes_is_traced_to_its_end(leaving: Leaving, what: str, fails: bool) -> None:
    left = await leaving.run("closes", {"what": what, "fails": fails})
    assert left.names == ["trace-1.zip"]
    assert left.calls()[:1] == ["goto"]
    assert left.evidence.missing == ({"screenshot": "Its page was closed."} if fails else {})


async def test_a_completed_attempt_leaves_no_trace_of_a_closed_context(leaving: Leaving) -> None:
    left = await leaving.run("closes", {"what": "context", "fails": False}, trace=TraceMode.ON_FAILURE)
    assert (left.names, left.evidence.missing) == ([], {})


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
    monkeypatch.setattr("callboard.machines.runner.evidence._LOOK_EVERY", 0.01)
    raw = tmp_path / "traces"
    (raw / "screencast").mkdir(parents=True)
    asked = EvidenceSpec(tmp_path / "evidence", TraceMode.ALWAYS, trace_limit=100)
    saved = asked.folder / "trace-1.zip"
    asked.folder.mkdir()
    saved.touch()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_browser(Settings().chromium), args=browser_args(), traces_dir=raw
        )
        context = await browser.new_context()
        page = await context.new_page()
        evidence = runner_evidence.Evidence(asked.to_message(), "api/long", raw)
        await evidence.begin(context, page)
        (raw / "screencast" / "1.jpeg").write_bytes(bytes(500))
        await until(lambda: not saved.exists())
        left = await evidence.save(completed=True)
        await browser.close()
    assert left["missing"] == {"trace": "It grew to 400 bytes before it was packed, and was given up."}
    assert list(asked.folder.iterdir()) == []


async def test_traces_do_not_pile_up_in_the_machine(leaving: Leaving) -> None:
    for _ in range(2):
        await leaving.run("reads")
        await leaving.lab.settled(leaving.pool)
    (traces,) = leaving.lab.scratch.glob("*/traces")
    assert list(traces.iterdir()) == []
