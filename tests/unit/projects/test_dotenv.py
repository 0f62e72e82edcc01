from pathlib import Path

import pytest

from callboard.projects.dotenv import DevFolders
from callboard.schemas.errors import ConfigurationError
from tests.support.project_folders import Make


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
