from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pydantic import SecretStr

from devstack import ports
from devstack.banner import banner
from devstack.dev import DevStack
from devstack.events import Event
from schemas.errors import StackError
from settings import Settings
from tests.support.polling import until
from tests.support.processes import find_child, find_temporal
from tests.support.rest import Rest

API = """
async def automation(page, params=None, **_):
    return {"hello": params["name"]}
"""
GOOD = {"api": "hello", "parameters": {"name": "Ada"}}
BAD = {"api": "hello", "parameters": {}, "retry": {"maximumAttempts": 1}}


def make_projects(folder: Path) -> Path:
    for name, settings in {"greeter": '{"projectName": "greeter"}', "wrong": '{"apiAccess": 7}'}.items():
        (folder / "projects" / name / "api").mkdir(parents=True)
        (folder / "projects" / name / "Intuned.json").write_text(settings)
        (folder / "projects" / name / "api" / "hello.py").write_text(API)
    return folder / "projects"


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    return make_projects(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def make_stack(projects: Path, data: Path, report: Callable[[str], None] = print, **settings: Any) -> DevStack:
    plain: dict[str, Any] = {"api_keys": [], "secret_key": [], "webhook_secrets": [], "port": 0}
    given: dict[str, Any] = plain | {"artifacts": f"{data}/artifacts"} | settings
    return DevStack(projects, Settings(data_dir=data, **given), temporal_port=0, ui_port=0, report=report)


def processes_on(data: Path) -> list[str]:
    """Command lines of all processes that have to do with a data folder."""
    found: list[str] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = process.cmdline()
            if process.pid != os.getpid() and any(str(data) in text for text in [*line, *process.environ().values()]):
                found.append(" ".join(line))
    return found


def find_process(data: Path, name: str) -> psutil.Process:
    """The process of this name of the stack with a data folder."""
    return find_temporal(data) if name == "temporal" else find_child(name, data)


async def run_one(stack: DevStack, name: str) -> dict[str, Any]:
    async with Rest.of(stack.url, key=stack.api_key, project="greeter") as rest:
        return await rest.run("hello", {"name": name})


@dataclass
class Running:
    """A stack that is up, and what it has reported."""

    stack: DevStack
    told: list[str]
    projects: Path
    data: Path


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Running]:
    """One for the tests that leave it as it was, with keys of its own. It leaves nothing, whatever was done to it."""
    folder, told = tmp_path_factory.mktemp("running"), list[str]()
    keys = [SecretStr("first-key-of-two-of-this-test"), SecretStr("second-key-of-two-of-this-test")]
    projects, data = make_projects(folder), folder / "data"
    data.mkdir()
    data.chmod(0o755)
    async with make_stack(projects, data, told.append, api_keys=keys) as stack:
        yield Running(stack, told, projects, data)
    assert processes_on(data) == []
    assert not (data / "dev.json").exists()


async def test_every_good_project_is_served_and_the_broken_one_is_named(running: Running) -> None:
    stack = running.stack
    assert [manifest.project for manifest in stack.projects.deployed] == ["greeter"]
    assert [project.folder.name for project in stack.projects.broken] == ["wrong"]
    assert (await run_one(stack, "Ada"))["result"] == {"hello": "Ada"}
    text = banner(stack)
    assert "greeter" in text
    assert "NOT DEPLOYED wrong" in text
    assert "apiAccess" in text


async def test_its_data_is_private_even_in_a_world_readable_folder(running: Running) -> None:
    await run_one(running.stack, "Ada")
    files = [path for path in running.data.rglob("*") if not path.is_symlink()]
    assert {"temporal.db", "worker.log"} <= {path.name for path in files}
    assert [path for path in running.data.iterdir() if path.stat().st_mode & 0o077] == []
    assert running.data.stat().st_mode & 0o077 == 0o055


async def test_clients_find_it_by_its_address_card_while_it_runs(running: Running) -> None:
    stack, card = running.stack, running.data / "dev.json"
    assert stat.S_IMODE(card.stat().st_mode) == 0o600
    assert json.loads(card.read_text()) == {
        "url": stack.url,
        "apiKey": stack.api_key,
        "workspaceId": "00000000-0000-0000-0000-000000000000",
        "temporalAddress": stack.temporal.address,
        "temporalUiUrl": stack.temporal.ui_url,
        "pid": os.getpid(),
    }


