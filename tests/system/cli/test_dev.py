"""`callboard dev` as a person uses it: in a terminal of its own, with Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from machines.browser import find_browser
from machines.sandbox import sandbox_refusal
from tests.support.polling import block_until

API = "async def automation(page, params=None, **_):\n    return 'hello'\n"


class Terminal:
    """A `callboard dev` that runs in a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process = process
        self._screen = screen
        self.text = ""

    def press_ctrl_c(self) -> None:
        os.write(self._screen, b"\x03")

    def read(self) -> bool:
        """Take in what has been printed; False at the end."""
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # the terminal has been left
            return False
        self.text += data.decode().replace("\r\n", "\n")
        return bool(data)

    def read_until(self, words: str) -> None:
        while words not in self.text:
            assert self.read(), self.text

    def read_to_the_end(self) -> int:
        while self.read():
            pass
        return self.process.wait(30)


@contextmanager
def dev(projects: Path, data: Path, **environment: str) -> Generator[Terminal]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    command = [Path(sys.executable).with_name("callboard"), "dev", projects, "--data", data]
    command += ["--port", "0", "--temporal-port", "0", "--ui-port", "0"]
    screen, keyboard = pty.openpty()
    try:
        # `setsid --ctty` makes the terminal the one that Ctrl-C comes from.
        with subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command],
            stdin=keyboard, stdout=keyboard, stderr=keyboard, env=clean | environment,
        ) as process:  # fmt: skip
            os.close(keyboard)
            try:
                yield Terminal(process, screen)
            finally:
                for owner in processes_on(data):
                    with suppress(psutil.Error):
                        owner.kill()
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
    for name, settings in {"greeter": "{}", "wrong": '{"apiAccess": 7}', **more}.items():
        (folder / "projects" / name / "api").mkdir(parents=True)
        (folder / "projects" / name / "Intuned.json").write_text(settings)
        (folder / "projects" / name / "api" / "hello.py").write_text(API)
    return folder / "projects"


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    return make_projects(tmp_path)


@dataclass(frozen=True)
class Running:
    """A `callboard dev` that is up."""

    terminal: Terminal
    projects: Path
    data: Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    """One for the tests that leave it as it was. Ctrl-C stops all of it, whatever was done with it."""
    folder = tmp_path_factory.mktemp("running")
    projects = make_projects(folder, members='{"authSessions": {"enabled": true, "type": "MANUAL"}}')
    (projects / "members" / "auth-sessions").mkdir()
    check = projects / "members" / "auth-sessions" / "check.py"
    check.write_text("async def check(page, **_):\n    return True\n")
    data = folder / "data"
    with dev(projects, data) as terminal:
        terminal.read_until("Press Ctrl-C to stop.")
        yield Running(terminal, projects, data)
        terminal.press_ctrl_c()
        assert terminal.read_to_the_end() == 0, terminal.text
        assert terminal.text.endswith("Stopping …\nStopped.\n")
        assert "Traceback" not in terminal.text
        assert processes_on(data) == []
        assert not (data / "dev.json").exists()


def test_it_says_where_everything_is(running: Running) -> None:
    text, card = running.terminal.text, json.loads((running.data / "dev.json").read_text())
    for part in (card["url"], card["url"] + "/docs", card["apiKey"], card["temporalUiUrl"], "greeter", "hello"):
        assert part in text
    assert "NOT DEPLOYED wrong" in text
    assert "apiAccess" in text
    assert httpx.get(card["temporalUiUrl"], trust_env=False).status_code == 200
    assert httpx.get(f"{card['url']}/docs", trust_env=False).status_code == 200


def test_its_workers_log_says_how_far_machines_are_isolated(running: Running) -> None:
    lines = (running.data / "logs" / "worker.log").read_text().splitlines()
    (isolation,) = [line for line in lines if "isolat" in line.lower()]
    assert "full: " in isolation or "open: " in isolation
    refusal = sandbox_refusal(find_browser(None), boxed=True)
    told = [line for line in lines if "Chromium's own sandbox is off" in line]
    assert len(told) == (0 if refusal is None else 1), told


