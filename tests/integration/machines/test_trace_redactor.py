"""Traces are masked beside the worker: what one of them takes, in memory or time, is bounded, and harms no other."""

from __future__ import annotations

import asyncio
import json
import signal
import zipfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from callboard.machines.trace_redaction import RedactionOptions, TraceError
from callboard.machines.trace_redactor import TraceRedactor
from callboard.security.masking import Masker
from tests.support.polling import until
from tests.support.processes import command_line

SECRET = "correct horse"
LIMIT = 64 * 1024 * 1024


@dataclass
class Bench:
    folder: Path
    redactor: TraceRedactor

    async def redact(self, *, limit: int = LIMIT, within: timedelta = timedelta(seconds=60)) -> str | None:
        """The first event of the masked trace; None if there was none."""
        target = self.folder / "trace.zip"
        target.unlink(missing_ok=True)
        if not await self.redactor.redact(
            self.folder, target, RedactionOptions(Masker({SECRET}), limit), within=within
        ):
            return None
        with zipfile.ZipFile(target) as file:
            return file.read("trace.trace").decode()

    def leave(self, *lines: str) -> None:
        """Leave a trace as a Machine does."""
        with zipfile.ZipFile(self.folder / "trace-1.zip", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("trace.trace", "".join(f"{line}\n" for line in lines))


def processes() -> list[psutil.Process]:
    """Those that mask traces for us."""
    return [child for child in psutil.Process().children() if "trace_redaction.py" in " ".join(command_line(child))]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench]:
    redactor = TraceRedactor()
    yield Bench(tmp_path, redactor)
    await redactor.close()
    assert processes() == []


def event(text: str) -> str:
    return json.dumps({"type": "console", "text": text}, separators=(",", ":"))


async def test_one_process_masks_one_trace_after_another(bench: Bench) -> None:
    assert await bench.redact() is None  # there is none
    bench.leave(event(f"it is {SECRET}"))
    assert await bench.redact() == event("it is ***") + "\n"
    (process,) = processes()
    bench.leave(event("another"))
    assert await bench.redact() == event("another") + "\n"
    assert processes() == [process]


async def test_traces_of_attempts_that_end_at_once_do_not_wait_for_each_other(bench: Bench, tmp_path: Path) -> None:
    await bench.redact()
    (first,) = processes()
    first.send_signal(signal.SIGSTOP)
    waiting = asyncio.create_task(bench.redact())
    await asyncio.sleep(0)  # the process has been taken
    (tmp_path / "other").mkdir()
    other = Bench(tmp_path / "other", bench.redactor)
    other.leave(event("other"))
    assert await other.redact() == event("other") + "\n"
    first.send_signal(signal.SIGCONT)
    assert await waiting is None


async def test_an_event_that_needs_too_much_memory_costs_only_its_trace(bench: Bench) -> None:
    await bench.redact()
    (used,) = processes()
    bench.leave('{"type":"event","params":[' + "[]," * 20_000_000 + f'"{SECRET}"]}}')
    with pytest.raises(TraceError, match=f"An event has more than {LIMIT // 8} bytes"):
        await bench.redact()
    with pytest.raises(TraceError, match="more memory to read than a trace may take"):
        await bench.redact(limit=LIMIT * 8)  # for which it is not too long
    bench.leave(event("next"))
    assert await bench.redact() == event("next") + "\n"
    assert used not in processes()


async def test_a_trace_that_takes_too_long_is_given_up_with_its_process(bench: Bench) -> None:
    await bench.redact()
    (process,) = processes()
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        await bench.redact(within=timedelta(milliseconds=100))
    assert processes() == []


async def test_a_process_whose_worker_has_gone_ends_by_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callboard.machines.trace_redactor._GRACE", -59.9)
    bench.leave(*[event(SECRET)] * 2_000_000)
    with pytest.raises(TraceError, match="has died of it"):
        await bench.redact()


async def test_who_is_canceled_leaves_no_process(bench: Bench) -> None:
    await bench.redact()
    (process,) = processes()
    process.send_signal(signal.SIGSTOP)
    redacting = asyncio.create_task(bench.redact())
    await asyncio.sleep(0)  # the process has been taken
    redacting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await redacting
    assert processes() == []


async def test_a_process_that_dies_costs_the_trace_that_it_had(bench: Bench) -> None:
    await bench.redact()
    (process,) = processes()
    process.send_signal(signal.SIGSTOP)
    redacting = asyncio.create_task(bench.redact())
    await asyncio.sleep(0)  # the process has been taken
    process.kill()
    with pytest.raises(TraceError, match="has died of it"):
        await redacting
    assert await bench.redact() is None


async def test_a_process_that_dies_while_it_waits_costs_no_trace(bench: Bench) -> None:
    await bench.redact()
    (process,) = processes()
    process.kill()
    await until(lambda: not psutil.pid_exists(process.pid))
    bench.leave(event("next"))
    assert await bench.redact() == event("next") + "\n"


async def test_a_disk_that_fails_is_told_as_such(bench: Bench) -> None:
    bench.leave(event("any"))
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        await bench.redactor.redact(
            bench.folder,
            bench.folder / "gone" / "trace.zip",
            RedactionOptions(Masker(()), LIMIT),
            within=timedelta(minutes=1),
        )
