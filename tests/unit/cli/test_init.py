"""`callboard init` writes what Docker Compose or systemd asks for, once, for its user alone."""

import re
import stat
import sys
from pathlib import Path
from uuid import UUID

from dotenv import dotenv_values

from callboard.settings import Settings, installed_version
from tests.support.processes import callboard_process
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


def test_services_of_systemd_get_their_settings_and_units(tmp_path: Path):
    done = callboard_process("init", "--systemd", str(tmp_path), cwd=tmp_path, COLUMNS="500")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "systemd" / "system").iterdir()} == {
        unit.name for unit in (REPOSITORY / "hosting" / "systemd").glob("callboard-*")
    }
    programs = [
        line.split()[0].partition("=")[2]
        for unit in (tmp_path / "systemd" / "system").glob("*.service")
        for line in unit.read_text().splitlines()
        if line.startswith("ExecStart=")
    ]
    assert set(programs) == {f"{sys.prefix}/bin/callboard", "/bin/sh"}
    settings = {path.stem: dotenv_values(path) for path in (tmp_path / "callboard").glob("*.env")}
    assert {name: len(values) for name, values in settings.items()} == {"callboard": 5, "api": 1, "worker": 2}
    for name, values in settings.items():
        assert stat.S_IMODE((tmp_path / "callboard" / f"{name}.env").stat().st_mode) == 0o600
        assert not [
            key
            for key, value in values.items()
            if key.endswith(("KEY", "KEYS", "SECRETS")) and str(value) in done.stdout
        ]
    assert callboard_process("init", "--systemd", str(tmp_path), cwd=tmp_path).returncode == 2


def test_it_overwrites_nothing(tmp_path: Path):
    (tmp_path / ".env").write_text("mine")
    done = callboard_process("init", cwd=tmp_path, COLUMNS="500")
    assert done.returncode == 2
    assert ".env is there and was left unchanged." in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
    assert (tmp_path / ".env").read_text() == "mine"
