"""What a project keeps in its `persistent_store`, over a real folder."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from activities.attempts.runtime_services import RuntimeServices
from schemas.errors import StoreError
from storage import keys
from storage.folder import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


async def test_a_value_is_kept_for_its_project_under_any_key(store: FolderStore) -> None:
    shop, other = RuntimeServices(store, "shop"), RuntimeServices(store, "other")
    for number, key in enumerate(["a", "A", "..", "/", "\ud800", "\0", "long" * 2000]):
        await shop.persistent_set(key, str(number))
        assert await shop.persistent_get(key) == str(number)
        assert await other.persistent_get(key) is None
    assert await shop.persistent_get("a") == "0"


async def test_of_values_that_are_set_at_once_one_stays_whole(store: FolderStore) -> None:
    shop = RuntimeServices(store, "shop")
    values = [json.dumps(str(number) * 50_000) for number in range(8)]
    await asyncio.gather(*(shop.persistent_set("k", value) for value in values))
    assert await shop.persistent_get("k") in values


@pytest.mark.parametrize("stored", [b"{", b"\xff", b"[]", b"null", b'{"key": "k"}'])
async def test_a_value_that_is_damaged_is_named_and_may_be_set_anew(store: FolderStore, stored: bytes) -> None:
    shop = RuntimeServices(store, "shop")
    place = keys.persistent_value("shop", "k")
    await store.put(place, stored)
    with pytest.raises(
        StoreError, match=r"the value of 'k' is damaged in the artifact store \(.+\)\. Set it anew\."
    ) as told:
        await shop.persistent_get("k")
    assert place in told.value.message
    await shop.persistent_set("k", "1")
    assert await shop.persistent_get("k") == "1"
