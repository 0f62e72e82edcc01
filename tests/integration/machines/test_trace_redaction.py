"""Traces as they are shown: no secret in them anywhere, nothing of this host, and all that the viewer needs."""

from __future__ import annotations

import asyncio
import contextlib
import html
import io
import json
import re
import shutil
import sys
import zipfile
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.async_api import async_playwright, expect

from api.attempts.trace_viewer import viewer_folder
from callboard.machines.attempt_spec import EvidenceSpec, Proxy, Version, masker_for
from callboard.machines.browser_program import browser_args, find_browser
from callboard.machines.trace_redaction import RedactionOptions, TraceError, parts_in, redact
from callboard.schemas.workflow.trace import TraceMode
from callboard.security.masking import Masker
from callboard.settings import Settings
from tests.support.machines import Lab, attempt_of, attempt_spec, value
from tests.support.present import present
from tests.support.recording_site import cookie, state

PASSWORD = 'p"ss/wörd 9<&>'
IN_CODE = "word-in-the-code"
KEPT = "cookie-of-the-login"
ROTATED = "cookie-set-meanwhile"
SENT = "credentials-that-were-sent"
PROXY_WORD = "word-of-the-proxy"

PROJECT = {
    "api/tells.py": f"""
        IN_CODE = "{IN_CODE}"

        async def automation(page, params):
            password, origin = params["password"], params["origin"]
            page.on("dialog", lambda dialog: dialog.dismiss())
            await page.goto(f"{{origin}}/?word={{params['quoted']}}")
            await page.fill("#word", password)
            await page.evaluate("word => {{ console.log(word); alert(word); window.word = {{word}}; }}", password)
            await page.evaluate("told => setTimeout(() => {{ throw new Error(told.word) }})", {{"word": password}})
            await page.evaluate(\"\"\"async ([word, sent]) => {{
                const headers = {{authorization: 'Bearer ' + sent, 'x-word': encodeURIComponent(word)}};
                await fetch('/json', {{method: 'POST', headers, body: JSON.stringify({{word}})}});
                await fetch('/form', {{method: 'POST', body: new URLSearchParams({{word}})}});
                localStorage.setItem('word', word);
                document.title = word;
            }}\"\"\", [password, "{SENT}"])
            quoted = {{"x-word": params["quoted"]}}
            await page.request.post(f"{{origin}}/form", form={{"word": password}}, headers=quoted)
            await page.context.add_cookies([{{"name": "word", "value": params["quoted"], "url": origin}}])
            await page.set_content(f"<p title='{{IN_CODE}}'>{{IN_CODE}}</p>")
            try:
                await page.get_by_text(password).click(timeout=50)
            except Exception:
                pass
            return await page.evaluate("document.cookie")
    """,
}


