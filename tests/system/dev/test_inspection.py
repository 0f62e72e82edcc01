"""What our processes know is closed to user code, which runs as the same user. Root may look at everything."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from callboard.security.inspection import forbid_inspection
from tests.support import unprivileged_user
from tests.support.polling import until

SECRET = "what-only-the-operator-knows"
API_KEY = f"key-{SECRET}"
SPY = """
import os
from pathlib import Path


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def automation(page, params):
    readable, found = [], []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and (environment := read(process / "environ")):
            command = read(process / "cmdline").replace(b"\\0", b" ").decode(errors="replace")
            readable.append(command)
            if params["secret"].encode() in environment:
                found.append(command)
    return {"readable": readable, "found": found, "user": os.geteuid()}
"""


@pytest.fixture(scope="module")
def dev() -> Iterator[dict[str, Any]]:
    """The address card of a `callboard dev` of an ordinary user, which has secrets in its environment."""
    with unprivileged_user.folder() as folder:
        (folder / "projects" / "spy" / "api").mkdir(parents=True)
        (folder / "projects" / "spy" / "Intuned.json").write_text("{}")
        (folder / "projects" / "spy" / "api" / "look.py").write_text(SPY)
        environment = {
            "HOME": str(folder),
            "CALLBOARD_API_KEYS": API_KEY,
            "CALLBOARD_SECRET_KEY": f"sealing-{SECRET}",
            "CALLBOARD_VIEWER_PORT": "0",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET}",
        }
        command = [sys.executable, "-m", "callboard.cli", "dev", f"{folder}/projects", "--data", f"{folder}/data"]
        ports = ["--port", "0", "--temporal-port", "0", "--ui-port", "0"]
        card = folder / "data" / "dev.json"
        process = subprocess.Popen([*command, *ports], **unprivileged_user.options(environment))
        try:
            until_there(process, card)
            yield json.loads(card.read_text())
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) is not None


def until_there(process: subprocess.Popen[Any], card: Path) -> None:
    asyncio.run(until(lambda: card.exists() or process.poll() is not None, 90))
    assert process.poll() is None


def test_user_code_finds_no_secret_of_any_process_of_the_stack(dev: dict[str, Any]) -> None:
    base = f"{dev['url']}/api/v1/workspace/{dev['workspaceId']}/projects/spy"
    with httpx.Client(base_url=base, headers={"x-api-key": API_KEY}, trust_env=False, timeout=90) as client:
        started = client.post("/run/start", json={"api": "look", "parameters": {"secret": SECRET}}).json()
        ended = client.get(f"/run/{started['runId']}/result", params={"wait": 60}).json()
    assert ended["status"] == "completed", ended
    seen = ended["result"]
    assert seen["user"] != 0
    # In a box there is nothing of others to be read; without one, what is not closed can be.
    assert seen["readable"] == [] or any("run-driver" in command for command in seen["readable"])
    assert seen["found"] == []


def test_a_fork_inherits_it_and_an_executed_program_does_not() -> None:
    """What a program is executed with can be read again: so each program asks for it itself."""
    look = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    code = (
        "import os, subprocess, sys; from callboard.security.inspection import forbid_inspection; forbid_inspection();"
        f"{look}; sys.stdout.flush();"
        f"os.waitpid(pid, 0) if (pid := os.fork()) else (exec({look!r}), sys.stdout.flush(), os._exit(0));"
        f"subprocess.run([sys.executable, '-c', {look!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "0", "1"]


def test_a_kernel_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def prctl(self, *_arguments: int) -> int:
            return -1

    def load(_name: None, **_options: bool) -> Refusing:
        return Refusing()

    monkeypatch.setattr("ctypes.CDLL", load)
    with pytest.raises(OSError, match="cannot be closed to others of its user"):
        forbid_inspection()
