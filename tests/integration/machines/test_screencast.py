"""What a Machine shows of an Attempt to its worker, and at whose pace."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest

from callboard.machines.attempt_spec import AttemptReport, EvidenceSpec, Version
from callboard.machines.machine_attempt import MachineAttempt
from callboard.machines.runner.screencast import SOCKET, Screencast
from callboard.schemas.workflow.trace import TraceMode
from tests.support.automations import automations
from tests.support.machines import PATIENCE, Lab, Run, attempt_of, value
from tests.support.polling import until

PROJECT = automations(
    moves="""
        import asyncio
        from pathlib import Path
        moving = "setInterval(() => { document.body.style.background = `hsl(${Date.now() / 5 % 360} 90% 50%)` }, 5)"
        await page.goto("data:text/html,<h1>Moves</h1>")
        if params.get("moves", True):
            await page.evaluate(moving)
        if params.get("opens"):
            page = await page.context.new_page()
            await page.goto("data:text/html,<h1>Another</h1>")
        while not Path(params["go"]).exists():
            await asyncio.sleep(0.02)
        return await page.evaluate("document.querySelector('h1').textContent")
    """,
    handed="""
        from callboard_runtime import hand_over
        filling = "<style>*{margin:0}body,input{width:100vw;height:100vh}</style>"
        async def serve(route):
            is_popup = route.request.url.endswith("popup")
            body = "<input>" if is_popup else "<body onclick='this.onclick = window.open(`/popup`)'>"
            await route.fulfill(content_type="text/html", body=filling + body)
        await page.context.route("**", serve)
        await page.goto("http://shop.test/first")
        other = await page.context.new_page()
        await other.goto("http://shop.test/other")
        async def typed():
            popups = [each for each in page.context.pages if each.url.endswith("popup")]
            return any([await each.input_value("input") for each in popups])
        await hand_over(other, "Open it, and type something", until=typed)
        return {await each.opener() == other for each in page.context.pages if each.url.endswith("popup")} == {True}
    """,
    typed="""
        import asyncio
        from pathlib import Path
        await page.goto("data:text/html,<style>*{margin:0}input{width:100vw;height:100vh}</style><input>")
        await page.evaluate(
            "window.seen = []; for (const type of ['mousedown', 'keydown', 'paste']) "
            "addEventListener(type, (event) => window.seen.push([type, event.isTrusted]))"
        )
        Path(params["go"]).with_name("shown").touch()
        while not Path(params["go"]).exists():
            await asyncio.sleep(0.02)
        return await page.evaluate("[document.querySelector('input').value, window.seen]")
    """,
    asks="""
        import asyncio
        from pathlib import Path
        inner = "<select id=list><option>Choose<option disabled>sold out<option>tea<option>milk</select>"
        await page.set_content(
            "<style>*{margin:0}body>:not(style){padding:0;border:0;width:100vw;height:25vh;display:block}</style>"
            f'<iframe srcdoc="<style>*{{margin:0}}select{{width:100vw;height:99vh}}</style>{inner}"></iframe>'
            "<input type=date id=day min=2026-01-01><input type=file id=file multiple accept=.txt>"
            '<button onclick="window.said = [prompt(`Name?`, `Anna`), confirm(`Sure?`)]">Ask</button>'
        )
        await page.frames[1].evaluate(
            "window.seen = []; for (const type of ['mousedown', 'input', 'change'])"
            " addEventListener(type, (event) => window.seen.push([type, event.isTrusted]));"
            "document.querySelector('select').options[3].label = 'milk' + String.fromCharCode(0xd83d)"
        )
        while not Path(params["go"]).exists():
            await asyncio.sleep(0.02)
        listed = await page.frames[1].evaluate("[document.querySelector('select').value, window.seen]")
        day = await page.input_value("#day")
        files = await page.evaluate("Promise.all([...window.file.files].map((each) => each.text()))")
        return [*listed, day, files, await page.evaluate("window.said")]
    """,
)


@asynccontextmanager
async def attempt(quiet: Run, folder: Path, **parameters: Any) -> AsyncGenerator[asyncio.Task[Any]]:
    """An Attempt that runs as long as the block, and completes."""
    evidence, go = folder / "evidence", folder / "go"
    evidence.mkdir()
    kept = EvidenceSpec(evidence, TraceMode.ALWAYS)
    running = asyncio.ensure_future(quiet("moves", {"go": str(go), **parameters}, evidence=kept))
    try:
        yield running
    finally:
        go.touch()
        report = await running
    assert value(report) == ("Another" if parameters.get("opens") else "Moves")


async def connected(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The worker, for somebody who watches."""
    place = folder / "evidence" / SOCKET
    await until(place.exists)
    assert place.stat().st_mode & 0o777 == 0o600
    descriptor = os.open(place.parent, os.O_PATH)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/{SOCKET}")
    finally:
        os.close(descriptor)


