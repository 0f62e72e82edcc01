"""`callboard dev` as a person uses it: in a terminal of its own, with Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from callboard.machines.browser_program import find_browser
from callboard.machines.sandbox import sandbox_refusal
from tests.support.dev_terminal import API, Running, dev, make_projects, processes_on
from tests.support.polling import block_until
from tests.support.processes import CALLBOARD


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    return make_projects(tmp_path)


@pytest.fixture
def running(running_dev: Running) -> Running:
    return running_dev


def test_it_says_where_everything_is(running: Running) -> None:
    text, card = running.terminal.text, running.card
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


def test_what_changes_while_it_runs_is_published_and_told_in_a_line_each(running: Running) -> None:
    terminal, changing, mending = running.terminal, running.projects / "changing", running.projects / "mending"
    said = len(terminal.text)
    (changing / "api" / "goodbye.py").write_text(API)
    told = terminal.read_until("\n", said)
    assert told.startswith("Published changing   version ")
    assert told.endswith("APIs: goodbye, hello\n")
    said = len(terminal.text)
    (mending / "Intuned.json").write_text("{}")
    assert terminal.read_until("\n", said).startswith("Published mending   version ")
    said = len(terminal.text)
    (changing / "Intuned.json").unlink()
    told = terminal.read_until("\n", said)
    assert told.startswith("NOT DEPLOYED changing   ")
    assert "is still served." in told


def test_the_curl_that_it_prints_starts_a_run(running: Running) -> None:
    (line,) = [line for line in running.terminal.text.splitlines() if line.strip().startswith("curl ")]
    done = subprocess.run(["bash", "-c", f"{line} --silent --noproxy '*'"], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["status"] == "pending", done


def test_a_login_is_imported_into_the_stack_that_runs(running: Running, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text('{"cookies": [], "origins": []}')
    command = [CALLBOARD, "authsessions", "import", state, "-p", "members"]
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


def test_a_shell_that_is_set_up_for_another_temporal_changes_nothing(running: Running) -> None:
    address = running.card["temporalAddress"]
    plain = f"Temporal at {address}, namespace default (plain, without TLS)"
    assert plain in (running.data / "logs" / "api.log").read_text()
    assert plain in (running.data / "logs" / "worker.log").read_text()
    doctor = subprocess.run(
        [CALLBOARD, "doctor", "--data", running.data, "--json"],
        env=os.environ | running.shell, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    checks = {check["check"]: check for check in json.loads(doctor.stdout)["checks"]}
    assert checks["Temporal"]["status"] == "ok"
    assert checks["Temporal"]["message"].endswith(f"at {address}, plain, without TLS")
    assert {checks[check]["status"] for check in ("Namespace", "Workers", "Projects")} == {"ok"}


def test_ctrl_c_while_it_starts_stops_it(projects: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with dev(projects, data) as terminal:
        block_until((data / "logs" / "temporal.log").exists)
        terminal.press_ctrl_c()
        assert terminal.read_to_the_end() == 0, terminal.text
        assert "Traceback" not in terminal.text
        assert processes_on(data) == []


def test_a_second_one_on_the_same_data_refuses_in_one_sentence(running: Running) -> None:
    card = running.card
    command = [CALLBOARD, "dev", running.projects, "--data", running.data]
    second = subprocess.run([*command, "--port", "0"], capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"process {card['pid']}" in second.stderr
    assert running.card == card
    assert httpx.get(f"{card['url']}/healthz", trust_env=False).status_code == 200, "the first one is not disturbed"


def test_without_a_browser_it_says_what_to_install_and_stops(projects: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with dev(projects, data, CALLBOARD_CHROMIUM=str(tmp_path / "nowhere")) as terminal:
        assert terminal.read_to_the_end() == 1, terminal.text
        assert "CALLBOARD_CHROMIUM names" in terminal.text
        assert processes_on(data) == []
