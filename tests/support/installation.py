"""An installation: apis and workers as processes of their own, which share Temporal and a store.

`tests/support/stack.py` has the same parts as `callboard dev` starts them, which supervises them and starts each again
that ends. Here each part is a test's own, to start, to kill and to do without.
"""

from __future__ import annotations

import json
import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client

from callboard.dev import ports
from callboard.dev.temporal import TemporalServer
from callboard.machines.keeper_process import processes_of
from callboard.projects.catalog import Catalog
from callboard.projects.deploy import deploy
from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.run import RunInput
from callboard.settings import Settings
from callboard.storage.factory import open_store
from callboard.temporal.client import connect
from callboard.temporal.fleet import FleetClient
from callboard.temporal.fleet_view import FleetReader
from callboard.temporal.runs import Runs
from tests.support.certificates import Authority
from tests.support.cloud_proxy import CloudProxy
from tests.support.delivery_inputs import json_text
from tests.support.files import write_files
from tests.support.polling import until
from tests.support.present import present
from tests.support.processes import CALLBOARD, Done, execute, running, surroundings
from tests.support.rest import PATIENCE, Rest
from tests.support.temporal_servers import dev_server

KEY = "key-of-the-installation"
NAMESPACE = "shop.abc12"
SERVER_NAME = f"{NAMESPACE}.tmprl.cloud"
API_KEY = "the-api-key-of-the-namespace"
GATE = """
import asyncio
from pathlib import Path

async def automation(page, params, **_):
    Path(params["folder"], f"begun-{params['n']}").touch()
    while not Path(params["folder"], "go").exists():
        await asyncio.sleep(0.02)
    return params["n"]
"""
ALIVE = """
import asyncio
import os
from pathlib import Path

async def automation(page, params, **_):
    alive = Path(params["folder"], f"alive-{params['n']}-{os.urandom(4).hex()}")
    while not Path(params["folder"], "go").exists():
        alive.touch()
        await asyncio.sleep(0.05)
    return params["n"]
"""
_ALIVE_WITHIN = 0.3
"""Seconds since its last sign of life in which an Attempt is taken to be executed."""


@dataclass(frozen=True)
class Part:
    """One process, with a data folder of its own."""

    data: Path
    log: Path
    process: Process

    def says(self, words: str) -> bool:
        return words in self.log.read_text()


class Parts:
    """What all parts of an installation are told, and how they are started."""

    def __init__(self, folder: Path, *, project: str, **environment: str) -> None:
        """Start nothing yet.

        Args:
            folder: Folder for data and logs, which user code shares.
            project: The project that Runs are of.
            environment: What the parts are told beside the defaults: where Temporal is, at least.
        """
        self.folder = folder
        self.project = project
        self.environment = surroundings(
            **{
                "CALLBOARD_API_KEYS": KEY,
                "CALLBOARD_SECRET_KEY": "sealing-key-of-the-installation",
                "CALLBOARD_WEBHOOK_SECRETS": "whsec_" + "c2lnbmluZyBzZWNyZXQgb2YgdGhlIGNsb3VkIQ==",
                "CALLBOARD_EGRESS_ALLOW": "127.0.0.0/8",
                "CALLBOARD_ARTIFACTS": str(folder / "artifacts"),
                "CALLBOARD_VIEWER_PORT": "0",
                "CALLBOARD_SHARED_FOLDERS": str(folder),
                **environment,
            }
        )

    @asynccontextmanager
    async def part(self, name: str, *command: str, **environment: str) -> AsyncGenerator[Part]:
        """Run a `callboard` command with a log and a data folder of this name until the block ends."""
        data, log = self.folder / name, self.folder / f"{name}.log"
        env = self.environment | {"CALLBOARD_DATA_DIR": str(data)} | environment
        async with running(CALLBOARD, *command, log=log, cwd=self.folder, env=env) as process:
            yield Part(data, log, process)

    async def worker(self, resources: AsyncExitStack, name: str, *options: str, **environment: str) -> Part:
        """Start a worker, and wait until it is ready."""
        part = await resources.enter_async_context(self.part(name, "worker", *options, **environment))
        await until(lambda: part.says("is ready") or part.process.returncode is not None, PATIENCE)
        assert part.process.returncode is None, part.log.read_text()
        return part

    @asynccontextmanager
    async def api(self, name: str = "api", **environment: str) -> AsyncGenerator[Rest]:
        """Run an api until the block ends, and yield a client of it once it is ready."""
        port = str(ports.choose_ports({"--port": 0})["--port"])
        async with (
            self.part(name, "api", **{"CALLBOARD_PORT": port, **environment}) as part,
            Rest.of(f"http://127.0.0.1:{port}", key=KEY, project=self.project) as rest,
        ):

            async def is_ready() -> bool:
                assert part.process.returncode is None, part.log.read_text()
                return await rest.is_ready()

            await until(is_ready, PATIENCE, every=0.05)
            yield rest

    async def command(self, *arguments: str, **environment: str) -> Done:
        """Run a `callboard` command to its end."""
        env = self.environment | {"CALLBOARD_DATA_DIR": str(self.folder / "commands")} | environment
        return await execute(CALLBOARD, *arguments, cwd=self.folder, env=env)

    async def deploy(self, files: Mapping[str, str]) -> str:
        """Publish a project of these files by `callboard deploy`; what it prints."""
        folder = write_files(self.folder / self.project, files)
        code, out, err = await self.command("deploy", str(folder))
        assert code == 0, err
        return out


