"""Watching an Attempt: what comes from its Machine is user code's, and goes no further than it must."""

import asyncio
import struct
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from callboard.schemas.workflow.attempt import AttemptStatus
from tests.support.api_in_process import Api, MakeApi
from tests.support.attempt_artifacts import attempt_record, store_record
from tests.support.dashboard_client import signed_in_client


@pytest.fixture
def data() -> Generator[Path]:
    """A data folder with a short name: those of sockets are bounded."""
    with tempfile.TemporaryDirectory(prefix="cb") as folder:
        yield Path(folder)


JPEG = b"\xff\xd8\xff a picture"


def framed(picture: bytes) -> bytes:
    return struct.pack(">I", len(picture)) + picture


@asynccontextmanager
async def machine(data: Path, run_id: str, sent: bytes) -> AsyncGenerator[None]:
    """A Machine that sends this to whoever watches its Attempt, and ends."""
    folder = data / "workers" / "host-1" / "evidence" / f"{run_id}-1-abc"
    folder.mkdir(parents=True)

    async def show(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.close()

    async with await asyncio.start_unix_server(show, folder / "live.sock"):
        yield


async def running(make_api: MakeApi, data: Path, **fields: Any) -> tuple[Api, str]:
    api: Api = await make_api(data_dir=data)
    run_id = await api.run()
    known = attempt_record(run_id, 1, AttemptStatus.STARTED, worker="host-1")
    await store_record(api, known.model_copy(update=fields))
    return api, f"/projects/shop/runs/{run_id}/attempts/1/live"


async def test_pictures_are_parts_that_take_each_other_s_place(make_api: MakeApi, data: Path):
    api, place = await running(make_api, data)
    async with machine(data, place.split("/")[4], framed(JPEG) + framed(JPEG + b"2")):
        client = await signed_in_client(api)
        answer = await client.get(place)
        assert "Live view" in (await client.get(place.partition("/attempts")[0])).text
    assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=picture"
    parts = answer.content.split(b"--picture\r\n")
    assert [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts[1:-1]] == [JPEG, JPEG + b"2"]
    assert all(part.startswith(b"content-type: image/jpeg\r\n") for part in parts[1:-1])


@pytest.mark.parametrize(
    "sent", [framed(b"<script>"), struct.pack(">I", 2_000_000_000), framed(JPEG)[:-3], b"", b"\x00"]
)
async def test_what_is_no_picture_goes_nowhere(make_api: MakeApi, data: Path, sent: bytes):
    api, place = await running(make_api, data)
    async with machine(data, place.split("/")[4], sent):
        answer = await (await signed_in_client(api)).get(place)
    assert answer.content == b"--picture\r\n"


@pytest.mark.parametrize(
    "fields", [{"status": AttemptStatus.COMPLETED}, {"worker": "another"}, {"worker": "../host-1"}]
)
async def test_an_attempt_that_runs_elsewhere_or_has_ended_shows_nothing(make_api: MakeApi, data: Path, fields: Any):
    api, place = await running(make_api, data, **fields)
    async with machine(data, place.split("/")[4], framed(JPEG)):
        client = await signed_in_client(api)
        assert (await client.get(place)).status_code == 204
        assert "Live view" not in (await client.get(place.partition("/attempts")[0])).text
        assert (await client.get(place.replace("/1/live", "/2/live"))).status_code == 404
