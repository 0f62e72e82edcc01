from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pydantic import SecretStr

from callboard.dev import ports
from callboard.dev.banner import banner
from callboard.dev.dev import DevStack
from callboard.dev.events import Event
from callboard.schemas.errors import StackError
from callboard.settings import Settings
from tests.support.files import write_files
from tests.support.polling import until
from tests.support.rest import Rest

API = """
async def automation(page, params=None, **_):
    return {"hello": params["name"]}
"""
MEMBERS = {
    "Intuned.json": '{"authSessions": {"enabled": true, "type": "API"}}',
    "api/account.py": API,
    "auth-sessions/check.py": "async def check(page): return True",
    "auth-sessions/create.py": """
from callboard_runtime import NotRetryable
async def create(page, params):
    raise NotRetryable("the site refuses it")
""",
}
GOOD = {"api": "hello", "parameters": {"name": "Ada"}}
BAD = {"api": "hello", "parameters": {}, "retry": {"maximumAttempts": 1}}


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    write_files(tmp_path / "projects" / "greeter", {"Intuned.json": "{}", "api/hello.py": API})
    return tmp_path / "projects"


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


async def run_one(stack: DevStack, name: str) -> dict[str, Any]:
    async with Rest.of(stack.url, key=stack.api_key, project="greeter") as rest:
        return await rest.run("hello", {"name": name})


async def fail_to_start(projects: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a stack that is not ready in time, and see that nothing of it is left running."""
    with monkeypatch.context() as patched:
        patched.setattr("callboard.dev.dev._READY_TIMEOUT", timedelta(seconds=0.01))
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
    sample = ".parameters/api/hello/default.json"
    write_files(projects / "greeter", {sample: '{"name": "Ada"}'})
    files = {"Intuned.json": "{}", "api/hello.py": API, sample: '{"url": "https://site.example/"}'}
    write_files(projects / "first-by-name", files)
    write_files(projects / "first-that-logs-in", MEMBERS)
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
        assert f"http://127.0.0.1:{stack.settings.viewer_listens_on} " in text
        assert "/greeter/run/start" in text.partition("\nTry:\n")[2]
        assert """-d '{"api": "hello", "parameters": {"name": "Ada"}}'""" in text
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


async def test_runs_that_end_are_told_and_keys_of_the_settings_are_not(projects: Path, data: Path) -> None:
    write_files(projects / "members", MEMBERS)
    keys, told = [SecretStr("first-key-of-two-of-this-test"), SecretStr("second-key-of-two-of-this-test")], list[str]()
    async with make_stack(projects, data, told.append, api_keys=keys) as stack:
        assert stack.api_key == "first-key-of-two-of-this-test"
        assert "first-key" not in banner(stack)
        assert not (data / "api-key").exists()
        waiting = asyncio.create_task(stack.wait())
        try:
            async with Rest.of(stack.url, key=stack.api_key, project="greeter") as rest:
                ids = [(await rest.post("run/start", body))["runId"] for body in (GOOD, BAD)]
            async with Rest.of(stack.url, key=stack.api_key, project="members") as rest:
                made = await rest.post("auth-sessions/create", {"id": "eve", "parameters": {}})
                ids.append(made["operationId"])
                good, bad, login = [
                    await until(lambda run_id=run_id: [line for line in told if run_id in line]) for run_id in ids
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
        assert login[0].startswith("failed     members/auth-session-create eve  ")
        assert "NotRetryable: the site refuses it" in login[0]
    assert processes_on(data) == []
    assert not any("first-key" in line for line in told)


async def test_a_port_in_use_is_told_before_anything_starts(projects: Path, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} is in use"):
            async with make_stack(projects, data, port=port):
                pass
    assert not (data / "temporal.db").exists()
    assert processes_on(data) == []
