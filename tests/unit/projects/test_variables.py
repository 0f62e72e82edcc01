"""Environment variables in the store: that nothing of them is in the clear, and how often they are read."""

from pathlib import Path
from typing import ClassVar

import pytest

from callboard.projects.variables import Variables
from callboard.schemas.errors import SealError
from callboard.schemas.rest.env_vars import SetVariable
from callboard.security.keyring import KeyRing
from callboard.storage import keys
from callboard.storage.folder import FolderStore

SECRET = "a-value-that-nobody-may-read"


async def test_nothing_is_stored_in_the_clear_and_nothing_opens_elsewhere(tmp_path: Path):
    store, ring = FolderStore(tmp_path), KeyRing(["a-key-of-sixteen-characters"])
    variables = Variables("w", store, ring)
    await variables.set("shop", "SHOP_KEY", SetVariable(value=SECRET, secret=True), by="me")
    token = await store.get(keys.variable("shop", "SHOP_KEY"))
    assert token is not None
    assert SECRET.encode() not in token
    for project, name in (("other", "SHOP_KEY"), ("shop", "OTHER"), (None, "SHOP_KEY")):
        await store.put(keys.variable(project, name), token)
        with pytest.raises(SealError, match=f"Environment variable {name} of "):
            await variables.list(project)
        assert await variables.delete(project, name)
    assert not await variables.delete("shop", "OTHER")


async def test_only_what_has_changed_is_read_again(tmp_path: Path):
    class Counting(FolderStore):
        reads: ClassVar[list[str]] = []

        async def get(self, key: str) -> bytes | None:
            self.reads.append(key)
            return await super().get(key)

    store, ring = Counting(tmp_path), KeyRing(["a-key-of-sixteen-characters"])
    api, worker = (Variables("w", store, ring) for _ in range(2))
    for name in ("A", "B"):
        await api.set("shop", name, SetVariable(value=name), by="me")
    assert [each.value for each in await worker.list("shop")] == ["A", "B"]
    Counting.reads.clear()
    assert [each.value for each in await worker.list("shop")] == ["A", "B"]
    assert Counting.reads == []
    await api.set("shop", "B", SetVariable(value="changed"), by="me")
    Counting.reads.clear()
    assert [each.value for each in await worker.list("shop")] == ["A", "changed"]
    assert Counting.reads == [keys.variable("shop", "B")]
    await api.delete("shop", "A")
    assert [each.name for each in await worker.list("shop")] == ["B"]
    assert "changed" not in repr(await worker.list("shop"))
