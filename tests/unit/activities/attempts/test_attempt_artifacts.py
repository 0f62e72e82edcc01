"""What becomes of the files that a Machine left: looked at, masked, stored; what is lost is told."""

from __future__ import annotations

import asyncio
import json
import os
import zipfile
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from activities.attempts.attempt_artifacts import UploadedArtifacts, upload_artifacts
from callboard.machines.attempt_spec import AttemptEvidence, EvidenceSpec, MachineStart
from callboard.machines.trace_redaction import RedactionOptions
from callboard.machines.trace_redactor import TraceRedactor
from callboard.schemas.errors import StoreError
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.schemas.workflow.auth import AttemptAuth, AuthSessionRef, AuthSessionType
from callboard.schemas.workflow.trace import TraceMode
from callboard.security.masking import Masker
from callboard.storage import object_keys
from tests.support.attempt_worker import attempt_input
from tests.support.faulty_store import FaultyStore
from tests.support.machines import attempt_of
from tests.support.present import present

PNG = b"\x89PNG\r\n\x1a\n and what follows"
SECRET = "correct horse"
LIMIT = 20_000


def trace(path: Path, *, text: str = "", name: str = "trace.trace") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, json.dumps({"type": "console", "text": text}) + "\n")


@dataclass
class Room:
    store: FaultyStore
    folder: Path
    redactor: TraceRedactor
    within: timedelta = timedelta(seconds=20)
    masker: Masker = field(default_factory=lambda: Masker([SECRET]))
    auth: AttemptAuth | None = None
    trace: TraceMode = TraceMode.ALWAYS
    left: AttemptEvidence | None = field(default_factory=AttemptEvidence)
    """What the Machine has said that the Attempt left."""

    async def upload(self, status: AttemptStatus = AttemptStatus.FAILED) -> UploadedArtifacts:
        input = attempt_input("run-1", 2, auth=self.auth)
        machine = attempt_of("list", evidence=EvidenceSpec(self.folder, self.trace, LIMIT))
        machine.begin(MachineStart("shop-1-1", "156", datetime.now(UTC), "/scratch/project"), cast("Any", None))
        machine.leave(self.left)
        return await upload_artifacts(
            self.store, self.redactor, input, machine, status, self.masker, within=self.within
        )

    async def stored(self, name: str) -> bytes | None:
        return await self.store.get(object_keys.attempt("shop", "run-1", 2, name))

    def put(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture
async def room(tmp_path: Path) -> AsyncGenerator[Room]:
    (tmp_path / "evidence").mkdir()
    folder = tmp_path / "evidence"
    redactor = TraceRedactor()
    # A test that limits the time is not about that which the first process takes to start.
    await redactor.redact(folder, tmp_path / "none", RedactionOptions(Masker(()), LIMIT), within=timedelta(minutes=1))
    yield Room(FaultyStore(tmp_path / "artifacts"), folder, redactor)
    await redactor.close()


async def test_what_a_failed_attempt_left_is_stored_masked(room: Room) -> None:
    room.put("screenshot.png").write_bytes(PNG)
    trace(room.put("trace-1.zip"), text=f"it is {SECRET}")
    page_url = "https://anna:pw@shop.test/orders/7?page=2&session=abc#top"
    room.left = AttemptEvidence(page_url, {"trace": f"One more, of {SECRET}."})
    kept = await room.upload()
    assert kept.screenshot
    assert await room.stored("screenshot.png") == PNG
    assert kept.trace_size == len(present(await room.stored("trace.zip")))
    with zipfile.ZipFile(room.put("trace.zip")) as file:
        assert json.loads(file.read("trace.trace"))["text"] == "it is ***"
    assert kept.page_url == "https://***@shop.test/orders/7?page=2&session=***#top"
    assert kept.missing == {"trace": "One more, of ***."}


@pytest.mark.parametrize("logs_in", [True, False])
async def test_a_cookie_is_secret_in_the_trace_of_an_attempt_that_has_a_login(room: Room, logs_in: bool) -> None:
    if logs_in:
        room.auth = AttemptAuth(ref=AuthSessionRef(id="anna", type=AuthSessionType.CREDENTIALS, owner="anna"))
    sent = {"request": {"headers": [{"name": "Cookie", "value": "session=s3ssion-1"}]}, "response": {"headers": []}}
    with zipfile.ZipFile(room.put("trace-1.zip"), "w") as file:
        file.writestr("trace.network", json.dumps({"type": "resource-snapshot", "snapshot": sent}) + "\n")
    await room.upload()
    with zipfile.ZipFile(room.put("trace.zip")) as file:
        assert (b"s3ssion-1" not in file.read("trace.network")) is logs_in


async def test_of_one_that_completed_there_is_a_trace_only_with_a_picture_in_it(room: Room) -> None:
    room.put("screenshot.png").write_bytes(PNG)
    with zipfile.ZipFile(room.put("trace-1.zip"), "w") as file:
        file.writestr("screencast/page@1-1796141541574.jpeg", b"\xff\xd8\xff what it showed")
    room.left = AttemptEvidence("https://shop.test/")
    kept = await room.upload(AttemptStatus.COMPLETED)
    assert (kept.screenshot, kept.page_url, kept.missing) == (False, None, {})
    picture, stored = present(kept.trace_picture), present(await room.stored("trace.zip"))
    assert stored[picture.begin :][: picture.size] == b"\xff\xd8\xff what it showed"
    assert kept.trace_size == len(stored)
    assert await room.stored("screenshot.png") is None


@pytest.mark.parametrize(
    ("mode", "status", "there"),
    [
        (TraceMode.ON_FAILURE, AttemptStatus.COMPLETED, False),
        (TraceMode.ON_FAILURE, AttemptStatus.FAILED, True),
        (TraceMode.ON_FAILURE, AttemptStatus.CANCELED, True),
        (TraceMode.ON_FAILURE, AttemptStatus.INTERRUPTED, True),
        (TraceMode.NEVER, AttemptStatus.FAILED, False),
    ],
)
async def test_a_trace_that_is_not_wanted_is_not_stored(
    room: Room, mode: TraceMode, status: AttemptStatus, there: bool
) -> None:
    trace(room.put("trace-1.zip"))
    room.trace = mode
    assert ((await room.upload(status)).trace_size is not None) is there
    assert (await room.stored("trace.zip") is not None) is there


async def test_a_machine_that_was_ended_before_it_could_save_is_told(room: Room) -> None:
    room.left = None
    kept = await room.upload()
    assert kept.missing == dict.fromkeys(("screenshot", "trace"), "The Machine was ended before it had saved it.")
    room.left = AttemptEvidence()  # and had nothing to save
    assert (await room.upload()).missing == {}


async def test_what_is_too_big_is_not_kept(room: Room) -> None:
    with zipfile.ZipFile(room.put("trace-1.zip"), "w") as file:
        file.writestr("trace.trace", "{}\n")
        file.writestr("screencast/page@1-1.jpeg", os.urandom(LIMIT))
    kept = await room.upload()
    assert kept.missing == {"trace": f"It is bigger than the {LIMIT} bytes that are kept (CALLBOARD_TRACE_LIMIT)."}
    assert await room.stored("trace.zip") is None
    room.put("trace.zip").unlink()
    with zipfile.ZipFile(room.put("trace-1.zip"), "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("resources/bomb", bytes(LIMIT * 100))
    assert "Unpacked it is more than" in (await room.upload()).missing["trace"]


PLANTED: dict[str, Callable[[Path], object]] = {
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "pipe": os.mkfifo,
    "nonsense": lambda path: path.write_bytes(b"PK\x03\x04 or so"),
}


@pytest.mark.parametrize("planted", PLANTED)
async def test_what_user_code_puts_there_is_not_taken_for_more_than_it_is(room: Room, planted: str) -> None:
    for name in ("screenshot.png", "trace-1.zip"):
        PLANTED[planted](room.put(name))
    kept = await room.upload()
    assert set(kept.missing) == {"screenshot", "trace"}
    assert not kept.screenshot
    assert kept.trace_size is None
    assert room.store.writes == []


async def test_a_store_that_refuses_costs_what_was_left_and_bounded_time(room: Room) -> None:
    room.put("screenshot.png").write_bytes(PNG)
    trace(room.put("trace-1.zip"))
    room.within = timedelta(seconds=15)
    room.store.refuse = lambda key: key.endswith(".png")

    async def put_file(key: str, path: Path) -> None:
        raise StoreError("the disk of the store is full")

    room.store.put_file = put_file
    kept = await room.upload()
    assert "The store is away" in kept.missing["screenshot"]
    assert "the disk of the store is full" in kept.missing["trace"]
    assert (kept.screenshot, kept.trace_size) == (False, None)


async def test_a_store_that_hangs_is_not_waited_for(room: Room) -> None:
    trace(room.put("trace-1.zip"))
    room.within = timedelta(seconds=1)

    async def put_file(key: str, path: Path) -> None:
        await asyncio.Event().wait()

    room.store.put_file = put_file
    assert (await room.upload()).missing == {"trace": "It could not be masked and stored in time."}
