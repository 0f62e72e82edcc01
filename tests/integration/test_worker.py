"""`python -m worker` as a process: it serves, leaves nothing, and says in a sentence why it cannot start."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from temporalio.client import Client

from callboard.dev import ports
from callboard.machines import host
from callboard.machines.isolation import find_isolation
from callboard.schemas.errors import ConfigurationError
from callboard.schemas.workflow import names
from callboard.settings import Settings
from callboard.storage.folder import FolderStore
from tests.chaos.lines import Line
from tests.support.attempt_worker import PATIENCE, deploy_project
from tests.support.pollers import is_polled
from tests.support.polling import until
from tests.support.processes import ENDS_WELL, running, surroundings
from tests.support.temporal_servers import dev_client, dev_server
from tests.support.worker_in_process import worker_process

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Client]:
    async with dev_server(tmp_path_factory.mktemp("temporal")) as server:
        yield await dev_client(server)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Of the worker that was started last."""
    return tmp_path / "worker.log"


@pytest.fixture
async def start(client: Client, tmp_path: Path, log: Path) -> AsyncGenerator[Start]:
    async with AsyncExitStack() as started:

        async def start(**settings: str) -> asyncio.subprocess.Process:
            defaults = {
                "CALLBOARD_DATA_DIR": str(tmp_path / "data"),
                "CALLBOARD_TEMPORAL_ADDRESS": client.service_client.config.target_host,
            }
            environment = surroundings(**(defaults | settings))
            worker = running(sys.executable, "-m", "worker", log=log, ends={*ENDS_WELL, 1}, env=environment)
            return await started.enter_async_context(worker)

        yield start


async def test_a_worker_tidies_up_waits_for_temporal_serves_and_leaves_nothing(
    start: Start, client: Client, log: Path, tmp_path: Path
) -> None:
    workers = tmp_path / "data" / "workers"
    killed = await start()
    await until(lambda: workers.is_dir() and list(workers.iterdir()))
    (dead,) = workers.iterdir()
    killed.kill()
    await killed.wait()
    assert dead.exists()

    await deploy_project(FolderStore(tmp_path / "data" / "artifacts"), tmp_path / "project", "shop")
    server = int(client.service_client.config.target_host.rpartition(":")[2])
    async with Line.to(server, ports.choose_ports({"--port": 0})["--port"]) as line:
        line.cut("refused")
        process = await start(
            CALLBOARD_TEMPORAL_ADDRESS=f"127.0.0.1:{line.port}",
            CALLBOARD_ISOLATION="open",
            CALLBOARD_BROWSER_DENY="10.0.0.0/8",
        )
        await until(lambda: re.search("cannot be reached at 127.0.0.1:.* The worker tries again", log.read_text()))
        line.mend()
        await until(lambda: "is ready" in log.read_text())
        await until(lambda: is_polled(client, names.project_queue("shop")), every=0.05)
        assert process.returncode is None
        await until(lambda: not dead.exists())
        assert len(list(workers.iterdir())) == 1
        folders = [tmp_path / "data" / name for name in ("workers", "versions", "environments")]
        assert [folder.stat().st_mode & 0o077 for folder in folders] == [0, 0, 0], "these are for nobody else"
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), PATIENCE)
    output = log.read_text()
    assert process.returncode == 0, output
    assert "WARNING callboard.machines.host: The level of isolation is open: each Machine is boxed, but" in output
    assert "WARNING callboard.machines.host: CALLBOARD_BROWSER_DENY closes nothing" in output
    assert list(workers.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"CALLBOARD_TEMPORAL_NAMESPACE": "nowhere"}, "Namespace nowhere is not found"),
        ({"CALLBOARD_CHROMIUM": "/nowhere/chromium"}, "CALLBOARD_CHROMIUM names /nowhere/chromium"),
        ({"CALLBOARD_SECRET_KEY": "short"}, "CALLBOARD_SECRET_KEY"),
        ({"CALLBOARD_METRICS_ADDRESS": "192.0.2.1:9464"}, "listen at 192.0.2.1:9464"),
        ({"CALLBOARD_HEALTH_ADDRESS": "192.0.2.1:9470"}, "listen at 192.0.2.1:9470"),
        ({"CALLBOARD_BROWSER_DENY": "nowhere.invalid"}, "CALLBOARD_BROWSER_DENY names the host nowhere.invalid"),
    ],
    ids=["namespace", "chromium", "secret-key", "metrics-address", "health-address", "browser-deny"],
)
async def test_what_keeps_it_from_starting_is_told_in_a_sentence(
    start: Start, log: Path, tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    process = await start(**settings)
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith("callboard worker: ")
    assert words in last
    assert "Traceback" not in log.read_text()
    workers = tmp_path / "data" / "workers"
    assert not workers.exists() or list(workers.iterdir()) == []


async def test_told_to_stop_it_does_not_wait_for_temporal_any_longer(start: Start, log: Path) -> None:
    free = ports.choose_ports({"--port": 0})["--port"]
    process = await start(CALLBOARD_TEMPORAL_ADDRESS=f"127.0.0.1:{free}")
    await until(lambda: "The worker tries again" in log.read_text())
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith(f"callboard worker: Temporal cannot be reached at 127.0.0.1:{free}. Start it, or set")


async def test_it_does_not_start_where_full_isolation_is_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = partial(find_isolation, box_refusal=lambda: None, network_refusal=lambda: "no tun")
    monkeypatch.setattr(host, "find_isolation", found)
    with pytest.raises(ConfigurationError, match="no network of their own here: no tun"):
        await worker_process.serve(Settings(isolation="full", data_dir=tmp_path), asyncio.Event())
