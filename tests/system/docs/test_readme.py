"""The README's project and commands, and the client code for it, as they are printed there, only on other ports.

Its `callboard dev my-projects` is typed by tests/support/dev_terminal.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from tests.support import doc_commands
from tests.support.dev_terminal import Running
from tests.support.processes import CALLBOARD
from tests.support.repository import REPOSITORY

BY_HAND, CLIENTS = doc_commands.typed("README.md", "Call it")


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
    page = (REPOSITORY / "docs" / "from-intuned.md").read_text()
    (code,) = re.findall(r"```python\n(import time\n.*?)```", page, flags=re.DOTALL)
    code = code.replace("http://127.0.0.1:8400", running_dev.card["url"])
    done = subprocess.run(
        [sys.executable, "-c", f"KEY = {running_dev.card['apiKey']!r}\n{code}"],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{'title': 'Hello'}"


def test_the_commands_of_clients_work(running_dev: Running) -> None:
    venv = running_dev.projects.parent / ".venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "activate").write_text(f'PATH="{CALLBOARD.parent}:$PATH"\n')
    done = subprocess.run(
        ["bash", "-euc", CLIENTS.text],
        cwd=running_dev.projects.parent,
        env=os.environ | {"CALLBOARD_DATA_DIR": str(running_dev.data)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    result, _, listed = done.stdout.partition("}\n")
    assert json.loads(f"{result}}}") == {"title": "Hello"}
    assert listed.split() == ["RUN", "STATUS", "API", "ATTEMPTS", "CREATED", "DURATION", "REASON"]
