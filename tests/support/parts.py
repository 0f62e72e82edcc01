"""The parts of an installation as processes of their own: apis and workers, which share Temporal and a store."""

from __future__ import annotations

from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from callboard.dev import ports
from tests.support.files import write_files
from tests.support.polling import until
from tests.support.processes import CALLBOARD, Done, execute, running, surroundings
from tests.support.rest import PATIENCE, Rest

KEY = "key-of-the-installation"


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
