"""Payloads of Jobs: written as chunks of lines, and read in any part."""

from pathlib import Path

import pytest

from callboard.schemas.errors import StoreError
from callboard.schemas.workflow.job import PAYLOAD_CHUNK
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from callboard.storage.job_payloads import JobItem, JobItemRetry, PayloadWriter, read_items, read_lines

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


@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 1), (0, COUNT), (1, PAYLOAD_CHUNK), (PAYLOAD_CHUNK - 1, 2), (PAYLOAD_CHUNK, PAYLOAD_CHUNK), (COUNT - 1, 1)],
)
async def test_any_part_of_it_can_be_read(store: FolderStore, first: int, count: int):
    assert await read_items(store, key, first, count) == [item(number) for number in range(first, first + count)]


async def test_an_item_keeps_all_that_it_says(store: FolderStore):
    full = JobItem(api_name="list", parameters={}, request_timeout=5, retry=JobItemRetry(maximum_attempts=2))
    assert JobItem.from_line(full.to_line()) == full
    assert full.to_line() == (b'{"apiName":"list","requestTimeout":5,"retry":{"maximumAttempts":2},"parameters":{}}')


async def test_a_part_that_is_missing_is_an_error(store: FolderStore):
    await store.delete(key(PAYLOAD_CHUNK))
    with pytest.raises(StoreError, match="missing"):
        await read_lines(store, key, 0, COUNT)
