"""A person's hold on the browser of an Attempt: user code waits, and what is typed is recorded nowhere."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.async_api import async_playwright

from callboard.machines.attempt_log_file import AttemptLogFile
from callboard.machines.attempt_spec import EvidenceSpec
from callboard.machines.browser_program import browser_args, find_browser
from callboard.machines.machine_attempt import MachineAttempt
from callboard.machines.pool import Pool
from callboard.machines.runner import evidence as runner_evidence
from callboard.machines.runner.conversation import AttemptState
from callboard.machines.runner.evidence import Evidence
from callboard.machines.runner.hold import Hold
from callboard.machines.runner.used_pages import UsedPages
from callboard.machines.trace_redaction import parts_in
from callboard.schemas.workflow.run import TraceMode
from tests.support.attempt_evidence import Left
from tests.support.automations import automations
from tests.support.machines import PATIENCE, Lab, Language, attempt_of, failure, value
from tests.support.polling import until
from tests.support.present import present
from tests.support.typescript import handlers

from .test_screencast import Person, connected, picture

FORM = (
    "data:text/html,<input id=word><input id=secret type=password>"
    "<script>const ask = () => { document.body.id = confirm('sure?') };"
    "oninput = ({target}) => target.value === 'ask' ? setTimeout(ask) : console.log('heard ' + target.value)</script>"
)
NEXT = "data:text/html,<title>Next</title>"
PROJECT = automations(
    waits=f"""
        from pathlib import Path
        await page.goto({FORM!r})
        await page.focus("#word")
        page.on("dialog", lambda dialog: dialog.accept())
        calls = 0
        while not Path(params["go"]).exists():
            calls += await page.evaluate("1")
            Path(params["calls"]).write_text(str(calls))
        if params["fails"]:
            await page.get_by_text("nothing").click(timeout=1)
        typed = await page.input_value("#word") + await page.evaluate("document.body.id")
        await page.goto({NEXT!r})
        titles = {{await page.title() for _ in range(50)}}
        return [typed, *titles]
    """,
)
TYPESCRIPT = handlers(
    waits=f"""
        const fs = require("fs");
        await page.goto({json.dumps(FORM)});
        await page.focus("#word");
        let calls = 0;
        while (!fs.existsSync(params.go)) {{
            calls += await page.evaluate("1");
            fs.writeFileSync(params.calls, `${{calls}}`);
        }}
        const typed = await page.inputValue("#word");
        await page.goto({json.dumps(NEXT)});
        const titles = new Set();
        for (let i = 0; i < 50; i++) titles.add(await page.title());
        return [typed, ...titles];
    """,
)
WORDS = ("wordinafield", "wordinapassword")


class Held:
    """An Attempt that calls the browser all the time, and a person at it."""

    def __init__(self, attempt: MachineAttempt, folder: Path) -> None:
        self.attempt = attempt
        self._folder = folder

    @property
    def calls(self) -> int:
        """The number of calls that user code has made."""
        place = self._folder / "calls"
        return int(place.read_text() or 0) if place.exists() else 0

    async def goes_on(self) -> bool:
        """Whether user code comes back from one more call. It is not waited for where the browser is held."""
        before = self.calls
        await until(lambda: self.calls > before)
        return True

    async def do(self, *events: dict[str, Any]) -> None:
        """Do this to the page."""
        person = Person(*await connected(self._folder))
        await picture(person.reader)
        assert await person.do(*events)
        person.writer.close()

    def go(self) -> None:
        """Have user code come to its end."""
        (self._folder / "go").touch()


TYPES = [
    {"kind": "text", "text": WORDS[0]},
    {"kind": "key", "type": "keyDown", "key": "Tab", "code": "Tab", "modifiers": 0},
    {"kind": "key", "type": "keyUp", "key": "Tab", "code": "Tab", "modifiers": 0},
    {"kind": "text", "text": WORDS[1]},
]


@asynccontextmanager
async def attempt(
    lab: Lab, project: dict[str, str], language: Language, folder: Path, **parameters: Any
) -> AsyncGenerator[tuple[Held, asyncio.Future[Any]]]:
    """An Attempt whose user code has begun to call the browser."""
    (folder / "evidence").mkdir()
    begun = attempt_of(
        "waits",
        {"go": str(folder / "go"), "calls": str(folder / "calls"), "fails": False, **parameters},
        evidence=EvidenceSpec(folder / "evidence", TraceMode.ALWAYS),
        log=AttemptLogFile(folder / "log.jsonl", 10**6),
    )
    version = lab.version(project, project=language)
    pool: Pool = lab.pool(project=version.project)
    running = asyncio.ensure_future(pool.run_attempt(version, begun))
    held = Held(begun, folder)
    await until(lambda: held.calls or running.done())
    yield held, running
    held.go()
    await asyncio.wait({running})


async def recorded(attempt: MachineAttempt) -> bytes:
    """All that there is of an Attempt."""
    left, log = Left(attempt, None), present(attempt.log)
    assert await log.wait_complete(PATIENCE) is not None
    traces = [zipfile.ZipFile(part) for part in parts_in(left.folder)]
    parts = [trace.read(name) for trace in traces for name in trace.namelist()]
    return b"".join([*parts, log.file.read_bytes()])


@pytest.mark.both_languages
async def test_what_is_typed_is_recorded_nowhere_and_user_code_waits(
    lab: Lab, project: dict[str, str], language: Language, tmp_path: Path
) -> None:
    async with attempt(lab, project, language, tmp_path) as (held, running):
        assert await held.attempt.hold(calls=True) is None
        before = held.calls
        await held.do(*TYPES)
        assert await held.attempt.hold(calls=True) is None, "it may be asked for again"
        assert held.calls - before <= 1, "of the call that the driver had"
        await held.attempt.release()
        assert await held.goes_on()
        held.go()
        assert value(await running) == [WORDS[0], "Next"]
    everything = await recorded(held.attempt)
    assert [word for word in WORDS if word.encode() in everything] == []
    left = Left(held.attempt, None)
    assert (left.names, list(left.evidence.missing)) == (["trace-1.zip", "trace-2.zip"], ["trace"])
    assert left.calls()[:2] == ["goto", "focus"]
    assert set(left.calls(1)) == {"title"}, "from the next document on"


async def test_a_page_that_a_person_has_used_is_in_no_screenshot(
    lab: Lab, project: dict[str, str], language: Language, tmp_path: Path
) -> None:
    async with attempt(lab, project, language, tmp_path, fails=True) as (held, running):
        assert await held.attempt.hold(calls=True) is None
        await held.do(*TYPES)
        await held.attempt.release()
        held.go()
        assert failure(await running).name == "TimeoutError"
    left = Left(held.attempt, None)
    assert (left.names, list(left.evidence.missing)) == (["trace-1.zip"], ["screenshot", "trace"])


async def test_dialogs_are_the_persons_and_are_dismissed_at_last(
    lab: Lab, project: dict[str, str], language: Language, tmp_path: Path
) -> None:
    async with attempt(lab, project, language, tmp_path) as (held, running):
        assert await held.attempt.hold(calls=True) is None
        person = Person(*await connected(tmp_path))
        await picture(person.reader)
        assert await person.do({"kind": "text", "text": "ask"})
        assert (await person.asks())["message"] == "sure?"
        person.writer.close()
        await held.attempt.release()
        held.go()
        assert value(await running) == ["askfalse", "Next"], "though user code would accept it"


async def test_one_that_is_stopped_while_it_is_held_ends_in_its_time(
    lab: Lab, project: dict[str, str], language: Language, tmp_path: Path
) -> None:
    async with attempt(lab, project, language, tmp_path) as (held, running):
        assert await held.attempt.hold(calls=True) is None
        running.cancel()
        await asyncio.wait({running})
    left = Left(held.attempt, None)
    assert (left.names, list(left.evidence.missing)) == (["trace-1.zip"], ["screenshot", "trace"])


async def test_user_code_that_waits_for_a_person_itself_may_ask_the_browser_meanwhile(
    lab: Lab, project: dict[str, str], language: Language, tmp_path: Path
) -> None:
    async with attempt(lab, project, language, tmp_path) as (held, running):
        assert await held.attempt.hold(calls=True) is None
        assert await held.attempt.hold(calls=False) is None, "it hands the browser over that somebody has"
        assert await held.goes_on()
        await held.do(*TYPES)
        await held.attempt.release()
        held.go()
        assert value(await running) == [WORDS[0], "Next"]
    everything = await recorded(held.attempt)
    assert [word for word in WORDS if word.encode() in everything] == []


async def test_a_page_counts_as_used_until_the_next_document_that_is_no_step_back(tmp_path: Path) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(None), args=browser_args())
        page = await browser.new_page()
        await page.route("**/*", lambda route: route.fulfill(body="<input>", content_type="text/html"))
        used, clean = UsedPages(), list[bool]()
        used.on_document = lambda: clean.append(page in used)
        await page.goto("https://one.test")
        await page.goto("https://two.test")
        await used.add(page)
        await page.evaluate("history.pushState({}, '', '/three')")
        await page.reload()
        await page.go_back()
        await page.go_back()
        assert page.url == "https://one.test/"
        assert (page in used, clean) == (True, [])
        await page.goto("https://two.test")
        assert (page in used, clean) == (False, [False])
        await used.add(page)
        assert page in used
        await browser.close()


class Stuck:
    """A context whose trace does not end."""

    pages: tuple[()] = ()

    def __init__(self) -> None:
        self.tracing = self
        self.ends = asyncio.Event()
        self.ended = asyncio.Event()

    async def start(self, **options: Any) -> None: ...

    async def stop(self, path: Path) -> None:
        await self.ends.wait()
        path.write_bytes(b"all that was typed")
        self.ended.set()

    async def close(self) -> None: ...


async def test_a_trace_that_does_not_end_in_time_is_discarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_evidence, "_PAUSED_WITHIN", 0)
    stuck, evidence = Stuck(), Evidence(EvidenceSpec(tmp_path, TraceMode.ALWAYS).to_message())
    await evidence.add_context(cast("Any", stuck))
    await evidence.pause()
    stuck.ends.set()
    saved = await evidence.save(completed=True)
    assert stuck.ended.is_set()
    assert list(tmp_path.iterdir()) == []
    assert saved["missing"]["trace"].startswith("It had not ended")


async def test_a_browser_whose_context_the_hook_has_brought_is_not_held() -> None:
    nothing = cast("Any", None)
    hold = Hold(nothing, nothing, nothing, nothing, AttemptState(brought=True))
    assert (await hold.begin(calls=True) or "").startswith("The project's hook has brought")
