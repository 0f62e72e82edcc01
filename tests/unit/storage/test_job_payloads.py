"""Payloads of Jobs: written as chunks of lines, and read in any part."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from callboard.schemas.errors import StoreError
from callboard.schemas.workflow.job import PAYLOAD_CHUNK, JobDefinition
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from callboard.storage.job_payloads import JobItem, JobItemRetry, PayloadWriter, read_items, read_lines, stream_payload

COUNT = 2 * PAYLOAD_CHUNK + 7


def key(first: int) -> str:
    return object_keys.job_payload("shop", "nightly", "ref", first)


def item(number: int) -> JobItem:
    return JobItem(api_name="products/details", parameters={"id": number, "name": "Stühle\u2028"})


@pytest.fixture
async def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "artifacts")
    async with PayloadWriter(store, key) as writer:
        for number in range(COUNT):
            await writer.add(item(number).to_line())
    assert writer.count == COUNT
    return store


async def test_a_payload_is_kept_in_chunks(store: FolderStore):
    found = [name async for name in store.list("jobs/")]
    assert found == [key(0), key(PAYLOAD_CHUNK), key(2 * PAYLOAD_CHUNK)]


@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 1), (0, COUNT), (1, PAYLOAD_CHUNK), (PAYLOAD_CHUNK - 1, 2), (PAYLOAD_CHUNK, PAYLOAD_CHUNK), (COUNT - 1, 1)],
)
async def test_any_part_of_it_can_be_read(store: FolderStore, first: int, count: int):
    assert await read_items(store, key, first, count) == [item(number) for number in range(first, first + count)]


async def test_others_have_their_turn_while_lines_that_are_all_there_are_written(tmp_path: Path):
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    async with PayloadWriter(FolderStore(tmp_path), key) as writer:
        line = item(1).to_line()
        for chunk in range(1, 4):
            for _ in range(PAYLOAD_CHUNK):
                await writer.add(line)
            assert turns >= chunk, "also before writing has to wait for the store"
    task.cancel()


async def test_reading_ends_with_the_payload(store: FolderStore):
    assert len(await read_lines(store, key, COUNT - 2, 4)) == 2


async def test_an_item_keeps_all_that_it_says(store: FolderStore):
    full = JobItem(api_name="list", parameters={}, request_timeout=5, retry=JobItemRetry(maximum_attempts=2))
    assert JobItem.from_line(full.to_line()) == full
    assert full.to_line() == (b'{"apiName":"list","requestTimeout":5,"retry":{"maximumAttempts":2},"parameters":{}}')


async def test_an_item_may_say_only_when_it_is_tried_again(store: FolderStore):
    waits = JobItem(api_name="list", parameters={}, retry=JobItemRetry.model_validate({"initialInterval": 60}))
    assert JobItem.from_line(waits.to_line()) == waits
    assert waits.to_line() == (b'{"apiName":"list","retry":{"initialInterval":60},"parameters":{}}')


async def test_the_whole_payload_is_read_in_pieces(store: FolderStore):
    definition = JobDefinition(
        workspace="w", project="shop", job_id="nightly", ref="ref", payload_count=COUNT, configuration={}
    )
    pieces = [piece async for piece in stream_payload(store, definition)]
    assert len(pieces) == 3
    assert [JobItem.from_line(line) for line in b"".join(pieces).splitlines()] == [item(n) for n in range(COUNT)]


async def test_a_part_that_is_missing_is_an_error(store: FolderStore):
    await store.delete(key(PAYLOAD_CHUNK))
    with pytest.raises(StoreError, match="missing"):
        await read_lines(store, key, 0, COUNT)


class _HeldStore(FolderStore):
    """Holds all writes until it is told to let them go; then they fail if `failure` is set."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.released = asyncio.Event()
        self.begun = 0
        self.ended = 0
        self.failure: StoreError | None = None

    async def put(self, key: str, data: bytes) -> None:
        self.begun += 1
        await self.released.wait()
        self.ended += 1
        if self.failure is not None:
            raise self.failure
        await super().put(key, data)


async def _write(store: FolderStore, lines: int, error: Callable[[], None] = lambda: None) -> None:
    async with PayloadWriter(store, key) as writer:
        for number in range(lines):
            await writer.add(b"%d" % number)
        error()


async def test_lines_wait_until_those_before_them_are_written(tmp_path: Path):
    store = _HeldStore(tmp_path)
    writing = asyncio.create_task(_write(store, 20 * PAYLOAD_CHUNK))
    await asyncio.wait([writing], timeout=0.05)
    assert 0 < store.begun < 10
    store.released.set()
    await writing
    assert await read_lines(store, key, 0, 20 * PAYLOAD_CHUNK) == [b"%d" % number for number in range(5000)]


async def test_a_store_that_fails_ends_the_writing(tmp_path: Path):
    store = _HeldStore(tmp_path)
    store.failure = StoreError("It is full.")
    store.released.set()
    with pytest.raises(StoreError, match="full"):
        await _write(store, 20 * PAYLOAD_CHUNK)
    assert store.ended == store.begun < 20


async def test_nothing_is_written_any_more_after_an_error(tmp_path: Path):
    store = _HeldStore(tmp_path)

    def refuse() -> None:
        asyncio.get_running_loop().call_soon(store.released.set)
        raise ValueError("a bad line")

    with pytest.raises(ValueError, match="bad line"):
        await _write(store, 2 * PAYLOAD_CHUNK + 1, refuse)
    assert store.ended == store.begun == 2
