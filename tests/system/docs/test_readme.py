"""The README's project, commands and client code, as they are printed there, only on other ports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack import ports
from tests.support import doc_commands
from tests.support.repository import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
CALLBOARD = Path(sys.executable).with_name("callboard")
DEV, BY_HAND = doc_commands.typed("README.md", "Write a project")
(CLIENTS,) = doc_commands.typed("README.md", "The command line")


def block(language: str, beginning: str) -> str:
    """The one code block of a language that begins so."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    (found,) = [text for text in blocks if text.startswith(beginning)]
    return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """`callboard dev my-projects` over the README's project: the card that it leaves for clients, and the folder."""
    folder = tmp_path_factory.mktemp("readme")
    for name, text in re.findall(r"`(my-projects/hello/[^`]+)`\n\n```\w+\n(.*?)```", README, flags=re.DOTALL):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    command = DEV.text.split()
    free = ports.choose_ports({"--port": 0, "--temporal-port": 0, "--ui-port": 0})
    options = [f"{name}={port}" for name, port in free.items()]
    with (folder / "dev.log").open("w") as log:
        dev = subprocess.Popen(
            [CALLBOARD, *command[1:], *options, f"--data={folder / 'data'}"],
            cwd=folder,
            env=os.environ | {"CALLBOARD_VIEWER_PORT": "0"},
            stdout=log,
            stderr=log,
        )
    card = folder / "data" / "dev.json"
    deadline = time.monotonic() + 60
    while not card.exists():
        assert dev.poll() is None, (folder / "dev.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield {**json.loads(card.read_text()), "folder": folder}
    dev.send_signal(signal.SIGINT)
    assert dev.wait(60) == 0, (folder / "dev.log").read_text()


def test_the_calls_by_hand_work(served: dict[str, Any]) -> None:
    data = str(served["folder"] / "data")
    lines = BY_HAND.text.replace("http://127.0.0.1:8400", served["url"]).replace("~/.local/share/callboard", data)
    cancel = lines.rindex("curl")
    script = f"{lines[:cancel]}\necho\n{lines[cancel:]}"
    done = subprocess.run(
        ["bash", "-euc", script.replace("curl ", "curl --no-progress-meter --fail-with-body ")],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line]
    assert [answer["result"] for answer in answers] == [{"title": "Hello"}] * 2


def test_the_client_code_works(served: dict[str, Any]) -> None:
    code = block("python", "import time\n").replace("http://127.0.0.1:8400", served["url"])
    done = subprocess.run(
        [sys.executable, "-c", f"KEY = {served['apiKey']!r}\n{code}"], capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{'title': 'Hello'}"


def test_the_commands_of_clients_work(served: dict[str, Any]) -> None:
    path = f"{CALLBOARD.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", CLIENTS.text],
        cwd=served["folder"],
        env=os.environ | {"CALLBOARD_DATA_DIR": str(served["folder"] / "data"), "PATH": path},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    result, _, listed = done.stdout.partition("}\n")
    assert json.loads(f"{result}}}") == {"title": "Hello"}
    assert listed.split() == ["RUN", "STATUS", "API", "ATTEMPTS", "CREATED", "DURATION", "REASON"]


def test_the_production_commands_are_commands() -> None:
    for line in block("sh", "export CALLBOARD_TEMPORAL_ADDRESS").splitlines():
        if line.startswith("callboard"):
            command = line.split()[1]
            done = subprocess.run([CALLBOARD, command, "--help"], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr


def test_every_make_target_that_is_named_is_there() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"`?make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