@asynccontextmanager
async def telling_site() -> AsyncGenerator[str]:
    """A site that says the password wherever a site can."""
    page = (
        f"<!doctype html><title>{html.escape(PASSWORD)}</title><script src=/app.js></script>"
        f'<input id=word type=password placeholder="{html.escape(PASSWORD)}"><p>{html.escape(PASSWORD, quote=False)}'
    )
    bodies = {
        "/app.js": ("text/javascript", f"window.fromScript = {json.dumps(PASSWORD)};"),
        "/json": ("application/json", json.dumps({"word": PASSWORD, "ascii": json.dumps(PASSWORD)})),
        "/form": ("text/plain; charset=utf-8", PASSWORD),
        "/": ("text/html; charset=utf-8", page),
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lengths = [int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:")]
                await reader.readexactly(sum(lengths))
                kind, text = bodies.get(head.split(" ", 2)[1].partition("?")[0], bodies["/form"])
                body = text.encode()
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    f"Set-Cookie: sid={ROTATED}; Path=/; HttpOnly\r\nX-Word: {quote(PASSWORD)}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def spellings(secret: str) -> set[bytes]:
    """How somebody who looks for it would look."""
    texts = {
        *(secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]),
        *(html.escape(secret), html.escape(secret, quote=False), quote(secret, safe=""), quote_plus(secret)),
        *(json.dumps(json.dumps(secret)[1:-1])[1:-1], b64encode(secret.encode()).decode().rstrip("=")),
    }
    return {text.encode() for text in texts}


def contents(path: Path) -> dict[str, bytes]:
    """What is in a zip, by name; and the zip itself."""
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        return {**{name: file.read(name) for name in file.namelist()}, "": path.read_bytes()}


@dataclass
class Told:
    """A trace of an Attempt that told its secrets in every way, as its Machine left it and as it is shown."""

    left: Path
    shown: Path


@pytest.fixture(scope="module")
async def told(quiet_lab: Lab, quiet_version: Version, tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("told")
    known: dict[str, Any] = {"storage_state": json.dumps(state(cookie("login", KEPT))), "secrets": (PASSWORD, IN_CODE)}
    async with telling_site() as origin:
        parameters = {"password": PASSWORD, "quoted": quote(PASSWORD, safe=""), "origin": origin}
        attempt = attempt_of("tells", parameters, evidence=EvidenceSpec(folder, TraceMode.ALWAYS), **known)
        value(await quiet_lab.pool().run_attempt(quiet_version, attempt))
    (part,) = parts_in(folder)
    shown = folder / "shown.zip"
    how = RedactionOptions(
        masker_for(attempt_spec("tells", **known)), 10_000_000, present(attempt.start).project_root, cookies=True
    )
    redact([part], shown, how)
    return Told(part, shown)


async def test_no_secret_that_is_known_can_be_found_in_a_trace(told: Told) -> None:
    before, after = contents(told.left), contents(told.shown)
    known = {PASSWORD, IN_CODE, KEPT, ROTATED, SENT}
    for secret in known:  # else it would be no wonder that it is not found
        assert any(form in data for form in spellings(secret) for data in before.values()), secret
    assert {
        (secret, name) for secret in known for form in spellings(secret) for name, data in after.items() if form in data
    } == set()


async def test_nothing_of_this_host_is_in_a_trace_but_the_sources_of_the_project(told: Told) -> None:
    after = contents(told.shown)
    places = (str(told.left.parent).encode(), b"/scratch/", sys.prefix.encode())
    assert [name for name, data in after.items() if any(place in data for place in places)] == []
    assert json.loads(after["trace.stacks"])["files"] == ["api/tells.py"]
    (source,) = [data for name, data in after.items() if name.startswith("src/")]
    assert b'IN_CODE = "***"' in source


async def test_a_masked_trace_opens_in_the_viewer_of_playwright(told: Told, tmp_path: Path) -> None:
    shutil.copytree(viewer_folder(), tmp_path / "viewer")
    shutil.copy(told.shown, tmp_path / "viewer" / "told.zip")
    async with files_of(tmp_path / "viewer") as origin, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_browser(Settings().chromium), args=browser_args()
        )
        page = await browser.new_page()
        await page.goto(f"{origin}/index.html?trace={origin}/told.zip")
        await expect(page.get_by_role("treeitem").nth(1)).to_contain_text('Fill "***"')
        await page.get_by_role("treeitem").nth(1).click()
        await page.get_by_role("tab", name="Source").click()
        source = page.get_by_role("tabpanel", name="Source")
        await expect(source).to_contain_text("tells.py")
        await expect(source).to_contain_text('IN_CODE = "***"')
        await page.get_by_role("tab", name="After", exact=True).click()
        snapshot = page.frame_locator("iframe.snapshot-visible")
        await expect(snapshot.get_by_placeholder("***")).to_be_visible()
        await page.get_by_role("tab", name="Network").click()
        await expect(page.get_by_role("tabpanel", name="Network")).to_contain_text("app.js")
        await browser.close()


@asynccontextmanager
async def files_of(folder: Path) -> AsyncGenerator[str]:
    """The folder over HTTP."""
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = asyncio.create_task(asyncio.to_thread(server.serve_forever, 0.05))
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            await serving


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # it is called so
        pass


def zip_of(entries: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return data.getvalue()


def trace_of(*lines: dict[str, Any], **resources: bytes) -> bytes:
    events = "".join(f"{json.dumps(line)}\n" for line in lines)
    return zip_of({"trace.trace": events, **{f"resources/{name}": content for name, content in resources.items()}})


LIMIT = 200_000


def shown(folder: Path, *parts: bytes, secrets: tuple[str, ...] = (), limit: int = 100_000_000) -> dict[str, bytes]:
    for number, part in enumerate(parts, 1):
        (folder / f"trace-{number}.zip").write_bytes(part)
    target = folder / "shown.zip"
    try:
        redact(parts_in(folder), target, RedactionOptions(Masker(secrets), limit))
        return contents(target)
    finally:
        target.unlink(missing_ok=True)


def test_secrets_that_equal_trace_keywords_or_numbers_break_no_trace(tmp_path: Path) -> None:
    event = {"type": "before", "callId": "call@1", "startTime": 123456.5, "method": "goto", "params": {"url": "x"}}
    told = {**event, "params": {"before": "before", "pin": 123456, "url": "http://shop.test/call@1"}}
    after = shown(tmp_path, trace_of(event, told), secrets=("before", "123456", "call@1"))
    first, second = (json.loads(line) for line in after["trace.trace"].splitlines())
    assert first == event
    assert second == {**event, "params": {"***": "***", "pin": "***", "url": "http://shop.test/***"}}


def test_a_page_of_many_levels_is_masked_all_the_same(tmp_path: Path) -> None:
    html = '["DIV",{},' * 5000 + '"a secret-word"' + "]" * 5000
    line = f'{{"type":"frame-snapshot","snapshot":{{"html":{html}}}}}\n'
    after = shown(tmp_path, zip_of({"trace.trace": line}), secrets=("secret-word",))
    assert after["trace.trace"].decode() == line.replace("secret-word", "***")


def test_the_last_picture_of_the_film_is_found_in_the_trace_that_is_written(tmp_path: Path) -> None:
    of_one = {"screencast/page@1-900.jpeg": b"\xff\xd8\xff early", "screencast/page@1-7000.jpeg": b"\xff\xd8\xff last"}
    of_other = {"screencast/page@2-8000.jpeg": b"no picture", "screencast/page@2-6000.jpeg": b"\xff\xd8\xff between"}
    for number, entries in enumerate((of_one, of_other), 1):
        (tmp_path / f"trace-{number}.zip").write_bytes(zip_of({"trace.trace": "{}\n", **entries}))
    target = tmp_path / "shown.zip"
    begin, size = present(redact(parts_in(tmp_path), target, RedactionOptions(Masker(()), LIMIT)))
    assert target.read_bytes()[begin : begin + size] == b"\xff\xd8\xff last"


def test_contexts_become_one_trace_and_share_what_they_have_in_common(tmp_path: Path) -> None:
    parts = [trace_of({"type": "event", "n": n}, common=b"1", **{f"own{n}": b"2"}) for n in range(11)]
    after = shown(tmp_path, *parts)
    names = [name for name in after if name.endswith(".trace")]
    assert names == ["trace.trace", *(f"{n}-trace.trace" for n in range(1, 11))]
    assert json.loads(after["10-trace.trace"]) == {"type": "event", "n": 10}
    assert sum(name.startswith("resources/") for name in after) == 12


@given(before=st.integers(0, 64), secrets=st.lists(st.sampled_from([b"abcdef", b"abcdefghij", b"fghijk"]), max_size=6))
def test_finds_a_secret_anywhere_in_a_resource_too_big_for_memory(
    tmp_path_factory: pytest.TempPathFactory, before: int, secrets: list[bytes]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("callboard.machines.trace_redaction._WHOLE", 8)
        patch.setattr("callboard.machines.trace_redaction._BLOCK", 16)
        data = b"\0" * before + b".".join(secrets) + b"\0" * 20
        words = ("abcdef", "abcdefghij", "fghijk")
        after = shown(tmp_path_factory.mktemp("big"), trace_of(big=data), secrets=words)["resources/big"]
        assert after == Masker(words).mask_bytes_in_place(data)


def test_what_is_no_text_keeps_its_length(tmp_path: Path) -> None:
    after = shown(tmp_path, trace_of(font=b"\0\1secret-word\xff", page=b"a secret-word"), secrets=("secret-word",))
    assert after["resources/font"] == b"\0\1***********\xff"
    assert after["resources/page"] == b"a ***"


def test_credentials_of_a_proxy_are_known() -> None:
    masker = masker_for(attempt_spec("any", proxy=Proxy("http://proxy.test", "customer-7", PROXY_WORD)))
    assert masker.mask_text(f"customer-7:{PROXY_WORD}") == "***:***"


@pytest.mark.parametrize("name", ["trace.trace", "trace.network"])
def test_an_event_that_is_too_long_to_be_parsed_makes_no_trace(tmp_path: Path, name: str) -> None:
    longest = 1024 * 1024
    fits, does_not = (zip_of({name: "first\n" + "x" * (length - 1) + "\nlast\n"}) for length in (longest, longest + 1))
    assert len(shown(tmp_path, fits, limit=8 * longest)[name].splitlines()) == 3
    with pytest.raises(TraceError, match=f"An event has more than {longest} bytes, which is too long to be masked"):
        shown(tmp_path, does_not, limit=8 * longest)


LYING = trace_of(bomb=bytes(1_000_000)).replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
NO_STACKS = ["[]", "{}", '{"files": 1, "stacks": []}', '{"files": [], "stacks": [1]}', "\0"]


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        *(([zip_of({"trace.stacks": stacks})], "no trace") for stacks in NO_STACKS),
        ([zip_of({"trace.stacks": "[" * (1024 * 1024 + 1)})], "too long to be masked"),
        (
            [zip_of({f"resources/{part}-{number}": "" for number in range(501)}) for part in (1, 2)],
            f"It has 1002 entries. With {LIMIT} bytes kept, it may have 1000.",
        ),
        ([trace_of(bomb=bytes(8 * LIMIT + 1))], f"An entry has more than 8 times the {LIMIT} bytes that are kept."),
        (
            [trace_of(**{f"part{n}": bytes(8 * LIMIT) for n in range(3)})],
            f"Unpacked it is more than 16 times as big as the {LIMIT} bytes kept.",
        ),
        ([LYING], "What the Machine left is no trace."),
        ([zip_of({"trace.trace": "{}\n"}, zipfile.ZIP_BZIP2)], "no trace: it is not packed as Playwright packs."),
        ([zip_of({"trace.trace": "{}\n"}, zipfile.ZIP_LZMA)], "no trace: it is not packed as Playwright packs."),
        ([b""] * 501, "It is of 501 contexts. A trace of at most 500 is kept."),
    ],
    ids=range(13),
)
def test_what_is_too_much_or_no_trace_is_refused_with_its_reason(tmp_path: Path, parts: list[bytes], why: str) -> None:
    with pytest.raises(TraceError, match=re.escape(why)):
        shown(tmp_path, *parts, limit=LIMIT)


@given(cut=st.integers(0, 7), byte=st.integers(0, 255), at=st.integers(0, 400))
def test_what_is_damaged_makes_no_trace_or_a_whole_one(
    tmp_path_factory: pytest.TempPathFactory, cut: int, byte: int, at: int
) -> None:
    data = bytearray(trace_of({"type": "event"}, page=b"a secret-word"))
    data[at % len(data)] = byte
    with contextlib.suppress(TraceError):
        after = shown(
            tmp_path_factory.mktemp("damaged"), bytes(data[: len(data) - cut]), secrets=("secret-word",), limit=LIMIT
        )
        assert not any(b"secret-word" in content for content in after.values())
