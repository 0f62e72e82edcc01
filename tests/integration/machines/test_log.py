"""What an Attempt's log holds: everything that its code and its browser say, in order, whatever becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from callboard.machines.attempt_log_file import AttemptLogFile
from callboard.machines.attempt_spec import AttemptReport, Proxy, masker_for
from callboard.schemas.workflow.attempt import AttemptUsage
from tests.support.automations import automations
from tests.support.machines import KEEPER, PATIENCE, SUPERVISOR, Lab, One, attempt_spec, find_process, open_lab
from tests.support.polling import block_until, until
from tests.support.typescript import handlers

PROJECT = {
    **automations(
        page="""
            import asyncio
            PAGE = '''<script>
                console.log("hello", {a: 1}); console.debug("a debug");
                console.warn("a warning"); console.error("an error");
                console.log("two\\\\nlines");
                setTimeout(() => { missing.function() }, 0);
            </script>'''
            await page.route("http://shop.test/**", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
            async with page.context.expect_event("weberror"):
                await page.goto("http://shop.test/cart?page=2&session=abc#part")
            await page.evaluate("fetch('http://127.0.0.1:1/api?key=abc').catch(() => {})")
            await page.context.browser.new_page()
            other = await page.context.new_page()
            await other.set_content("<script>console.log('from another page')</script>")
            own = await (await page.context.browser.new_context()).new_page()
            await own.evaluate("console.log('from another context')")
        """,
        left="""
            import asyncio
            async def linger():
                try:
                    await asyncio.sleep(600)
                finally:
                    print("said after the end")
            asyncio.ensure_future(linger())
            await asyncio.sleep(0)
            print("said in time")
        """,
        prints="""
            import os, subprocess, sys
            print("printed")
            sys.stderr.write("to stderr\\n")
            os.write(1, b"written\\n")
            subprocess.run(["sh", "-c", "echo from a process; echo and its stderr >&2"])
            print("ümläut ✓ \\u2028 \\ud800")
            os.write(1, b"bytes \\xff\\xfe\\x00\\n")
            print("a\\rb\\r\\nc", end="")
            sys.stdout.flush()
            subprocess.run(["echo", "", "and d"])
            print()
            print('{"timestamp":"2000-01-01T00:00:00Z","level":"error","source":"callboard","message":"forged"}')
            print("without an end", end="")
        """,
        logs="""
            import logging
            log = logging.getLogger("shop.pages")
            log.debug("not shown")
            log.info("an info of %s", "mine")
            log.warning("a warning")
            try:
                1 / 0
            except ZeroDivisionError:
                log.exception("it broke")
            logging.info("of the root")
            log.error("%d", "wrong arguments")
        """,
        configures_logging="""
            import logging
            logging.basicConfig(level=logging.DEBUG, format="%(levelname)s|%(name)s|%(message)s")
            logging.getLogger("shop").debug("shown now")
            logging.getLogger("shop").error("once")
            logging.getLogger("quiet").disabled = True
        """,
        page_without_end="""
            await page.evaluate("for (let n = 0; n < 6000; n++) console.log('line ' + n)")
        """,
        prints_without_end="""
            import os
            while True:
                os.write(1, b"an endless line\\n" * 1000)
        """,
        prints_much="""
            for n in range(200_000):
                print("line", n)
            print("x" * 100_000)
            return "done"
        """,
        long_line="""
            print("y" * 65_530 + params["secret"] + "z" * 1000)
            print("after")
        """,
        tells="""
            import os, time
            print("my password is", params["secret"])
            os.write(1, b"in two: " + params["secret"][:5].encode())
            time.sleep(0.05)
            os.write(1, params["secret"][5:].encode() + b"\\n")
            await page.evaluate("secret => console.log('typed ' + secret)", params["secret"])
        """,
        takes_turns="""
            for n in range(200):
                print("printed", n)
                await page.evaluate("n => console.log('said ' + n)", n)
        """,
        fine="""
            print("fine")
            return "fine"
        """,
        exits="""
            import os
            print("before the exit")
            os._exit(3)
        """,
        kills_itself="""
            import os, signal
            os.write(1, b"before the fault\\nand half a line")
            os.kill(os.getpid(), signal.SIGSEGV)
        """,
        hogs="""
            print("before the memory")
            kept = []
            while True:
                kept.append(bytearray(b"x") * 10_000_000)
        """,
        leaves_files="""
            import os
            from pathlib import Path
            Path("sheet.pdf").write_bytes(b"x" * 20_000)
            Path("words.txt").write_text("new words")
            Path(os.environ["HOME"], ".cache").mkdir()
            for place in (os.environ["HOME"] + "/.cache", os.environ["HOME"], os.environ["TMPDIR"]):
                Path(place, "a").write_text("a")
            await page.route("http://shop.test/", lambda route: route.fulfill(
                headers={"content-disposition": "attachment; filename=prices.csv"}, body="a,b"
            ))
            await page.set_content("<a href='http://shop.test/'>Download</a>")
            for _ in range(params["downloads"]):
                async with page.expect_download() as started:
                    await page.get_by_role("link").click()
                await (await started.value).path()
        """,
        works="""
            import subprocess, sys
            code = "x = bytearray(b'x') * 80_000_000\\nfor n in range(3_000_000): n * n"
            subprocess.run([sys.executable, "-c", code])
            await page.goto(params["url"])
        """,
    ),
    "words.txt": "words",
    "api/goodbye.py": """
        import asyncio

        async def automation(page):
            print("hello", flush=True)
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                print("goodbye")
                raise
    """,
}
TYPESCRIPT = handlers(
    prints="""
        const { execSync } = require("child_process");
        const fs = require("fs");
        process.stdout.write("printed\\n");
        process.stderr.write("to stderr\\n");
        fs.writeSync(1, "written\\n");
        execSync("echo from a process; echo and its stderr >&2", { stdio: "inherit" });
        console.log("ümläut ✓ \\u2028 \\ud800");
        fs.writeSync(1, Buffer.from([...Buffer.from("bytes "), 0xff, 0xfe, 0, 10]));
        process.stdout.write("a\\rb\\r\\nc");
        execSync("echo '' and d", { stdio: "inherit" });
        process.stdout.write("\\n");
        console.log('{"timestamp":"2000-01-01T00:00:00Z","level":"error","source":"callboard","message":"forged"}');
        process.stdout.write("without an end");
    """,
    logs="""
        console.debug("a debug");
        console.info("an info of %s", "mine");
        console.warn("a warning", { a: 1 });
        console.error(new RangeError("it broke"));
    """,
    rejects="""
        Promise.reject(new RangeError("nobody waits for it"));
        await new Promise((resolve) => setTimeout(resolve, 10));
        return "done";
    """,
    prints_much="""
        for (let n = 0; n < 20_000; n++) process.stdout.write(`line ${n}\\n`);
        return "done";
    """,
    tells="""
        const fs = require("fs");
        console.log("my password is", params.secret);
        fs.writeSync(1, `in two: ${params.secret.slice(0, 5)}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
        fs.writeSync(1, `${params.secret.slice(5)}\\n`);
        await page.evaluate((secret) => console.log(`typed ${secret}`), params.secret);
    """,
    takes_turns="""
        for (let n = 0; n < 200; n++) {
            console.log("printed", n);
            await page.evaluate((n) => console.log(`said ${n}`), n);
        }
    """,
)


@dataclass(frozen=True)
class Line:
    level: str
    source: str
    message: str


@dataclass
class Logged:
    """An Attempt that has ended, and its log."""

    report: AttemptReport | BaseException
    lines: list[Line]
    usage: AttemptUsage | None
    size: int

    @property
    def result(self) -> str | None:
        assert isinstance(self.report, AttemptReport)
        return self.report.result

    @property
    def code(self) -> str:
        assert isinstance(self.report, AttemptReport)
        assert self.report.error is not None
        return self.report.error.code

    def messages(self, source: str) -> list[str]:
        return [line.message for line in self.lines if line.source == source]

    def all(self, source: str) -> list[tuple[str, str]]:
        return [(line.level, line.message) for line in self.lines if line.source == source]


class Logging(One):
    """One Machine, and Attempts with a log."""

    folder: Path
    numbers = 0

    def begin(self, api: str, parameters: Any = None, *, limit: int = 10_000_000, **fields: Any) -> Attempt:
        self.numbers += 1
        book = AttemptLogFile(self.folder / f"{self.numbers}.jsonl", limit)
        task = self.start(api, parameters, log=book, **fields)
        book.masker = masker_for(attempt_spec(api, parameters, **fields))
        return Attempt(book, task)

    async def logged(self, api: str, parameters: Any = None, **fields: Any) -> Logged:
        return await self.begin(api, parameters, **fields).ended()


@dataclass
class Attempt:
    book: AttemptLogFile
    task: asyncio.Task[AttemptReport]

    async def until(self, text: bytes) -> None:
        await until(lambda: text in self.book.file.read_bytes())

    async def ended(self) -> Logged:
        (report,) = await asyncio.gather(self.task, return_exceptions=True)
        usage = await self.book.wait_complete(PATIENCE)
        data = b""
        while part := self.book.read_masked():
            data += part
        self.book.close()
        assert data.endswith(b"\n")
        said = [json.loads(line) for line in data.splitlines()]
        assert all(list(one) == ["timestamp", "level", "source", "message"] for one in said)
        assert [one["timestamp"] for one in said] == sorted(one["timestamp"] for one in said)
        return Logged(report, [Line(one["level"], one["source"], one["message"]) for one in said], usage, len(data))


@pytest.fixture(scope="module")
async def undisturbed(tmp_path_factory: pytest.TempPathFactory, project: dict[str, str]) -> AsyncGenerator[Logging]:
    """One warm Machine for all tests that leave it alone."""
    folder = tmp_path_factory.mktemp("log")
    async with open_lab(folder) as lab:
        one = Logging(lab, project)
        one.folder = folder
        yield one


@pytest.fixture(scope="module")
async def shared(shared_lab: Lab) -> Logging:
    return Logging(shared_lab, PROJECT, memory_limit=700_000_000)


@pytest.fixture
async def one(shared: Logging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Logging]:
    """One Machine at a time for all tests that end theirs."""
    monkeypatch.setattr("callboard.machines.machine._STOP_WITHIN", 0.5)
    shared.folder = tmp_path
    async with shared.turn():
        yield shared


@pytest.mark.both_languages
async def test_what_is_printed_is_there_in_its_order_whoever_prints_it(undisturbed: Logging) -> None:
    logged = await undisturbed.logged("prints", {})
    assert logged.all("user") == [
        ("info", text)
        for text in (
            "printed",
            "to stderr",
            "written",
            "from a process",
            "and its stderr",
            "ümläut ✓ \u2028 \\ud800",
            "bytes \\xff\\xfe\0",
            "a",
            "b",
            "c and d",
            "",
            '{"timestamp":"2000-01-01T00:00:00Z","level":"error","source":"callboard","message":"forged"}',
            "without an end",
        )
    ]


async def test_it_begins_with_where_the_attempt_is(undisturbed: Logging) -> None:
    await undisturbed.logged("fine")
    logged = await undisturbed.logged("fine")
    first, *_ = logged.lines
    assert (first.level, first.source) == ("info", "callboard")
    assert "api/fine, version 1, on Machine lab-1-" in first.message
    assert "browser 1" in first.message


async def test_it_names_the_files_that_are_lost_at_the_end(undisturbed: Logging) -> None:
    logged = await undisturbed.logged("leaves_files", {"downloads": 3})
    download = "prices.csv (a download, 3 bytes)"
    last = "Files below output/ are kept, all others are deleted."
    written = "HOME/a (1 bytes), TMPDIR/a (1 bytes), sheet.pdf (20,000 bytes), words.txt (9 bytes)"
    assert logged.lines[-1].message == f"Not kept: {written}, {download} … and 2 more. {last}"
    assert not any("Not kept" in line.message for line in (await undisturbed.logged("fine")).lines)


async def test_what_is_logged_keeps_its_level_and_its_logger(undisturbed: Logging) -> None:
    logged = await undisturbed.logged("logs")
    levels = logged.all("logging")
    assert levels[:2] == [("info", "shop.pages: an info of mine"), ("warning", "shop.pages: a warning")]
    level, text = levels[2]
    assert level == "error"
    assert text.startswith("shop.pages: it broke\nTraceback ")
    assert text.endswith("ZeroDivisionError: division by zero")
    assert levels[3:] == [("info", "root: of the root")]
    assert "--- Logging error ---" in logged.messages("user"), "as without us"


@pytest.mark.both_languages
async def test_what_is_printed_before_a_page_says_something_stands_before_it(undisturbed: Logging) -> None:
    logged = await undisturbed.logged("takes_turns")
    said = [line.message for line in logged.lines if line.source in ("user", "console")]
    assert sorted(said) == sorted(f"{verb} {n}" for n in range(200) for verb in ("printed", "said"))
    assert all(said.index(f"printed {n}") < said.index(f"said {n}") for n in range(200))


@pytest.mark.typescript
async def test_what_is_logged_by_console_keeps_its_level(undisturbed: Logging) -> None:
    logged = await undisturbed.logged("logs")
    *levels, (level, error) = logged.all("user")
    assert levels == [("debug", "a debug"), ("info", "an info of mine"), ("warning", "a warning { a: 1 }")]
    assert level == "error"
    assert error.startswith("RangeError: it broke\n    at handler (api/logs.ts:5:")


@pytest.mark.typescript
async def test_a_rejection_that_nobody_waits_for_is_logged_and_ends_nothing(undisturbed: Logging) -> None:
    logged = await undisturbed.logged("rejects")
    assert logged.result == '"done"'
    ((level, text),) = logged.all("user")
    assert level == "warning"
    assert text.startswith("A rejected promise was not handled: RangeError: nobody waits for it\n    at handler (api/")


@pytest.mark.typescript
async def test_what_is_printed_is_there_to_the_last_line(undisturbed: Logging) -> None:
    logged = await undisturbed.logged("prints_much")
    assert logged.result == '"done"'
    assert logged.messages("user") == [f"line {n}" for n in range(20_000)]


async def test_user_code_may_configure_logging_for_its_attempt(undisturbed: Logging) -> None:
    for _ in range(2):  # the second finds nothing of the first
        logged = await undisturbed.logged("configures_logging")
        assert logged.all("logging") == [("debug", "DEBUG|shop|shown now"), ("error", "ERROR|shop|once")]
        assert logged.messages("user") == []
    assert (await undisturbed.logged("logs")).all("logging")[0] == ("info", "shop.pages: an info of mine")


async def test_pages_tell_what_they_say_what_breaks_and_what_does_not_load(undisturbed: Logging) -> None:
    logged = await undisturbed.logged("page", {})
    console = logged.all("console")
    assert console[:5] == [
        ("info", "hello {a: 1}"),
        ("debug", "a debug"),
        ("warning", "a warning (http://shop.test/cart?page=2&session=***:3)"),
        ("error", "an error (http://shop.test/cart?page=2&session=***:3)"),
        ("info", "two\nlines"),
    ]
    assert ("info", "from another page") in console
    assert ("info", "from another context") in console
    ((level, error),) = logged.all("page")
    assert level == "error"
    assert error.startswith("ReferenceError: missing is not defined\n")
    refused = "GET http://127.0.0.1:1/api?key=*** failed: net::ERR_"
    assert any(level == "warning" and text.startswith(refused) for level, text in logged.all("network"))
    assert ("info", "The page is at http://shop.test/cart?page=2&session=***") in logged.all("callboard")
    assert "abc" not in repr([line for line in logged.lines if line.source != "page"])


async def test_a_page_that_talks_without_end_is_no_longer_listened_to(undisturbed: Logging) -> None:
    logged = await undisturbed.logged("page_without_end")
    assert len(logged.messages("console")) == 5000
    assert "More than 5000 console messages: no more of them are logged." in logged.messages("callboard")
    assert (await undisturbed.logged("page", {})).messages("console")[0] == "hello {a: 1}"


async def test_much_is_cut_at_the_limit_and_the_automation_goes_on(undisturbed: Logging) -> None:
    logged = await undisturbed.logged("prints_much", limit=100_000)
    assert logged.result == '"done"'
    assert logged.size < 102_000
    printed = logged.messages("user")
    assert printed == [f"line {n}" for n in range(len(printed))]
    assert 900 < len(printed) < 2000
    cut, thrown = [line for line in logged.lines if line.source == "callboard" and line.level == "warning"]
    assert cut.message.startswith("The log was cut: it has reached its limit of 100000 bytes.")
    assert thrown.message.endswith("bytes more were printed, and thrown away.")


async def test_a_line_without_end_is_cut_and_half_a_secret_does_not_stay(undisturbed: Logging) -> None:
    secret = "the-secret-of-the-shop"
    logged = await undisturbed.logged("long_line", {"secret": secret}, secrets=(secret,))
    long, after = logged.messages("user")
    assert after == "after"
    assert long == "y" * 65_530 + "*** … [cut: it had 66552 bytes]"


@pytest.mark.both_languages
async def test_secrets_are_masked_whoever_tells_them(undisturbed: Logging) -> None:
    secret = "grüße-von-hier"
    logged = await undisturbed.logged("tells", {"secret": secret}, secrets=(secret,))
    assert logged.messages("user") == ["my password is ***", "in two: ***"]
    assert logged.messages("console") == ["typed ***"]


async def test_what_comes_after_the_end_is_in_no_log(undisturbed: Logging) -> None:
    assert (await undisturbed.logged("left")).messages("user") == ["said in time"]
    await undisturbed.lab.settled(undisturbed.pool)
    assert (await undisturbed.logged("fine")).messages("user") == ["fine"]


async def test_what_it_took(undisturbed: Logging, tmp_path: Path) -> None:
    server = await asyncio.start_server(_serve_much, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        logged = await undisturbed.logged("works", {"url": url})
        usage, idle = (figures(one.usage) for one in (logged, await undisturbed.logged("fine")))
    assert all(10_000_000 < each["peak_memory"] < 2_000_000_000 for each in (idle, usage))
    assert 0 <= idle["cpu_seconds"] < usage["cpu_seconds"]
    assert usage["cpu_seconds"] > 0.1, "of processes that have ended, too"
    assert 1_000_000 < usage["bytes_received"] < 1_300_000
    assert idle["bytes_received"] < 10_000


def figures(usage: AttemptUsage | None) -> dict[str, float]:
    assert usage is not None
    return usage.model_dump()


async def _serve_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/html\r\n\r\n" + b"x" * 1_000_000)
    await writer.drain()
    writer.close()


async def test_endless_output_is_stopped_in_time_and_takes_no_memory(one: Logging) -> None:
    attempt = one.begin("prints_without_end", timeout=3, limit=1_000_000)
    await one.begun()
    await attempt.until(b"The log was cut")
    assert psutil.Process(one.machine.keeper_pid).memory_info().rss < 50_000_000
    logged = await attempt.ended()
    assert logged.code == "script-timeout"
    assert logged.size < 1_002_000
    assert logged.messages("callboard")[-2:][0].startswith("The time of 3 seconds is over")
    assert logged.usage is not None
    assert logged.usage.cpu_seconds


async def test_last_words_of_a_cancel_are_there(one: Logging) -> None:
    attempt = one.begin("goodbye")
    await attempt.until(b"hello")
    attempt.task.cancel()
    logged = await attempt.ended()
    assert isinstance(logged.report, asyncio.CancelledError)
    assert logged.messages("user") == ["hello", "goodbye"]
    stopped, stood = logged.messages("callboard")[-2:]
    assert stopped == "The Attempt is being stopped"
    assert stood.startswith(
        'The automation stood here:\n  File "api/goodbye.py", line 7, in automation\n    await asyncio.sleep(600)\n'
    )
    assert logged.usage is not None


@pytest.mark.parametrize(
    ("api", "words"),
    [
        ("exits", ["before the exit"]),
        ("kills_itself", ["before the fault", "and half a line"]),
        ("hogs", ["before the memory"]),
    ],
)
async def test_the_last_line_before_a_crash_is_there(one: Logging, api: str, words: list[str]) -> None:
    logged = await one.logged(api)
    assert logged.code == "script-process-crashed"
    assert logged.messages("user") == words
    assert logged.usage is not None
    assert logged.usage.peak_memory
    assert (await one.logged("fine")).messages("user") == ["fine"]


@pytest.mark.parametrize("victim", [SUPERVISOR, KEEPER])
async def test_whoever_is_killed_what_was_said_stays(one: Logging, victim: str) -> None:
    attempt = one.begin("goodbye")
    await attempt.until(b"hello")
    os.kill(find_process(one.machine.keeper_pid, victim), signal.SIGKILL)
    logged = await attempt.ended()
    assert (logged.code, logged.messages("user")) == ("script-process-crashed", ["hello"])


async def test_a_worker_that_stands_still_holds_up_nothing(one: Logging) -> None:
    attempt = one.begin("prints_much", limit=3_000_000)
    await one.begun()
    block_until(lambda: b"The log was cut" in attempt.book.file.read_bytes())  # and nothing else happens here
    logged = await attempt.ended()
    assert logged.result == '"done"'
    assert logged.size >= 2_900_000


async def test_the_proxy_is_named_without_what_it_is_asked_with(one: Logging) -> None:
    await one.cool()
    proxy = Proxy("http://127.0.0.1:1", username="someone", password="a-password")
    logged = await one.logged("fine", proxy=proxy)
    starting, begins, *_ = logged.messages("callboard")
    assert isinstance(logged.report, AttemptReport)
    assert starting == f"Machine {logged.report.machine} is being started"
    assert begins.endswith(", by proxy http://127.0.0.1:1")
    assert "someone" not in repr(logged.lines)
