import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from callboard.dev.child import MAX_DEATHS, SupervisedProcess, read_log_end
from callboard.schemas.errors import StackError
from tests.support.polling import until
from tests.support.repository import REPOSITORY

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""

PATIENT = """
import sys, time
print("ready", flush=True)
time.sleep(600)
"""

PARENT = """
import asyncio, os, sys
from datetime import timedelta
from pathlib import Path
from callboard.dev.child import SupervisedProcess

async def main():
    child = SupervisedProcess("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], log=Path(sys.argv[1]),
                  environment={}, grace=timedelta(seconds=1), report=print)
    await child.start()
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

StartChild = Callable[..., Awaitable[SupervisedProcess]]


@pytest.fixture
async def start_child(tmp_path: Path) -> AsyncIterator[StartChild]:
    """Starts a process of this code; if that says `ready`, it has."""
    made: list[SupervisedProcess] = []

    async def start(code: str, *, grace: float = 5, report: Callable[[str], None] = print) -> SupervisedProcess:
        child = SupervisedProcess(
            "helper",
            [sys.executable, "-c", code],
            log=tmp_path / "logs" / "helper.log",
            environment={"GREETING": "hello"},
            grace=timedelta(seconds=grace),
            report=report,
        )
        made.append(child)
        await child.start()
        if "ready" in code:
            await until(lambda: "ready" in read_log_end(child.log))
        return child

    yield start
    for child in made:
        child.skip_grace()
        await child.stop()


async def test_its_output_goes_to_its_log_and_it_has_only_the_given_environment(start_child: StartChild):
    child = await start_child("import os, time; print(dict(os.environ), 'ready', flush=True); time.sleep(600)")
    assert "hello" in read_log_end(child.log)
    assert "PATH" not in read_log_end(child.log)
    assert child.pid is not None
    assert os.getsid(child.pid) == child.pid != os.getsid(0), "so that Ctrl-C does not reach it"


@pytest.mark.parametrize(("code", "grace"), [(PATIENT, 5), (STUBBORN, 0.2)])
async def test_stop_ends_it_also_if_it_does_not_want_to(start_child: StartChild, code: str, grace: float):
    child = await start_child(code, grace=grace)
    pid = child.pid
    await child.stop()
    assert child.pid is None
    assert not psutil.pid_exists(pid or 0)


async def test_hurry_ends_a_stop_that_waits(start_child: StartChild):
    child = await start_child(STUBBORN, grace=600)
    stopping = asyncio.create_task(child.stop())
    child.skip_grace()
    async with asyncio.timeout(10):
        await stopping


async def test_one_that_dies_is_started_again_and_the_user_is_told(start_child: StartChild):
    told: list[str] = []
    child = await start_child(PATIENT, report=told.append)
    await child.wait_until_ready(asyncio.sleep(0))
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid not in {None, first})
    (line,) = told
    assert "helper ended unexpectedly (by SIGKILL)" in line


async def test_one_that_dies_again_and_again_is_given_up_with_the_end_of_its_log(start_child: StartChild):
    told: list[str] = []
    child = await start_child("import sys; sys.exit('cannot read the moon')", report=told.append)
    await child.wait_until_ready(asyncio.sleep(0))
    with pytest.raises(StackError, match=rf"(?s)ended {MAX_DEATHS} times .*exit code 1.*cannot read the moon"):
        await child.wait_until_given_up()
    assert len(told) == MAX_DEATHS - 1


async def test_a_death_before_it_is_ready_is_told_at_once_and_not_repeated(start_child: StartChild):
    told: list[str] = []
    child = await start_child("import sys; sys.exit('no moon today')", report=told.append)
    with pytest.raises(StackError, match=r"(?s)before it was ready.*no moon today"):
        await child.wait_until_ready(asyncio.sleep(600))
    assert told == []

    async def never() -> None:
        raise StackError("it does not answer")

    child = await start_child(PATIENT)
    with pytest.raises(StackError, match="it does not answer"):
        await child.wait_until_ready(never())


async def test_a_log_that_has_grown_large_is_put_aside(
    start_child: StartChild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("callboard.dev.child._MAX_LOG_SIZE", 3)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "helper.log").write_text("yesterday\n")
    child = await start_child(PATIENT)
    assert child.log.with_name("helper.log.1").read_text() == "yesterday\n"
    assert "yesterday" not in read_log_end(child.log)


async def test_it_dies_with_its_parent_even_if_that_is_killed(tmp_path: Path):
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, tmp_path / "log", stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
    )
    try:
        assert parent.stdout is not None
        async with asyncio.timeout(20):
            pid = int(await parent.stdout.readline())
        assert psutil.pid_exists(pid)
    finally:
        with suppress(ProcessLookupError):
            parent.kill()
        await parent.communicate()
    await until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
