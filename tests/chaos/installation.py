"""The installation: Temporal, an S3 server, two apis, a control worker and three browser workers, as plain processes.

Each part of Callboard reaches Temporal and the store by lines of its own, which can be cut. Whatever ends is started
again, as a service manager does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from callboard.dev import ports
from callboard.dev.child import SupervisedProcess
from callboard.dev.temporal import TemporalServer
from callboard.settings import Settings
from callboard.temporal.client import connect
from callboard.temporal.fleet import FleetClient
from callboard.temporal.fleet_view import describe_fleet
from tests.chaos.lines import Line
from tests.chaos.schedule import APIS, CONTROL, WORKERS
from tests.support.polling import until
from tests.support.processes import CALLBOARD, execute, surroundings
from tests.support.rest import Rest
from tests.support.s3_server import BUCKET, S3Server, s3_server

KEY = "key-of-the-installation-in-chaos"
WEBHOOK_SECRET = "whsec_Y2hhb3MtY2hhb3MtY2hhb3MtY2hhb3Mt"
RESULTS = "results"
"""The bucket for results that are delivered."""
CAPACITY = 4
"""Machines of each worker."""
_GRACE = timedelta(seconds=60)
_READY_WITHIN = 120
_COMMAND_WITHIN = 600


@dataclass(frozen=True)
class Part:
    """One process, which is started again whenever it ends."""

    name: str
    process: SupervisedProcess
    lines: Mapping[str, Line] = field(default_factory=dict[str, Line])
    """Its connections, by the server that they lead to."""


@dataclass
class Installation:
    """All parts, and how they are reached."""

    folder: Path
    environment: dict[str, str]
    """That of every process of Callboard, without the address of Temporal."""
    temporal: TemporalServer
    store: S3Server
    parts: dict[str, Part]
    apis: list[str]
    """Addresses."""

    @property
    def ours(self) -> list[Part]:
        """The parts that are Callboard's own."""
        return [part for part in self.parts.values() if part.lines]

    @property
    def workers_data(self) -> list[Path]:
        """The data folders of workers."""
        return [self.folder / name for name in (*WORKERS, CONTROL)]

    async def command(self, *arguments: str | Path) -> str | None:
        """Return what a `callboard` command prints; None if it fails."""
        environment = self.environment | {
            "CALLBOARD_TEMPORAL_ADDRESS": self.temporal.address,
            "CALLBOARD_ARTIFACTS_ENDPOINT": self.store.endpoint,
            "CALLBOARD_DATA_DIR": str(self.folder / "commands"),
        }
        done = await execute(CALLBOARD, *arguments, within=_COMMAND_WITHIN, env=environment)
        return done.out if done.code == 0 else None

    async def leases(self) -> list[str]:
        """Return the workers that have a lease; raises Unavailable if nobody says."""
        client = await connect(Settings(temporal_address=self.temporal.address))
        state = await FleetClient(client).read_state()
        return [worker.worker for worker in describe_fleet(state, datetime.now(UTC), {}).workers]

    async def stop(self, *names: str) -> None:
        """Stop these parts as a service manager does it."""
        await asyncio.gather(*(self.parts[name].process.stop() for name in names))


@asynccontextmanager
async def installed(
    folder: Path,
    exchange: Path,
    report: Callable[[str], None],
    names: Sequence[str] = (*APIS, CONTROL, *WORKERS),
) -> AsyncGenerator[Installation]:
    """Run the installation until the block ends.

    Args:
        folder: An empty folder for everything that it keeps.
        exchange: The folder in which user code records what it does.
        report: Function that takes a line whenever a part is started again.
        names: The parts of Callboard that there are.
    """
    async with AsyncExitStack() as resources:
        wanted = [f"{name} {what}" for name in names for what in ("port", "viewer", "temporal", "store")]
        free = ports.choose_ports(dict.fromkeys([*wanted, "temporal", "ui", "store"], 0))
        (folder / "temporal").mkdir(parents=True)
        temporal = TemporalServer(folder / "temporal", port=free["temporal"], ui_port=free["ui"], report=report)
        resources.push_async_callback(temporal.stop)
        await temporal.start()
        store = await resources.enter_async_context(s3_server(folder / "store", free["store"], report=report))
        (folder / "store" / "buckets" / RESULTS).mkdir()
        environment = _environment(folder, exchange, store)
        parts: dict[str, Part] = {
            "temporal": Part("temporal", temporal.process),
            "store": Part("store", store.process),
        }
        for name in names:
            lines = {
                server: await resources.enter_async_context(Line.to(free[server], free[f"{name} {server}"]))
                for server in ("temporal", "store")
            }
            process = SupervisedProcess(
                name,
                [CALLBOARD, *_command(name)],
                log=folder / "logs" / f"{name}.log",
                environment=environment
                | {
                    "CALLBOARD_DATA_DIR": str(folder / name),
                    "CALLBOARD_PORT": str(free[f"{name} port"]),
                    "CALLBOARD_VIEWER_PORT": str(free[f"{name} viewer"]),
                    "CALLBOARD_TEMPORAL_ADDRESS": f"127.0.0.1:{lines['temporal'].port}",
                    "CALLBOARD_ARTIFACTS_ENDPOINT": f"http://127.0.0.1:{lines['store'].port}",
                },
                grace=_GRACE,
                report=report,
            )
            resources.push_async_callback(process.stop)
            parts[name] = Part(name, process, lines)
            await process.start()
        apis = {name: f"http://127.0.0.1:{free[f'{name} port']}" for name in names if name in APIS}
        for name in names:
            process = parts[name].process
            await process.wait_until_ready(_wait_until_ready(process.log, apis.get(name)))
        yield Installation(folder, environment, temporal, store, parts, list(apis.values()))


def _command(name: str) -> list[str]:
    if name in APIS:
        return ["api"]
    return ["worker", "--role", "control" if name == CONTROL else "browser"]


async def _wait_until_ready(log: Path, address: str | None) -> None:
    if address is None:
        await until(lambda: log.exists() and "is ready" in log.read_text(), within=_READY_WITHIN, every=0.1)
        return
    async with Rest.of(address, key=KEY) as rest:
        await until(rest.is_ready, within=_READY_WITHIN, every=0.1)


def _environment(folder: Path, exchange: Path, store: S3Server) -> dict[str, str]:
    return surroundings(
        HOME=str(folder),
        CALLBOARD_API_KEYS=KEY,
        CALLBOARD_SECRET_KEY="sealing-key-of-the-installation",
        CALLBOARD_WEBHOOK_SECRETS=WEBHOOK_SECRET,
        CALLBOARD_EGRESS_ALLOW="127.0.0.1",
        CALLBOARD_ARTIFACTS=f"s3://{BUCKET}/callboard",
        CALLBOARD_CAPACITY=str(CAPACITY),
        CALLBOARD_DRAIN="10",
        CALLBOARD_DELIVERY_TIMEOUT="5",
        CALLBOARD_SHARED_FOLDERS=str(exchange),
        CALLBOARD_USER_CHAOS_FOLDER=str(exchange),
        **store.environment,
    )
