"""`callboard dev` in a terminal of its own, as a person starts and stops it, and one that several files ask things."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import termios
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import doc_commands
from tests.support.files import write_files
from tests.support.processes import CALLBOARD, surroundings
from tests.support.repository import REPOSITORY

API = "async def automation(page, params=None, **_):\n    return 'hello'\n"
(DEV,) = doc_commands.typed("README.md", "An API from a function")


class Terminal:
    """A command that runs in a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process = process
        self._screen = screen
        self.text = ""

    def press_ctrl_c(self) -> None:
        self.type("\x03")

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    @property
    def echoes(self) -> bool:
        """Whether it shows what is typed."""
        return bool(termios.tcgetattr(self._screen)[3] & termios.ECHO)

    def read(self) -> bool:
        """Take in what has been printed; False at the end."""
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # the terminal has been left
            return False
        self.text += data.decode().replace("\r\n", "\n")
        return bool(data)

    def read_until(self, words: str, after: int = 0) -> str:
        """Read until these words are there, behind the first `after` letters; all that is behind these."""
        while words not in self.text[after:]:
            assert self.read(), self.text
        return self.text[after:]

    def read_to_the_end(self) -> int:
        while self.read():
            pass
        return self.process.wait(30)


@contextmanager
def dev(projects: Path, data: Path, **environment: str) -> Generator[Terminal]:
    """Type the README's command above this folder of projects, with more options."""
    command = [CALLBOARD, *DEV.text.split()[1:], "--data", data]
    assert command[2] == projects.name
    command += ["--port", "0", "--temporal-port", "0", "--ui-port", "0"]
    with on_terminal(*command, cwd=projects.parent, env=surroundings(**environment)) as terminal:
        try:
            yield terminal
        finally:
            for owner in processes_on(data):
                with suppress(psutil.Error):
                    owner.kill()


@contextmanager
def on_terminal(*command: str | Path, cwd: Path, env: dict[str, str]) -> Generator[Terminal]:
    """Type a command in a terminal of its own."""
    screen, keyboard = pty.openpty()
    try:
        # `setsid --ctty` makes the terminal the one that Ctrl-C comes from.
        with subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command], cwd=cwd, stdin=keyboard, stdout=keyboard, stderr=keyboard, env=env
        ) as process:
            os.close(keyboard)
            try:
                yield Terminal(process, screen)
            finally:
                process.kill()
    finally:
        os.close(screen)


def processes_on(data: Path) -> list[psutil.Process]:
    """All processes that have to do with a data folder."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(data) in text for text in [*process.cmdline(), *process.environ().values()]):
                found.append(process)
    return found


def make_projects(folder: Path, **more: str) -> Path:
    """Projects by their settings: a good one, a broken one, and more."""
    projects = folder / "my-projects"
    for name, settings in {"greeter": "{}", "wrong": '{"apiAccess": 7}', **more}.items():
        (projects / name / "api").mkdir(parents=True)
        (projects / name / "Intuned.json").write_text(settings)
        (projects / name / "api" / "hello.py").write_text(API)
    return projects


@dataclass(frozen=True)
class Running:
    """A `callboard dev` that is up."""

    terminal: Terminal
    projects: Path
    data: Path
    shell: dict[str, str]
    """What the shell was set up for in which it was started."""

    @property
    def card(self) -> dict[str, Any]:
        """What it leaves for clients."""
        return json.loads((self.data / "dev.json").read_text())


@pytest.fixture(scope="session")
def running_dev(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    """One for the tests that leave it as it was. Ctrl-C stops all of it, whatever was done with it.

    It is started in a shell that is set up for another Temporal. Of its projects, one is the README's, one has logins,
    and two are there to be changed.
    """
    folder = tmp_path_factory.mktemp("running")
    logins = '{"authSessions": {"enabled": true, "type": "MANUAL"}}'
    projects = make_projects(folder, members=logins, changing="{}", mending='{"apiAccess": 7}')
    (projects / "members" / "auth-sessions").mkdir()
    check = projects / "members" / "auth-sessions" / "check.py"
    check.write_text("async def check(page, **_):\n    return True\n")
    readme = (REPOSITORY / "README.md").read_text()
    for name, text in re.findall(r"`(my-projects/hello/[^`]+)`\n\n```\w+\n(.*?)```", readme, flags=re.DOTALL):
        write_files(folder, {name: text})
    profile = folder / "home" / ".config" / "temporalio" / "temporal.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text('[profile.default]\naddress = "nowhere.tmprl.cloud:7233"\napi_key = "a-key-of-another"\n')
    shell = {
        "HOME": str(folder / "home"),
        "TEMPORAL_ADDRESS": "shop.abc12.tmprl.cloud:7233",
        "TEMPORAL_NAMESPACE": "shop.abc12",
        "TEMPORAL_TLS_CLIENT_CERT_PATH": "/no/where",
    }
    data = folder / "data"
    with dev(projects, data, **shell) as terminal:
        terminal.read_until("Press Ctrl-C to stop.")
        yield Running(terminal, projects, data, shell)
        terminal.press_ctrl_c()
        assert terminal.read_to_the_end() == 0, terminal.text
        assert terminal.text.endswith("Stopping …\nStopped.\n")
        assert "Traceback" not in terminal.text
        assert processes_on(data) == []
        assert not (data / "dev.json").exists()