async def fail_to_start(projects: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a stack that is not ready in time, and see that nothing of it is left running."""
    with monkeypatch.context() as patched:
        patched.setattr("devstack.dev._READY_TIMEOUT", timedelta(seconds=0.01))
        with pytest.raises(StackError, match=r"was not ready within 0\.01 seconds"):
            async with make_stack(projects, data):
                pass
    assert processes_on(data) == []
    assert not (data / "dev.json").exists()


async def test_a_failed_start_leaves_nothing_and_only_a_new_key_is_shown(
    projects: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file, secret_file = data / "api-key", data / "webhook-secret"
    await fail_to_start(projects, data, monkeypatch)  # which uses up no key
    async with make_stack(projects, data) as stack:
        key = stack.api_key
        assert key_file.read_text().strip() == key
        (secret,) = stack.settings.webhook_secrets
        assert secret_file.read_text() == secret.get_secret_value() + "\n"
        assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
        text = banner(stack)
        assert key in text
        assert secret.get_secret_value() not in text
        assert f"signed with the secret in {secret_file}" in text
        assert {"127.0.0.0/8", "::1/128"} <= set(stack.settings.egress_allow), "a receiver may be on this machine"
        assert {"127.0.0.0/8", "::1/128"} <= set(stack.settings.browser_allow), "and so may a site"
        temporal_port = int(stack.temporal.address.rpartition(":")[2])
        assert temporal_port in stack.settings.own_ports
        assert len(stack.settings.own_ports) > 2, "its other services listen, too"
        await run_one(stack, "Ada")
        assert "Metrics" not in text, "they are off unless somebody wants them"
    free = ports.choose_ports({"": 0})[""]
    address = f"127.0.0.1:{free}"
    async with make_stack(projects, data, egress_allow=["10.0.0.0/8"], metrics_address=address) as stack:
        async with httpx.AsyncClient(trust_env=False) as client:
            for role, port in (("api", free), ("worker", free + 1)):
                told = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
                assert f'callboard_build_info{{role="{role}"' in told
                assert f"Metrics      http://127.0.0.1:{port}/metrics   ({role})" in banner(stack)
                assert port in stack.settings.own_ports, "no Machine may connect to it"
        assert stack.api_key == key
        assert stack.settings.webhook_secrets == [secret]
        text = banner(stack)
        assert key not in text
        assert secret.get_secret_value() not in text
        assert str(key_file) in text
        assert "10.0.0.0/8" in stack.settings.egress_allow
    for log in (data / "logs").iterdir():
        for word in (key, secret.get_secret_value()):
            assert word not in log.read_text(errors="replace"), log


async def test_keys_of_the_settings_are_used_and_shown_nowhere(running: Running) -> None:
    assert running.stack.api_key == "first-key-of-two-of-this-test"
    assert "first-key" not in banner(running.stack)
    assert not (running.data / "api-key").exists()


async def test_a_second_stack_on_the_same_data_is_refused_and_disturbs_nothing(running: Running) -> None:
    with pytest.raises(StackError, match=f"process {os.getpid()}"):
        async with make_stack(running.projects, running.data):
            pass
    assert (await run_one(running.stack, "Ada"))["status"] == "completed"


async def test_each_run_that_ends_is_told_with_its_page_and_its_error(running: Running) -> None:
    stack = running.stack
    waiting = asyncio.create_task(stack.wait())
    try:
        async with Rest.of(stack.url, key=stack.api_key, project="greeter") as rest:
            ids = [(await rest.post("run/start", body))["runId"] for body in (GOOD, BAD)]
            good, bad = [
                await until(lambda run_id=run_id: [line for line in running.told if run_id in line]) for run_id in ids
            ]
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})
    (event,) = good
    assert isinstance(event, Event)
    assert event.startswith("completed  greeter/hello  ")
    page = f"{stack.url}/projects/greeter/runs/{ids[0]}"
    assert (event.kind, event.fields["status"], event.fields["url"]) == ("run", "completed", page)
    assert "failed     greeter/hello" in bad[0]
    assert "(api/hello.py:" in bad[0]


async def test_a_port_in_use_is_told_before_anything_starts(projects: Path, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} is in use"):
            async with make_stack(projects, data, port=port):
                pass
    assert not (data / "temporal.db").exists()
    assert processes_on(data) == []


@pytest.mark.parametrize("name", ["temporal", "api", "worker"])
async def test_a_killed_process_is_started_again_and_runs_go_on(running: Running, name: str) -> None:
    stack = running.stack
    killed = find_process(running.data, name)
    killed.kill()
    async with Rest.of(stack.url, key=stack.api_key) as rest:

        async def is_back() -> bool:
            with suppress(LookupError, psutil.Error):
                return find_process(running.data, name) != killed and await rest.is_ready()
            return False

        await until(is_back, every=0.05)
    assert any(f"{name} ended unexpectedly (by SIGKILL)" in line for line in running.told)
    assert (await run_one(stack, "Grace"))["result"] == {"hello": "Grace"}
