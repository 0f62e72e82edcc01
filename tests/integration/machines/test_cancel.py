"""A canceled Attempt: when that is heard, everything of it is gone, at whatever moment it was canceled."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from callboard.machines import keeper
from callboard.machines.attempt_log_file import AttemptLogFile
from callboard.machines.attempt_spec import AttemptReport
from tests.support.automations import automations
from tests.support.machines import (
    ENDLESS,
    ENDLESS_IN_TYPESCRIPT,
    ZYGOTE,
    Lab,
    Language,
    One,
    find_process,
    of_folder,
    value,
)
from tests.support.polling import until
from tests.support.recording_site import running_site
from tests.support.typescript import handlers

PROJECT = {
    **automations(
        leaves_a_stubborn_task="""
            import asyncio
            async def stay():
                while True:
                    try:
                        await asyncio.sleep(600)
                    except asyncio.CancelledError:
                        pass
            asyncio.ensure_future(stay())
            await asyncio.sleep(0)
        """,
        fine='return "fine"',
        detaches="""
            import os, time
            for _ in range(5):
                if os.fork() == 0:
                    os.setsid()
                    if os.fork() == 0:
                        time.sleep(600)
                    os._exit(0)
            await page.wait_for_event("close", timeout=0)
        """,
        polls="""
            await page.goto(params["url"])
            await page.evaluate("setInterval(() => fetch('/'), 10)")
            await page.wait_for_event("close", timeout=0)
        """,
        says_goodbye="""
            import asyncio
            from pathlib import Path
            note = Path(params["note"])
            note.write_text("hello")
            try:
                await page.wait_for_event("close", timeout=0)
            except asyncio.CancelledError:
                note.write_text("goodbye")
                raise
        """,
    ),
    **ENDLESS,
}
TYPESCRIPT = {
    **handlers(
        fine="return 'fine'",
        catches="""
            while (true) {
                try { await page.locator("#never").click(); }
                catch { await new Promise((resolve) => setTimeout(resolve, 1)); }
            }
        """,
        says_goodbye="""
            const fs = require("fs");
            fs.writeFileSync(params.note, "hello");
            try {
                await page.waitForEvent("close", { timeout: 0 });
            } finally {
                fs.writeFileSync(params.note, "goodbye");
            }
        """,
    ),
    **ENDLESS_IN_TYPESCRIPT,
}


class Running(One):
    """An Attempt on its way."""

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition, every=0.001)

    async def cancel(self, attempt: asyncio.Task[AttemptReport], *, times: int = 1) -> None:
        """Cancel it; when that is heard, nothing of it is left."""
        its = (
            []
            if self._attempts[attempt].start is None
            else keeper.descendants(find_process(self.machine.keeper_pid, ZYGOTE))
        )
        for _ in range(times):
            attempt.cancel()
            await asyncio.wait({attempt}, timeout=0.05)
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert [pid for pid in its if psutil.pid_exists(pid)] == []
        assert self.pool.busy == 0
        await self.assert_nothing_left()


@pytest.fixture(scope="module")
async def shared(shared_lab: Lab, project: dict[str, str], language: Language) -> AsyncIterator[Running]:
    running = Running(shared_lab, project, project=language)
    yield running
    await running.cool()  # what is left of a test is looked for in the whole lab


@pytest.fixture
async def running(shared: Running, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr("callboard.machines.machine._STOP_WITHIN", 0.5)  # those that do not react are many here
    async with shared.turn():
        yield shared


@pytest.mark.both_languages
@pytest.mark.parametrize(("api", "times"), [("awaits", 1), ("spins", 1), ("awaits", 5)])
async def test_everything_is_gone_when_a_cancel_is_heard(running: Running, api: str, times: int) -> None:
    """Also one that is canceled again and again, which ends no sooner."""
    await leaves_nothing(running, api, times)


@pytest.mark.parametrize(("api", "times"), [("blocks", 1), ("detaches", 1), ("spins", 5)])
async def test_so_it_is_of_one_that_resists(running: Running, api: str, times: int) -> None:
    await leaves_nothing(running, api, times)


@pytest.mark.typescript
async def test_so_it_is_of_one_that_catches_what_it_is_told(running: Running) -> None:
    await leaves_nothing(running, "catches", 1)


async def leaves_nothing(running: Running, api: str, times: int) -> None:
    await running.works_again(1)
    attempt = running.start(api)
    await running.begun()
    await running.cancel(attempt, times=times)
    await running.works_again(1)


async def test_its_pages_are_gone_too(running: Running) -> None:
    async with running_site() as site:
        attempt = running.start("polls", {"url": site.origin})
        await running.until(lambda: len(site.requests) > 10)
        await running.cancel(attempt)
        before = len(site.requests)
        await running.works_again()
        assert len(site.requests) == before


@pytest.mark.both_languages
async def test_an_automation_hears_of_its_cancel(running: Running, tmp_path: Path) -> None:
    note = tmp_path / "note"
    attempt = running.start("says_goodbye", {"note": str(note)})
    await running.until(lambda: note.exists() and note.read_text() == "hello")
    await running.cancel(attempt)
    assert note.read_text() == "goodbye"


def below(lab: Lab, command: str) -> bool:
    """Whether a process of the lab has this in its command line."""
    return any(command in _command(pid) for pid in of_folder(lab.scratch))


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


STAGES: dict[str, Callable[[Lab], object]] = {
    "at once": lambda _: True,
    "scratch": lambda lab: list(lab.scratch.iterdir()),
    "keeper": lambda lab: below(lab, "keeper.py"),
    "child": lambda lab: any("keeper.py" not in _command(pid) for pid in of_folder(lab.scratch)),
    "driver": lambda lab: below(lab, "run-driver"),
    "browser": lambda lab: below(lab, "--user-data-dir="),
    "page": lambda lab: below(lab, "--type=renderer"),
}


@pytest.mark.parametrize("times", [1, 3])
async def test_a_machine_that_is_just_being_started_is_gone_too(running: Running, times: int) -> None:
    await running.cool()
    for condition in STAGES.values():
        attempt = running.start("awaits")  # one that would end could be over before the cancel
        await running.until(lambda condition=condition: condition(running.lab))
        await running.cancel(attempt, times=times)
    await running.works_again()


async def test_an_attempt_that_waits_for_a_machine_leaves_the_queue(running: Running) -> None:
    first = running.start("awaits")
    await running.begun()
    second, third = running.start("fine"), running.start("fine")
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert not first.done()
    first.cancel()
    assert value(await third) == "fine"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_cancel_during_the_clean_up_leaves_the_machine_usable(running: Running) -> None:
    await running.start("leaves_a_stubborn_task")
    waiting = running.start("fine")
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await running.works_again()


async def test_a_cancel_that_comes_with_the_time_out_is_heard(running: Running, tmp_path: Path) -> None:
    with contextlib.closing(AttemptLogFile(tmp_path / "log", 10_000)) as log:
        attempt = running.start("spins", timeout=0.5, log=log)
        await running.until(lambda: b"The time of 0.5 seconds is over" in log.file.read_bytes())
        await running.cancel(attempt)


async def test_large_unread_parameters_do_not_hold_up_a_cancel(running: Running) -> None:
    await running.works_again(1)
    attempt = running.start("spins", json.dumps({"x": "y" * 30_000_000}))
    await asyncio.sleep(0)
    await running.cancel(attempt)
    await running.works_again(1)
