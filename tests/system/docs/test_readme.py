"""The README's project, commands and client code, as they are printed there, only on other ports.

Its `callboard dev my-projects` is typed by tests/support/dev_terminal.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from tests.support import doc_commands
from tests.support.dev_terminal import CALLBOARD, Running
from tests.support.repository import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
_, BY_HAND = doc_commands.typed("README.md", "Write a project")
(CLIENTS,) = doc_commands.typed("README.md", "The command line")


def block(language: str, beginning: str) -> str:
    """The one code block of a language that begins so."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    (found,) = [text for text in blocks if text.startswith(beginning)]
    return found


def test_the_calls_by_hand_work(running_dev: Running) -> None:
    data, url = str(running_dev.data), running_dev.card["url"]
    lines = BY_HAND.text.replace("http://127.0.0.1:8400", url).replace("~/.local/share/callboard", data)
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


def test_the_client_code_works(running_dev: Running) -> None:
    code = block("python", "import time\n").replace("http://127.0.0.1:8400", running_dev.card["url"])
    done = subprocess.run(
        [sys.executable, "-c", f"KEY = {running_dev.card['apiKey']!r}\n{code}"],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{'title': 'Hello'}"


def test_the_commands_of_clients_work(running_dev: Running) -> None:
    path = f"{CALLBOARD.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", CLIENTS.text],
        cwd=running_dev.projects.parent,
        env=os.environ | {"CALLBOARD_DATA_DIR": str(running_dev.data), "PATH": path},
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
