"""`callboard init` writes what Docker Compose asks for, once, for its user alone."""

import re
import stat
from pathlib import Path
from uuid import UUID

from dotenv import dotenv_values

from settings import Settings, installed_version
from tests.support.fake_api import callboard_process
from tests.support.repository import REPOSITORY

ASKED = set(re.findall(r"(?<!\$)\$\{(\w+):\?", (REPOSITORY / "docker-compose.yml").read_text()))


def written(folder: Path) -> dict[str, str]:
    return {name: value for name, value in dotenv_values(folder / ".env").items() if value}


def test_in_a_checkout_it_writes_secrets_that_only_their_owner_reads(tmp_path: Path):
    (tmp_path / "docker-compose.yml").touch()
    done = callboard_process("init", cwd=tmp_path, COLUMNS="500")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {".env", "docker-compose.yml"}
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    values = written(tmp_path)
    assert values.keys() == ASKED | {"CALLBOARD_WORKSPACE_ID", "GRAFANA_PASSWORD"}
    assert len(set(values.values())) == len(values)
    assert all(len(values[name]) >= 40 for name in ASKED)
    assert [name for name, value in values.items() if value in done.stdout] == ["CALLBOARD_WORKSPACE_ID"]
    assert "The key of the API is CALLBOARD_API_KEYS in .env" in done.stdout
    assert Settings(workspace_id=UUID(values["CALLBOARD_WORKSPACE_ID"])).workspace == values["CALLBOARD_WORKSPACE_ID"]


def test_elsewhere_it_brings_the_compose_files_with_all_that_they_name(tmp_path: Path):
    folder = tmp_path / "new"
    done = callboard_process("init", str(folder), cwd=tmp_path, COLUMNS="500")
    assert (done.returncode, done.stderr) == (0, "")
    image = f"callboard:{installed_version()}"
    assert written(folder)["CALLBOARD_IMAGE"] == image
    assert f"need the image {image}" in done.stdout
    files = ("docker-compose.yml", "hosting/docker-compose.tls.yml")
    texts = [(folder / file).read_text() for file in files]
    named = {path for text in texts for path in re.findall(r"[ =]\./(\S+)$", text, re.MULTILINE)}
    assert len(named) > 6
    for name in {*files, *named}:
        assert (folder / name).read_bytes() == (REPOSITORY / name).read_bytes(), name


def test_it_overwrites_nothing(tmp_path: Path):
    (tmp_path / ".env").write_text("mine")
    done = callboard_process("init", cwd=tmp_path, COLUMNS="500")
    assert done.returncode == 2
    assert ".env is there and was left unchanged." in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
    assert (tmp_path / ".env").read_text() == "mine"
