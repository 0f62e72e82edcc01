"""Environment variables: nothing of them is in the clear in the store, how often they are read, and those of `.env`."""

from pathlib import Path

import pytest

from callboard.projects.variables import DevFolders, Variables, may_have_variables
from callboard.schemas.errors import ConfigurationError, SealError
from callboard.schemas.rest.env_vars import SetVariable
from callboard.security.keyring import KeyRing
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.project_folders import Make

SECRET = "a-value-that-nobody-may-read"


async def test_nothing_is_stored_in_the_clear_and_nothing_opens_elsewhere(tmp_path: Path):
    store, ring = FolderStore(tmp_path), KeyRing(["a-key-of-sixteen-characters"])
    variables = Variables("w", store, ring)
    await variables.set("shop", "SHOP_KEY", SetVariable(value=SECRET, secret=True), by="me")
    token = await store.get(object_keys.variable("shop", "SHOP_KEY"))
    assert token is not None
    assert SECRET.encode() not in token
    for project, name in (("other", "SHOP_KEY"), ("shop", "OTHER"), (None, "SHOP_KEY")):
        await store.put(object_keys.variable(project, name), token)
        with pytest.raises(SealError, match=f"Environment variable {name} of "):
            await variables.list(project)
        assert await variables.delete(project, name)
    assert not await variables.delete("shop", "OTHER")


async def test_a_run_reads_variables_once_its_project_or_the_workspace_has_had_one(tmp_path: Path):
    store = FolderStore(tmp_path / "store")
    variables = Variables("w", store, KeyRing(["a-key-of-sixteen-characters"]))

    async def readers() -> list[str]:
        return [name for name in ("shop", "other") if await may_have_variables(store, name, None)]

    assert await readers() == []
    for owner, reading in (("shop", ["shop"]), (None, ["shop", "other"])):
        await variables.set(owner, "A", SetVariable(value="1"), by="me")
        assert await readers() == reading
        await variables.delete(owner, "A")
        assert await readers() == reading, "the next one may be set while the Run waits"
        assert await variables.list(owner) == []


async def test_no_variable_is_there_before_runs_read_it(tmp_path: Path):
    class Full(FolderStore):
        async def put(self, key: str, data: bytes) -> None:
            if key == object_keys.variable("shop", "A"):
                assert await may_have_variables(self, "shop", None)
            await super().put(key, data)

    await Variables("w", Full(tmp_path), KeyRing(["a-key-of-sixteen-characters"])).set(
        "shop", "A", SetVariable(value="1"), by="me"
    )


async def test_in_dev_a_run_reads_variables_if_there_is_an_env_file(make_project: Make, tmp_path: Path):
    folder, store = make_project(), FolderStore(tmp_path / "store")
    assert not await may_have_variables(store, "shop", folder.parent)
    (folder / ".env").write_text("A=1")
    assert await may_have_variables(store, "shop", folder.parent)


def test_the_variables_are_read_as_they_stand(make_project: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CALLBOARD_SECRET_KEY", "secret")
    text = "# a comment\nA=1\nexport B='two words'\nC=${CALLBOARD_SECRET_KEY}\nNOTHING\nEMPTY=\nD=\"x\\ny\"\n"
    folder = make_project({".env": text})
    assert DevFolders(folder.parent).read_variables("shop") == {
        "A": "1",
        "B": "two words",
        "C": "${CALLBOARD_SECRET_KEY}",
        "EMPTY": "",
        "D": "x\ny",
    }


def test_without_the_file_or_the_project_there_are_none(make_project: Make, tmp_path: Path):
    folders = DevFolders(make_project().parent)
    assert folders.read_variables("shop") == {}
    assert folders.read_variables("unknown") == {}
    assert DevFolders(tmp_path / "nowhere").read_variables("shop") == {}


def test_a_change_is_seen_at_once(make_project: Make):
    folder = make_project({".env": "A=1"})
    folders = DevFolders(folder.parent)
    assert folders.read_variables("shop") == {"A": "1"}
    (folder / ".env").write_text("A=2")
    assert folders.read_variables("shop") == {"A": "2"}
    make_project({".env": "A=3"}, name="another")
    assert folders.read_variables("another") == {"A": "3"}


def test_a_folder_is_found_by_its_name_also_with_broken_settings(make_project: Make):
    folder = make_project({".env": "A=1", "Intuned.jsonc": '{"projectName": "mine"}'})
    folders = DevFolders(folder.parent)
    assert folders.read_variables("mine") == {"A": "1"}
    assert folders.read_variables("shop") == {}
    (folder / "Intuned.jsonc").write_text('{"projectName": ')
    assert folders.read_variables("mine") == {"A": "1"}
    (folder / "Intuned.jsonc").write_text('{"projectName": "other"}')
    assert folders.read_variables("mine") == {}
    assert folders.read_variables("other") == {"A": "1"}


@pytest.mark.parametrize("content", [b"A=\xff", b"A=\0"])
def test_a_file_that_cannot_be_read_is_told(make_project: Make, content: bytes):
    folder = make_project()
    (folder / ".env").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read"):
        DevFolders(folder.parent).read_variables("shop")