class Installation(Parts):
    """Without an api: Runs of the project `shared` are started at Temporal."""

    def __init__(self, folder: Path, temporal: TemporalServer, client: Client) -> None:
        super().__init__(folder, project="shared", CALLBOARD_TEMPORAL_ADDRESS=temporal.address)
        self.temporal = temporal
        self.client = client
        self.runs = Runs(client)
        self.version = ""

    async def publish(self, machines: int, name: str = "shared") -> None:
        """Deploy the project, under this name and with this number of Machines."""
        settings = json.dumps({"projectName": name, "replication": {"maxConcurrentRequests": machines}})
        files = {"Intuned.json": settings, "api/alive.py": ALIVE, "api/gate.py": GATE}
        project = write_files(self.folder / "project", files)
        self.version = (await deploy(project, open_store(str(self.folder / "artifacts")))).version

    async def start(
        self,
        run_id: str,
        n: int,
        *,
        api: str = "gate",
        maximum_attempts: int = 1,
        project: str = "shared",
        queue_timeout: timedelta | None = None,
    ) -> None:
        run_input = RunInput(
            workspace="w",
            project=project,
            version=self.version,
            api=api,
            parameters=json_text({"folder": str(self.folder), "n": n}),
            maximum_attempts=maximum_attempts,
            request_timeout=timedelta(minutes=5),
            queue_timeout=queue_timeout,
        )
        assert await self.runs.start(run_id, run_input, fingerprint="")

    async def fleet(self) -> dict[str, Any]:
        """What the api answers of the fleet, as soon as it can: Temporal may ask a worker first that has just died."""
        deployed = await Catalog(open_store(str(self.folder / "artifacts"))).sizes()

        async def read() -> dict[str, Any] | None:
            try:
                fleet = await FleetReader(FleetClient(self.client)).read(deployed)
            except Unavailable:
                return None
            return fleet.model_dump(mode="json", by_alias=True)

        return present(await until(read))

    @property
    def executed(self) -> list[str]:
        """The Attempts of API `alive` that are executed now, as their own signs of life tell."""
        now = time.time()
        return [path.name for path in self.folder.glob("alive-*") if now - path.stat().st_mtime < _ALIVE_WITHIN]

    @property
    def begun(self) -> int:
        return len(list(self.folder.glob("begun-*")))


@asynccontextmanager
async def installed(tmp_path: Path) -> AsyncGenerator[Installation]:
    """An installation in this folder, with the project deployed and no worker yet."""
    async with dev_server(tmp_path / "temporal") as temporal:
        client = await connect(Settings(temporal_address=temporal.address), lazy=True)
        made = Installation(tmp_path, temporal, client)
        await made.publish(2)
        yield made
    assert processes_of(tmp_path) == []


class CloudInstallation(Parts):
    """Whose Temporal is behind a proxy like Temporal Cloud."""

    rest: Rest
    """Its api, while one runs."""

    def __init__(self, folder: Path, authority: Authority, proxy: CloudProxy) -> None:
        super().__init__(
            folder,
            project="cloud",
            HOME=str(folder),
            CALLBOARD_BROWSER_ALLOW="127.0.0.0/8",
            TEMPORAL_ADDRESS=proxy.address,
            TEMPORAL_NAMESPACE=NAMESPACE,
            TEMPORAL_TLS_SERVER_NAME=SERVER_NAME,
            TEMPORAL_TLS_SERVER_CA_CERT_PATH=str(authority.file),
        )
        self.authority = authority
        self.proxy = proxy

    def use_certificate(self) -> None:
        """Let the processes have a client certificate."""
        client = self.authority.sign("client")
        self.environment["TEMPORAL_TLS_CLIENT_CERT_PATH"] = str(client.certificate)
        self.environment["TEMPORAL_TLS_CLIENT_KEY_PATH"] = str(client.key)

    def use_api_key(self) -> None:
        """Let the processes have the API key, from a profile in a file."""
        file = self.folder / "temporal.toml"
        file.write_text(f'[profile.shop]\napi_key = "{API_KEY}"\naddress = "not.this.one:7233"\n')
        self.environment["TEMPORAL_CONFIG_FILE"] = str(file)
        self.environment["TEMPORAL_PROFILE"] = "shop"
