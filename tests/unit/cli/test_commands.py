import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from tests.support.processes import callboard_process as callboard


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "greeter"
    (folder / "api" / "deep").mkdir(parents=True)
    (folder / "Intuned.json").write_text("{}")
    for api in ("hello", "deep/2-level"):
        (folder / "api" / f"{api}.py").write_text("async def automation(page, params=None, **_):\n    return 1\n")
    return folder


def test_version_is_that_of_the_installed_package(tmp_path: Path):
    assert callboard("--version", cwd=tmp_path).stdout == f"callboard {version('callboard')}\n"


def test_deploy_prints_what_it_published_and_where(project: Path, tmp_path: Path):
    store, other = tmp_path / "store", tmp_path / "other"
    (project / "api" / "broken.py").write_text("async def automation(page:\n")
    done = callboard("deploy", project, "--artifacts", store, cwd=tmp_path, CALLBOARD_ARTIFACTS=str(other))
    assert done.returncode == 0
    (version,) = (store / "projects/greeter/versions").iterdir()
    assert f"Deployed greeter, version {version.name}" in done.stdout
    assert not other.exists(), "an option beats the environment"
    assert str(store) in done.stdout
    assert "APIs: broken, deep/2-level, hello" in done.stdout
    assert "warning: api/broken.py" in done.stderr


def test_a_deploy_notes_message_and_commit_and_may_only_store_the_version(project: Path, tmp_path: Path):
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@a", "-C", str(project))
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "begin")):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    for options, expected in ((("-m", "begin"), commit), (("--no-promote",), f"{commit}-dirty")):
        done = callboard("deploy", project, "--artifacts", tmp_path / "store", *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (project / "api" / "hello.py").write_text("async def automation(page): ...\n")
        *_, latest = sorted((tmp_path / "store/projects/greeter/deploys").iterdir())
        assert json.loads(latest.read_text())["commit"] == expected
    assert done.stdout.startswith("Stored greeter, version ")
    assert json.loads(latest.read_text())["promoted"] is False


@pytest.mark.parametrize(
    ("machines", "told"),
    [
        ('"two"', ["Intuned.json: replication.maxConcurrentRequests"]),
        ("3", ["greeter asks for 3 Machines", "may have 2 (CALLBOARD_MAX_MACHINES)"]),
    ],
)
def test_a_deploy_is_refused_in_one_line(project: Path, tmp_path: Path, machines: str, told: list[str]):
    (project / "Intuned.json").write_text(f'{{"replication": {{"maxConcurrentRequests": {machines}}}}}')
    options = ("deploy", project, "--artifacts", tmp_path / "store")
    done = callboard(*options, cwd=tmp_path, CALLBOARD_MAX_MACHINES="2")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert all(words in done.stderr for words in told)
    assert not (tmp_path / "store").exists()


def test_commands_do_not_depend_on_what_lies_in_the_working_folder(project: Path, tmp_path: Path):
    for name in ("callboard.py", "worker.py", "workflows.py"):
        (project / name).write_text("raise SystemExit('this is user code')\n")
    (project / "api" / "__init__.py").write_text("raise SystemExit('this is user code')\n")
    done = callboard("deploy", ".", "--artifacts", tmp_path / "store", cwd=project)
    assert done.returncode == 0, done.stderr
    served = callboard("api", cwd=project, CALLBOARD_PORT="nowhere")
    assert "this is user code" not in served.stderr


def test_config_shows_every_setting_and_no_secret(tmp_path: Path):
    done = callboard("config", cwd=tmp_path, CALLBOARD_API_KEYS="very-secret,other-secret", CALLBOARD_PORT="8123")
    assert done.returncode == 0
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert lines["CALLBOARD_PORT"] == ["environment", "8123"]
    assert lines["CALLBOARD_HOST"] == ["default", "127.0.0.1"]
    assert lines["CALLBOARD_AUDIT_RETENTION"] == ["default", "365", "days"]
    assert lines["CALLBOARD_API_KEYS"] == ["environment", "********,", "********"]
    assert "secret" not in done.stdout


@pytest.mark.parametrize("command", ["config", "dev", "api", "worker"])
def test_a_wrong_setting_is_one_line_that_names_its_variable(command: str, tmp_path: Path):
    done = callboard(command, cwd=tmp_path, CALLBOARD_DRAIN="soon")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "CALLBOARD_DRAIN" in done.stderr


def test_api_serves_on_the_given_port_until_it_is_told_to_stop(tmp_path: Path, free_port: int):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    environment = clean | {
        "CALLBOARD_API_KEYS": "a-key-for-this-test-only",
        "CALLBOARD_SECRET_KEY": "a-secret-for-this-test-only",
        "CALLBOARD_DATA_DIR": str(tmp_path / "data"),
    }
    command = [Path(sys.executable).with_name("callboard"), "api", "--port", str(free_port)]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=log) as api,
    ):
        try:
            transport = httpx.HTTPTransport(retries=12)  # each waits longer than the one before
            with httpx.Client(transport=transport, trust_env=False) as client:
                assert client.get(f"http://127.0.0.1:{free_port}/healthz", timeout=30).status_code == 200
            api.terminate()
            assert api.wait(30) in {0, -15}
        finally:
            api.kill()