def test_what_changes_while_it_runs_is_published_and_told_in_a_line_each(projects: Path, tmp_path: Path) -> None:
    with dev(projects, tmp_path / "data") as terminal:
        terminal.read_until("Press Ctrl-C to stop.")
        terminal.text = ""
        (projects / "greeter" / "api" / "goodbye.py").write_text(API)
        terminal.read_until("\n")
        assert terminal.text.startswith("Published greeter   version ")
        assert terminal.text.endswith("APIs: goodbye, hello\n")
        terminal.text = ""
        (projects / "wrong" / "Intuned.json").write_text("{}")
        terminal.read_until("\n")
        assert terminal.text.startswith("Published wrong   version ")
        terminal.text = ""
        (projects / "greeter" / "Intuned.json").unlink()
        terminal.read_until("\n")
        assert terminal.text.startswith("NOT DEPLOYED greeter   ")
        assert "is still served." in terminal.text
        terminal.press_ctrl_c()
        assert terminal.read_to_the_end() == 0


def test_the_curl_that_it_prints_starts_a_run(running: Running) -> None:
    (line,) = [line for line in running.terminal.text.splitlines() if line.strip().startswith("curl ")]
    done = subprocess.run(["bash", "-c", f"{line} --silent --noproxy '*'"], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["status"] == "pending", done


def test_a_login_is_imported_into_the_stack_that_runs(running: Running, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text('{"cookies": [], "origins": []}')
    command = [Path(sys.executable).with_name("callboard"), "authsessions", "import", state, "-p", "members"]
    for _ in range(2):  # and once more, which records it anew
        done = subprocess.run(
            [*command, "--id", "anna", "--data", running.data], capture_output=True, text=True, timeout=60
        )
        assert (done.stdout, done.stderr) == ("AuthSession anna (RECORDER) is READY.\n", "")


def test_killed_it_leaves_no_process_and_runs_again_on_the_same_data(projects: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for _ in range(2):
        with dev(projects, data) as terminal:
            terminal.read_until("Press Ctrl-C to stop.")
            os.kill(json.loads((data / "dev.json").read_text())["pid"], signal.SIGKILL)
            block_until(lambda: processes_on(data) == [])


def test_a_shell_that_is_set_up_for_another_temporal_changes_nothing(projects: Path, tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "home" / ".config" / "temporalio" / "temporal.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[profile.default]\naddress = "nowhere.tmprl.cloud:7233"\napi_key = "a-key-of-another"\n')
    other = {
        "HOME": str(tmp_path / "home"),
        "TEMPORAL_ADDRESS": "shop.abc12.tmprl.cloud:7233",
        "TEMPORAL_NAMESPACE": "shop.abc12",
        "TEMPORAL_TLS_CLIENT_CERT_PATH": "/no/where",
    }
    with dev(projects, data, **other) as terminal:
        terminal.read_until("Press Ctrl-C to stop.")
        card = json.loads((data / "dev.json").read_text())
        plain = f"Temporal at {card['temporalAddress']}, namespace default (plain, without TLS)"
        assert plain in (data / "logs" / "api.log").read_text()
        assert plain in (data / "logs" / "worker.log").read_text()
        doctor = subprocess.run(
            [Path(sys.executable).with_name("callboard"), "doctor", "--data", data, "--json"],
            env=os.environ | other, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        checks = {check["check"]: check for check in json.loads(doctor.stdout)["checks"]}
        assert checks["Temporal"]["status"] == "ok"
        assert checks["Temporal"]["message"].endswith(f"at {card['temporalAddress']}, plain, without TLS")
        assert {checks[check]["status"] for check in ("Namespace", "Workers", "Projects")} == {"ok"}
        terminal.press_ctrl_c()
        assert terminal.read_to_the_end() == 0, terminal.text


def test_ctrl_c_while_it_starts_stops_it(projects: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with dev(projects, data) as terminal:
        block_until((data / "logs" / "temporal.log").exists)
        terminal.press_ctrl_c()
        assert terminal.read_to_the_end() == 0, terminal.text
        assert "Traceback" not in terminal.text
        assert processes_on(data) == []


def test_a_second_one_on_the_same_data_refuses_in_one_sentence(running: Running) -> None:
    card = json.loads((running.data / "dev.json").read_text())
    command = [Path(sys.executable).with_name("callboard"), "dev", running.projects, "--data", running.data]
    second = subprocess.run([*command, "--port", "0"], capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"process {card['pid']}" in second.stderr
    assert json.loads((running.data / "dev.json").read_text()) == card
    assert httpx.get(f"{card['url']}/healthz", trust_env=False).status_code == 200, "the first one is not disturbed"


def test_without_a_browser_it_says_what_to_install_and_stops(projects: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with dev(projects, data, CALLBOARD_CHROMIUM=str(tmp_path / "nowhere")) as terminal:
        assert terminal.read_to_the_end() == 1, terminal.text
        assert "CALLBOARD_CHROMIUM names" in terminal.text
        assert processes_on(data) == []