async def picture(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        (size,) = struct.unpack(">I", await reader.readexactly(4))
        return await reader.readexactly(size)


def tell(writer: asyncio.StreamWriter, **message: Any) -> None:
    """Say this as the worker."""
    text = json.dumps(message).encode()
    writer.write(struct.pack(">I", len(text)) + text)


def take(writer: asyncio.StreamWriter) -> None:
    """Say that the last picture was taken."""
    tell(writer, kind="taken")


async def test_pictures_come_one_after_another_until_the_attempt_ends(quiet: Run, tmp_path: Path) -> None:
    async with attempt(quiet, tmp_path):
        reader, writer = await connected(tmp_path)
        pictures = list[bytes]()
        while len(pictures) < 4:
            pictures.append(await picture(reader))
            take(writer)
        assert all(each.startswith(b"\xff\xd8\xff") for each in pictures)
        assert len(set(pictures)) > 1
    async with asyncio.timeout(PATIENCE):
        await reader.read()  # what was on its way, and the end
    writer.close()


class Moving:
    """A page, with its session, that shows two frames at once and hears which were taken."""

    def __init__(self) -> None:
        self.context = SimpleNamespace(new_cdp_session=self.session)
        self.acknowledged: list[int] = []

    async def session(self, _page: object) -> Moving:
        return self

    def on(self, _event: str, came: Callable[[dict[str, Any]], None]) -> None:
        self.came = came

    async def send(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if method == "Page.startScreencast":
            for number in range(2):
                self.came({"data": base64.b64encode(b"%d" % number).decode(), "sessionId": number})
        if method == "Page.screencastFrameAck":
            self.acknowledged.append(parameters["sessionId"])
        return {"data": base64.b64encode(b"first").decode()}

    def is_closed(self) -> bool:
        return False

    async def detach(self) -> None: ...


async def test_the_browser_hears_that_frames_were_taken_when_the_worker_says_so(tmp_path: Path) -> None:
    moving = Moving()
    (tmp_path / "evidence").mkdir()
    live = Screencast(tmp_path / "evidence", lambda: cast("Any", moving), AsyncMock())
    await live.begin()
    reader, writer = await connected(tmp_path)
    assert [await picture(reader) for _ in range(3)] == [b"first", b"0", b"1"]
    assert not moving.acknowledged
    take(writer)
    await until(lambda: moving.acknowledged == [0, 1])
    await live.end()
    assert await reader.read() == b""
    writer.close()


async def test_a_worker_that_connects_again_takes_the_place_of_its_last_connection(quiet: Run, tmp_path: Path) -> None:
    async with attempt(quiet, tmp_path):
        reader, writer = await connected(tmp_path)
        await picture(reader)
        again, writer_again = await connected(tmp_path)
        await picture(again)
        async with asyncio.timeout(PATIENCE):
            await reader.read()
        writer.close()
        writer_again.close()


@pytest.mark.parametrize("shown", [{"moves": False}, {"opens": True}], ids=["a still page", "a page opened later"])
async def test_whichever_page_the_automation_is_at_is_shown(quiet: Run, tmp_path: Path, shown: Any) -> None:
    async with attempt(quiet, tmp_path, **shown):
        reader, writer = await connected(tmp_path)
        await picture(reader)
        writer.close()


Begun = Callable[..., tuple[MachineAttempt, asyncio.Future[AttemptReport]]]


@pytest.fixture
def begin(quiet: Run, quiet_lab: Lab, quiet_version: Version, tmp_path: Path) -> Begun:
    """Begins an Attempt of this API on the Machine of `quiet`."""
    (tmp_path / "evidence").mkdir()

    def begin(api: str, **fields: Any) -> tuple[MachineAttempt, asyncio.Future[AttemptReport]]:
        kept = EvidenceSpec(tmp_path / "evidence", TraceMode.NEVER)
        begun = attempt_of(api, {"go": str(tmp_path / "go")}, evidence=kept, **fields)
        return begun, asyncio.ensure_future(quiet_lab.pools[0].run_attempt(quiet_version, begun))

    return begin


async def hold(attempt: MachineAttempt) -> None:
    """Have somebody have the browser, once user code has begun."""
    await until(lambda: attempt.start)
    assert await attempt.hold(calls=False) is None


CLICK = {"kind": "mouse", "x": 0.5, "y": 0.5, "button": "left", "clickCount": 1, "modifiers": 0}
KEY = {"kind": "key", "modifiers": 0}
EVENTS: list[dict[str, Any]] = [
    {**CLICK, "type": "mousePressed"},
    {**CLICK, "type": "mouseReleased"},
    {"kind": "text", "text": "he"},
    {**KEY, "type": "keyDown", "key": "l", "code": "KeyL"},
    {**KEY, "type": "keyUp", "key": "l", "code": "KeyL"},
    {"kind": "paste", "text": "lo!"},
    {**KEY, "type": "keyDown", "key": "Backspace", "code": "Backspace"},
    {**KEY, "type": "keyUp", "key": "Backspace", "code": "Backspace"},
]


async def test_what_who_has_the_browser_does_reaches_the_page(begin: Begun, tmp_path: Path) -> None:
    attempt, running = begin("typed")
    person = Person(*await connected(tmp_path))
    await picture(person.reader)
    await until((tmp_path / "shown").exists)
    assert not await person.do(*EVENTS)
    await hold(attempt)
    assert await person.do(*EVENTS)
    await attempt.release()
    assert not await person.do(*EVENTS), "it may have been on its way"
    (tmp_path / "go").touch()
    person.writer.close()
    trusted = [["mousedown", True], ["keydown", True], ["paste", False], ["keydown", True]]
    assert value(await running) == ["hello", trusted]


class Person:
    """Somebody who has the browser, by a worker's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.ids = itertools.count(1)
        self.asked = list[Any]()

    async def heard(self, kind: str) -> dict[str, Any]:
        """What is said next of this kind."""
        while True:
            message = await picture(self.reader)
            if message.startswith(b"\xff"):
                take(self.writer)
                continue
            said = json.loads(message)
            if said["kind"] == "asks":
                self.asked.append(said["asks"])
            if said["kind"] == kind:
                return said

    async def do(self, *events: dict[str, Any]) -> bool:
        tell(self.writer, kind="input", id=next(self.ids), events=list(events))
        return (await self.heard("acted"))["taken"]

    async def click(self, y: float) -> bool:
        return await self.do(*({**CLICK, "y": y, "type": kind} for kind in ("mousePressed", "mouseReleased")))

    async def asks(self) -> dict[str, Any]:
        """What is asked by now."""
        while not self.asked or self.asked[-1] is None:
            await self.heard("asks")
        return self.asked[-1]


async def test_what_no_picture_shows_is_asked_of_the_person(begin: Begun, tmp_path: Path) -> None:
    attempt, running = begin("asks")
    person = Person(*await connected(tmp_path))
    await hold(attempt)
    await picture(person.reader)
    await until_shown(person)

    listed = person.asked[-1]
    assert [(each["label"], each["disabled"]) for each in listed["options"]] == [
        ("Choose", False),
        ("sold out", True),
        ("tea", False),
        ("milk?", False),  # what was half a character
    ]
    for index, taken in ((1, False), (3, True), (0, False)):  # disabled; good; answered before
        assert await person.do({"kind": "select", "id": listed["id"], "index": index}) is taken
    assert person.asked[-1] is None

    await person.click(0.4)
    day = await person.asks()
    assert (day["type"], day["min"], day["value"]) == ("date", "2026-01-01", "")
    assert await person.do({"kind": "date", "id": day["id"], "value": "2026-12-24"})

    await person.click(0.6)
    files = await person.asks()
    assert (files["kind"], files["multiple"], files["accept"]) == ("files", True, ".txt")
    sent = [{"name": "a.txt", "type": "text/plain", "content": base64.b64encode(b"hello").decode()}]
    assert await person.do({"kind": "files", "id": files["id"], "files": sent})

    assert await person.click(0.9)  # taken, though the page waits for an answer now
    prompt = await person.asks()
    assert (prompt["type"], prompt["message"], prompt["default"]) == ("prompt", "Name?", "Anna")
    assert not await person.click(0.9)
    assert await person.do({"kind": "dialog", "id": prompt["id"], "accept": True, "text": "Bert"})
    while person.asked[-1] is None:
        await person.heard("asks")
    assert person.asked[-1]["type"] == "confirm"
    await attempt.release()  # what is unfinished ends
    while person.asked[-1] is not None:
        await person.heard("asks")
    (tmp_path / "go").touch()
    trusted = [["mousedown", True], ["input", True], ["change", True]]
    assert value(await running) == ["milk", trusted, "2026-12-24", ["hello"], ["Bert", False]]
    person.writer.close()


async def until_shown(person: Person) -> None:
    """Click the list until the page is there, and the list is asked for."""
    while not person.asked or person.asked[-1] is None:
        await person.click(0.1)


async def test_a_page_that_is_handed_over_is_shown_and_then_the_window_that_it_opens(
    begin: Begun, tmp_path: Path
) -> None:
    asked, over = asyncio.Event(), asyncio.Event()

    async def answer(operation: str, _arguments: dict[str, Any]) -> str | None:
        if operation != "hand_over":
            return over.set()
        asked.set()
        await over.wait()
        return json.dumps({"status": "completed", "values": {}})

    attempt, running = begin("handed", answer_request=answer)
    await asked.wait()
    person = Person(*await connected(tmp_path))
    await hold(attempt)
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # it has ended, and so has the Attempt
        while not over.is_set():
            await person.click(0.5)
            await person.do({"kind": "text", "text": "x"})
    person.writer.close()
    assert value(await running) is True
