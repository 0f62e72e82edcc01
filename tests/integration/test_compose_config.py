"""Docker Compose itself reads the compose files as the tests do. It needs no container engine for that.

Debian has it as `docker-compose`; where it is not installed, these tests are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.compose_file import filled, load
from tests.support.repository import REPOSITORY

FILES = ("docker-compose.yml", "hosting/docker-compose.tls.yml")
PLUGINS = ("/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins", "/usr/local/lib/docker/cli-plugins")
DIGEST = "@sha256:" + "0123456789abcdef" * 4


def compose(env: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose") or shutil.which("docker-compose", path=":".join(PLUGINS))
    if program is None:
        pytest.skip("Docker Compose is not installed (Debian: docker-compose).")
    command = [program, "--project-directory", REPOSITORY, "--env-file", env, *arguments]
    return subprocess.run(command, env={"HOME": str(env.parent)}, capture_output=True, text=True, timeout=60)


@pytest.fixture
def values(tmp_path: Path) -> dict[str, str]:
    """A value for each variable that has no default, and for each digest."""
    text = "".join((REPOSITORY / name).read_text() for name in FILES)
    required = dict.fromkeys(re.findall(r"(?<!\$)\$\{(\w+):\?", text), "")
    return {name: f"value-of-{name.lower()}" for name in required} | dict.fromkeys(
        re.findall(r"\$\{(\w+_DIGEST):-", text), DIGEST
    )


def env_file(folder: Path, values: dict[str, str]) -> Path:
    file = folder / "env"
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    return file


def test_compose_gives_containers_what_the_tests_give_to_processes(tmp_path: Path, values: dict[str, str]) -> None:
    named = [word for name in FILES for word in ("--file", str(REPOSITORY / name))]
    arguments = [*named, "--profile", "*", "config", "--format", "json"]
    done = compose(env_file(tmp_path, values), *arguments)
    assert done.returncode == 0, done.stderr
    services: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    main, tls = load()["services"], load("hosting/docker-compose.tls.yml")["services"]
    assert services.keys() == main.keys() | tls.keys()
    for name, service in services.items():
        written: dict[str, str] = {
            **main.get(name, {}).get("environment", {}),
            **tls.get(name, {}).get("environment", {}),
        }
        # Compose writes dollar signs twice, so that what it prints can be read again.
        given = {variable: value.replace("$$", "$") for variable, value in (service.get("environment") or {}).items()}
        assert given == {variable: filled(value, values) for variable, value in written.items()}, name
        if "build" not in service:
            assert service["image"].endswith(DIGEST), name
    assert services["temporal-ui"]["build"]["dockerfile_inline"].count(DIGEST) == 2
    assert services["api"]["build"]["args"] == {"DEBIAN_DIGEST": DIGEST}


def test_a_plain_start_has_neither_deploys_nor_the_dashboard(tmp_path: Path, values: dict[str, str]) -> None:
    done = compose(env_file(tmp_path, values), "config", "--services")
    assert done.returncode == 0, done.stderr
    services = load()["services"]
    assert set(done.stdout.split()) == {name for name, service in services.items() if "profiles" not in service}


def test_settings_of_the_documented_override_file_reach_the_services(tmp_path: Path, values: dict[str, str]) -> None:
    page = (REPOSITORY / "docs" / "configure.md").read_text()
    blocks = re.findall(r"`docker-compose\.override\.yml`\n\n```yaml\n(.*?)```", page, flags=re.DOTALL)
    (text,) = [block for block in blocks if "OTEL_" in block]
    override = tmp_path / "docker-compose.override.yml"
    override.write_text(text)
    named = ["--file", str(REPOSITORY / FILES[0]), "--file", str(override)]
    done = compose(env_file(tmp_path, values | {"CALLBOARD_CAPACITY": "4"}), *named, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    services: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    main = load()["services"]
    for name, service in yaml.safe_load(text)["services"].items():
        added: dict[str, str] = service["environment"]
        assert added
        written: dict[str, str] = main[name]["environment"]
        given = {variable: value.replace("$$", "$") for variable, value in services[name]["environment"].items()}
        assert given == {variable: filled(value, values) for variable, value in written.items()} | added, name


def test_the_retention_is_that_of_the_env_file(tmp_path: Path, values: dict[str, str]) -> None:
    kept = {"CALLBOARD_RUN_RETENTION": "30d", "CALLBOARD_ARTIFACT_RETENTION": "31d"}
    done = compose(env_file(tmp_path, values | kept), "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    given: dict[str, str] = json.loads(done.stdout)["services"]["namespace"]["environment"]
    assert {name: given[name] for name in kept} == kept


def test_a_secret_that_is_missing_is_named(tmp_path: Path, values: dict[str, str]) -> None:
    del values["ARTIFACTS_WORKER_SECRET"]
    done = compose(env_file(tmp_path, values), "config")
    assert done.returncode != 0
    assert "ARTIFACTS_WORKER_SECRET" in done.stderr
