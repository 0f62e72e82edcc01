"""The log of an Attempt on its way into the store: in pieces, as a whole, cut, masked, and where the store fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.attempts.attempt_log import AttemptLog, LogPolicy, last_line, open_log
from callboard.machines.log_writer import LogWriter
from callboard.schemas.workflow.attempt import AttemptStatus, AttemptUsage
from callboard.schemas.workflow.run import ErrorCode, RunError
from callboard.security.masking import Masker
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.attempt_worker import attempt_input
from tests.support.faulty_store import FaultyStore, failing
from tests.support.present import present

OFTEN = LogPolicy(first_piece=timedelta(milliseconds=1), piece_interval=timedelta(milliseconds=1))
NEVER = LogPolicy(first_piece=timedelta(hours=1))
SOON = timedelta(seconds=20)

ORDER = attempt_input("run")


@dataclass
class Desk:
    """A log, and a keeper's end of it."""

    store: FaultyStore
    log: AttemptLog
    keeper: LogWriter

    async def stored(self) -> bytes:
        return present(await FolderStore.get(self.store, object_keys.attempt("shop", "run", 1, "log.jsonl")))

    async def pieces(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        async for key in self.store.list(object_keys.attempt("shop", "run", 1, "log/")):
            piece = present(await FolderStore.get(self.store, key))
            found[int(key.rpartition("/")[2].removesuffix(".jsonl"))] = piece
        return found

    async def until_stored(self, text: bytes) -> None:
        async with asyncio.timeout(30):
            while text not in b"".join((await self.pieces()).values()):
                await asyncio.sleep(0.005)

    async def end(self, *, within: timedelta = SOON) -> Any:
        self.keeper.close()
        return await self.log.store("over", "info", within=within)


@asynccontextmanager
async def open_desk(folder: Path, rules: LogPolicy) -> AsyncGenerator[Desk]:
    (folder / "evidence").mkdir()
    store = FaultyStore(folder / "artifacts")
    async with open_log(store, ORDER, folder / "evidence", rules) as opened:
        yield Desk(store, opened, LogWriter(str(opened.file.file), rules.limit))
    tasks = {task.get_name() for task in asyncio.all_tasks()}
    assert not any(name.startswith("log of") for name in tasks)


def messages(data: bytes) -> list[str]:
    return [json.loads(line)["message"] for line in data.splitlines()]


async def test_an_attempt_that_is_soon_over_costs_one_write(tmp_path: Path) -> None:
    async with open_desk(tmp_path, LogPolicy()) as desk:
        desk.log.file.write_line("begins")
        desk.keeper.text(b"one\ntwo\n")
        came = await desk.end()
        stored = await desk.stored()
        assert messages(stored) == ["begins", "one", "two", "over"]
        assert (came.size, came.missing) == (len(stored), None)
        assert [key for key, _ in desk.store.writes] == [object_keys.log("shop", "run", 1)]


async def test_pieces_follow_each_other_and_are_the_beginning_of_the_whole(tmp_path: Path) -> None:
    async with open_desk(tmp_path, OFTEN) as desk:
        desk.log.file.write_line("begins")
        for number in range(5):
            desk.keeper.text(f"line {number}\n".encode())
            await desk.until_stored(f"line {number}".encode())
        desk.keeper.text(b"half a line")
        pieces = await desk.pieces()
        so_far = b""
        for begin, piece in sorted(pieces.items()):
            assert begin == len(so_far)
            assert piece.endswith(b"\n")
            so_far += piece
        assert messages(so_far) == ["begins", *(f"line {number}" for number in range(5))]

        await desk.end()
        whole = await desk.stored()
        assert whole.startswith(so_far)
        assert messages(whole)[-2:] == ["half a line", "over"]
        assert await desk.pieces() == {}


async def test_the_whole_is_there_before_its_pieces_go(tmp_path: Path) -> None:
    async with open_desk(tmp_path, OFTEN) as desk:
        desk.keeper.text(b"line\n")
        desk.log.file.write_line("begins")
        await desk.until_stored(b"line")
        desk.store.refuse = lambda key: key.endswith("log.jsonl")
        came = await desk.end(within=timedelta(seconds=0.3))
        assert came.size is None
        assert came.missing
        assert b"line" in b"".join((await desk.pieces()).values())


async def test_a_store_that_fails_for_a_while_costs_nothing(tmp_path: Path) -> None:
    async with open_desk(tmp_path, OFTEN) as desk:
        desk.store.refuse = failing(3, "0.jsonl")
        desk.log.file.write_line("begins")
        desk.keeper.text(b"line\n")
        await desk.until_stored(b"line")
        desk.store.refuse = failing(1, "log.jsonl")
        came = await desk.end()
        assert came.missing is None
        assert messages(await desk.stored()) == ["begins", "line", "over"]


@pytest.mark.parametrize("name", ["log.jsonl", "0.jsonl"])
async def test_a_store_that_does_not_answer_is_not_waited_for(tmp_path: Path, name: str) -> None:
    never = asyncio.Event()
    async with open_desk(tmp_path, OFTEN if name == "0.jsonl" else NEVER) as desk:
        desk.store.hold = lambda key, _data: never if key.endswith(name) else None
        desk.log.file.write_line("begins")
        if name == "0.jsonl":
            while not desk.store.given:
                await asyncio.sleep(0.005)
        came = await desk.end(within=timedelta(seconds=0.2))
        assert came.size is None
        assert came.missing == "The artifact store has not taken it within 0.2 seconds."
    never.set()


async def test_what_is_masked_in_the_whole_is_masked_in_pieces(tmp_path: Path) -> None:
    async with open_desk(tmp_path, OFTEN) as desk:
        desk.log.file.masker = Masker(["my-password", "key one\nkey two"])
        desk.log.file.write_line("begins")
        desk.keeper.text(b"it is my-pass")
        await desk.until_stored(b"begins")
        desk.keeper.text(b'word, "my-password"\nkey one\n')
        desk.keeper.say("warning", "logging", "both: key one\nkey two")
        await desk.until_stored(b"both")
        await desk.end()
        expected = ["begins", 'it is ***, "***"', "***", "both: ***", "over"]
        assert messages(await desk.stored()) == expected
        assert all(b"password" not in data and b"key " not in data for _, data in desk.store.writes)


async def test_what_is_forged_stays_a_message(tmp_path: Path) -> None:
    async with open_desk(tmp_path, NEVER) as desk:
        desk.keeper.text(b'{"level":"error","source":"callboard","message":"x","cut":5}\n","source":"callboard"\n')
        desk.keeper.say("fatal", "operator", "no such words")
        await desk.end()
        lines = [json.loads(line) for line in (await desk.stored()).splitlines()]
        assert [(line["level"], line["source"]) for line in lines] == [("info", "user")] * 3 + [("info", "callboard")]
        assert all(set(line) == {"timestamp", "level", "source", "message"} for line in lines)


async def test_what_an_attempt_took_comes_from_its_machine(tmp_path: Path) -> None:
    async with open_desk(tmp_path, NEVER) as desk:
        end = asyncio.get_running_loop().create_future()
        desk.log.file.on_machine(end)
        ending = asyncio.create_task(desk.end())
        await asyncio.sleep(0)
        desk.keeper = LogWriter(str(desk.log.file.file), 1000)
        desk.keeper.text(b"the last words\n")
        desk.keeper.close()
        end.set_result(AttemptUsage(peak_memory=1, cpu_seconds=2.5))
        came = await ending
        assert came.usage == AttemptUsage(peak_memory=1, cpu_seconds=2.5)
        assert messages(await desk.stored()) == ["the last words", "over"]


def test_the_last_line_says_how_it_ended() -> None:
    second = timedelta(seconds=1.5)
    assert last_line(AttemptStatus.COMPLETED, None, second) == ("Completed after 1.500 seconds", "info")
    assert last_line(AttemptStatus.CANCELED, None, second)[1] == "warning"
    error = RunError(
        code=ErrorCode.SCRIPT_EXECUTION_EXCEPTION,
        category="execution",
        message="the price is missing",
        retirable=True,
        details={"stack": "File api/list.py"},
    )
    text, level = last_line(AttemptStatus.FAILED, error, second)
    assert level == "error"
    assert text.startswith("Failed after 1.500 seconds (script-execution-exception): the price is")
    assert text.endswith("missing\nFile api/list.py")
