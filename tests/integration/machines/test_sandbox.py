"""Chromium's own sandbox is on wherever it works, and where it does not, it is said why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from callboard.machines import sandbox
from tests.support import unprivileged_user
from tests.support.machines import of_folder
from tests.support.programs import make_program


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let us pass for a user that is not root, to programs that do not look."""
    sandbox.sandbox_refusal.cache_clear()
    monkeypatch.setattr(os, "geteuid", lambda: 1234)


def test_root_without_a_box_is_refused_without_a_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    tried = tmp_path / "tried"
    assert sandbox.sandbox_refusal(make_program(tmp_path / "browser", f"touch {tried}"), boxed=False) == (
        "Chromium refuses to use it as root"
    )
    assert not tried.exists()


@pytest.mark.usefixtures("ordinary")
@pytest.mark.parametrize(
    ("script", "refusal"),
    [
        ("exit 0", None),
        (
            "echo '[1:1:FATAL:zygote_host_impl_linux.cc] No usable sandbox! If this is Debian' >&2; kill -6 $$",
            "user 1234 may not make the namespaces that it needs",
        ),
        ("echo one >&2; echo 'a library is missing' >&2; exit 127", "the browser does not start with it: a library"),
        ("exit 3", "the browser does not start with it: it printed nothing"),
    ],
)
def test_any_other_user_has_it_where_a_browser_starts_with_it(tmp_path: Path, script: str, refusal: str | None) -> None:
    found = sandbox.sandbox_refusal(make_program(tmp_path / "browser", script), boxed=False)
    assert found == refusal if refusal is None else (found or "").startswith(refusal)


@pytest.mark.usefixtures("ordinary")
def test_a_browser_that_does_not_end_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_TRIED_WITHIN", 0.2)
    folder = tmp_path / "work"
    folder.mkdir()
    program = make_program(tmp_path / "browser", f"cd {folder}; sleep 600 & sleep 600; :")
    assert sandbox.sandbox_refusal(program, boxed=False) == "the browser does not end within 0.2 seconds with it"
    assert of_folder(folder) == []


@pytest.mark.usefixtures("ordinary")
def test_the_browser_that_is_tried_has_no_secret_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_SECRET_KEY", "a-secret-of-no-worth")
    looks = "env | grep -q PATH= || exit 3; env | grep -q a-secret-of-no-worth && exit 4; exit 0"
    assert sandbox.sandbox_refusal(make_program(tmp_path / "browser", looks), boxed=False) is None


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What an ordinary user sees of a Machine of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.unprivileged_machine"],
        **unprivileged_user.options(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0
    return json.loads(done.stdout)


def test_an_attempt_of_an_ordinary_user_runs_in_the_sandbox(seen: dict[str, Any]) -> None:
    if seen["refusal"] is not None:
        pytest.skip(f"Chromium's sandbox does not work on this host: {seen['refusal']}.")
    assert seen["title"] == "/there"
    assert seen["renderer"] == {"Seccomp": "2", "NoNewPrivs": "1"}
    assert seen["ownNamespaces"] == ["user", "pid", "net"]
    assert seen["noSandbox"] is False


def test_what_an_attempt_takes_is_measured_all_the_same(seen: dict[str, Any]) -> None:
    usage = seen["usage"]
    assert usage["peak_memory"] > 10 * 1024**2
    assert usage["cpu_seconds"] >= 0
    assert usage["bytes_received"] > 0
    assert seen["oomScore"] == "300"


def test_what_runs_python_is_closed_to_others_of_its_user(seen: dict[str, Any]) -> None:
    assert seen["closed"] == {"keeper": True, "supervisor": True, "zygote": True, "user": True}


def test_a_supervisor_that_is_closed_is_found_and_ended_all_the_same(seen: dict[str, Any]) -> None:
    assert seen["leftByAKilledKeeper"] == []
