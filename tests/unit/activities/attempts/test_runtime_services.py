"""What a project keeps in its `persistent_store`, over a real folder."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from activities.attempts.runtime_services import RuntimeServices, StoreQuota
from callboard.schemas.errors import BadRequest, StoreError
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def services(store: FolderStore, project: str = "shop", quota: StoreQuota | None = None) -> RuntimeServices:
    return RuntimeServices(store, project, quota or StoreQuota(store, 1024 * 1024))


async def test_a_value_is_kept_for_its_project_under_any_key(store: FolderStore) -> None:
    shop, other = services(store), services(store, "other")
    for number, key in enumerate(["a", "A", "..", "/", "\ud800", "\0", "long" * 2000]):
        await shop.persistent_set(key, str(number))
        assert await shop.persistent_get(key) == str(number)
        assert await other.persistent_get(key) is None
    assert await shop.persistent_get("a") == "0"


async def test_of_values_that_are_set_at_once_one_stays_whole(store: FolderStore) -> None:
    shop = services(store)
    values = [json.dumps(str(number) * 50_000) for number in range(8)]
    await asyncio.gather(*(shop.persistent_set("k", value) for value in values))
    assert await shop.persistent_get("k") in values


@pytest.mark.parametrize("stored", [b"{", b"\xff", b"[]", b"null", b'{"key": "k"}'])
async def test_a_value_that_is_damaged_is_named_and_may_be_set_anew(store: FolderStore, stored: bytes) -> None:
    shop = services(store)
    place = object_keys.persistent_value("shop", "k")
    await store.put(place, stored)
    with pytest.raises(
        StoreError, match=r"the value of 'k' is damaged in the artifact store \(.+\)\. Set it anew\."
    ) as told:
        await shop.persistent_get("k")
    assert place in told.value.message
    await shop.persistent_set("k", "1")
    assert await shop.persistent_get("k") == "1"


def value(size: int) -> str:
    """A value of which a whole object has this size."""
    return json.dumps("x" * (size - len('{"key": "a", "value": ""}')))


async def test_each_project_has_its_own_quota_and_null_frees_space(store: FolderStore) -> None:
    quota = StoreQuota(store, 10_000)
    shop, other = services(store, quota=quota), services(store, "other", quota)
    await shop.persistent_set("a", value(6_000))
    await other.persistent_set("a", value(6_000))
    with pytest.raises(
        BadRequest, match=r"the store of project shop is full: .* 12000 bytes of at most 10000 \("
    ) as told:
        await shop.persistent_set("b", value(6_000))
    assert "CALLBOARD_STORE_LIMIT" in told.value.message
    assert await shop.persistent_get("b") is None
    await shop.persistent_set("a", value(6_000)[::-1])  # what does not grow is taken
    await shop.persistent_set("a", "null")
    assert await shop.persistent_get("a") is None
    await shop.persistent_set("b", value(6_000))


async def test_the_values_of_other_workers_count_and_so_does_their_number(store: FolderStore) -> None:
    for number in range(9):  # each is a few bytes, and counts as 1 KiB
        await services(store, quota=StoreQuota(store, 9 * 1024)).persistent_set(f"k{number}", "1")
    with pytest.raises(BadRequest, match="is full"):
        await services(store, quota=StoreQuota(store, 9 * 1024)).persistent_set("k9", "1")
    late = services(store, quota=StoreQuota(store, 1024))  # the limit was lowered: what is there may shrink and change
    with pytest.raises(BadRequest, match="is full"):
        await late.persistent_set("k9", "1")
    await late.persistent_set("k0", "2")
    assert await late.persistent_get("k0") == "2"


async def test_a_value_is_given_back_as_the_very_text_that_was_set(store: FolderStore) -> None:
    """It is not parsed: the worker does that for nobody, however deep or large a value is."""
    text = "[" * 200_000 + "]" * 200_000
    await services(store).persistent_set("k", text)
    assert await services(store).persistent_get("k") == text
