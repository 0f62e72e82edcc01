from __future__ import annotations

import asyncio
import socket
import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from callboard.machines.package_box import kept
from callboard.machines.proxied import TOLD
from callboard.projects.processes import run_process
from callboard.projects.uv import ProjectUv, UvError, explain_error, mask_url_credentials, run_uv
from tests.support.certificates import Authority
from tests.support.package_box import package_box

LONG = timedelta(seconds=60)


@pytest.fixture
def silent_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An index that takes every request and answers none."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{listening.getsockname()[1]}/simple")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        yield


def endless(folder: Path, within: timedelta) -> asyncio.Task[str]:
    (folder / "requirements.txt").write_text("humanize\n")
    return asyncio.create_task(run_uv("pip", "compile", "requirements.txt", cwd=folder, timeout=within))


def uvs(folder: Path) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cwd() == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


async def test_a_cancelled_uv_is_killed(silent_index: None, tmp_path: Path):
    task = endless(tmp_path, LONG)
    async with asyncio.timeout(30):
        while not uvs(tmp_path):
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert uvs(tmp_path) == []


async def test_a_uv_that_takes_too_long_is_killed(silent_index: None, tmp_path: Path):
    with pytest.raises(UvError, match=r"it took longer than 0\.005 minutes"):
        await endless(tmp_path, timedelta(milliseconds=300))
    assert uvs(tmp_path) == []


async def test_what_uv_starts_for_a_project_sees_no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    hidden = ("CALLBOARD_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "TOKEN_OF_SOMETHING", "UV_PUBLISH_TOKEN")
    for name in (*hidden, "UV_INDEX_OURS_PASSWORD"):
        monkeypatch.setenv(name, "x")
    mine = Authority(tmp_path / "authority").sign("me")
    (tmp_path / "me.pem").write_text(mine.certificate.read_text() + mine.key.read_text())
    monkeypatch.setenv("SSL_CLIENT_CERT", str(tmp_path / "me.pem"))
    monkeypatch.setenv("UV_INDEX", "ours=https://me:word@a.example/simple")
    script = f"import os; print(*os.environ, os.environ['UV_INDEX'], os.path.exists('{tmp_path}/me.pem'))"
    (work := tmp_path / "work").mkdir()
    python = Path(sys.executable)
    args = ("run", "--no-project", "--offline", "--python", python, "python", "-c", script)
    names = await ProjectUv(package_box(), tmp_path / "uv", build_packages=False).run(
        *args, cwd=work, timeout=LONG, python=python
    )
    assert names.split()[-2:] == ["ours=https://a.example/simple", "False"]
    assert not {*hidden, "UV_INDEX_OURS_PASSWORD", "SSL_CLIENT_CERT", TOLD} & set(names.split())


DETACHES = """
import os, sys
for _ in range(2):
    if os.fork():
        os._exit(0)
    os.setsid()
os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(3600)"])
"""


async def test_what_detaches_itself_ends_with_the_program(tmp_path: Path):
    """It holds the output open, so whoever reads that would wait for it as well."""
    ended = await run_process(kept([sys.executable, "-c", DETACHES]), cwd=tmp_path, environment={}, timeout=LONG)
    assert ended.code == 0
    assert [each.pid for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(tmp_path)] == []


def test_passwords_are_taken_out_of_addresses():
    told = "Failed to fetch: `https://user:secret@example.org/simple/` via http://token@[::1]:8/x; mail a@b.org"
    assert mask_url_credentials(told) == (
        "Failed to fetch: `https://***@example.org/simple/` via http://***@[::1]:8/x; mail a@b.org"
    )


MISSING = """
    error: No solution found when resolving dependencies
      cause: Because nothing-like-it was not found in the package registry and you require nothing-like-it,
             we can conclude that your requirements are unsatisfiable.
"""
NO_VERSION = """
    error: No solution found when resolving dependencies
      cause: Because there is no version of humanize==99 and you require humanize==99, we can conclude that your
             requirements are unsatisfiable.
"""
CONFLICT = """
    error: No solution found when resolving dependencies
      cause: Because a==1 depends on b<2 and you require a==1, we can conclude that you require b<2.
             And because you require b==2, we can conclude that your requirements are unsatisfiable.

    hint: Have you tried something else?
"""
BUILD = """
    error: Failed to build `bad @ https://example.org/bad.tar.gz`
      cause: The build backend returned an error
      cause: Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)

             [stdout]
             running egg_info

             [stderr]
             Traceback (most recent call last):
               File "setup.py", line 1
             RuntimeError: needs libfoo

    hint: Build failures usually indicate a problem with the package or the build environment
"""
UNBUILT = """
    error: Failed to download and build `bad @ git+https://example.org/bad`
      cause: Building source distributions for `bad` is disabled
"""
UNREACHABLE = """
    error: Request failed after 3 retries in 5.7s
      cause: Failed to fetch: http://127.0.0.1:9/simple/humanize/
      cause: error sending request for url (http://127.0.0.1:9/simple/humanize/)
      cause: Connection refused (os error 111)
"""
SYNTAX = """
    warning: something else
    error: Couldn't parse requirement in `requirements.txt` at position 0
      cause: no such comparison operator "="
             humanize=4.9.0
                     ^^^^^^
"""


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (MISSING, "there is no package nothing-like-it in the package index"),
        (
            MISSING
            + "\n    hint: An index URL (http://h/simple) could not be queried due to a lack (401 Unauthorized)\n",
            "the package index http://h/simple wants other credentials than it is given (401 Unauthorized)",
        ),
        (NO_VERSION, "there is no version of humanize==99 in the package index"),
        (
            CONFLICT,
            (
                "a==1 depends on b<2 and you require a==1, so you require b<2. And you require b==2, "
                "so they cannot all be met"
            ),
        ),
        (BUILD, "bad cannot be built here: RuntimeError: needs libfoo"),
        (
            UNBUILT,
            (
                "bad has no wheel for this host here, and packages are not built from their sources, as "
                "CALLBOARD_BUILD_PACKAGES is false, or CALLBOARD_ISOLATION is none. Require a version that has wheels, "
                "or provide a wheel in your own index; or let the operator allow builds, which execute the package's "
                "code, by CALLBOARD_BUILD_PACKAGES=true at deploys and workers"
            ),
        ),
        (UNREACHABLE, "http://127.0.0.1:9/simple/humanize/ cannot be fetched (Connection refused (os error 111))"),
        (
            SYNTAX,
            (
                """Couldn't parse requirement in `requirements.txt` at position 0: no such comparison operator "=" """
                "humanize=4.9.0"
            ),
        ),
        ("ended, as it took more than 4096 MiB of memory\n", "it took more than 4096 MiB of memory"),
        ("killed", "killed"),
        ("", "it does not say"),
    ],
)
def test_a_failure_is_told_in_a_sentence(told: str, reason: str):
    assert explain_error(textwrap.dedent(told).lstrip()) == reason


def test_a_long_reason_keeps_its_beginning_and_its_end():
    reason = explain_error(
        "error: No solution found\n  cause: " + "Because a depends on b. " * 200 + "so it ends here."
    )
    assert len(reason) < 620
    assert reason.startswith("Because a depends")
    assert reason.endswith("so it ends here")
