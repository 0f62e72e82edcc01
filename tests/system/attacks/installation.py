"""A whole installation on a host, of a user with or without privileges, in which projects attack whatever is there.

Its parts are plain processes, as docs/install.md says: Temporal, the api, and a worker. All of it lies in one folder
of that user's, so that the host's own permissions protect nothing from user code.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from callboard.dev import ports
from callboard.dev.temporal import TemporalServer
from callboard.machines import keeper
from callboard.machines.runner import process_tree
from callboard.projects.deploy import deploy
from callboard.projects.environments import Environments
from callboard.projects.node.tools import has_tools, install_tools
from callboard.storage.folder import FolderStore
from tests.support.files import write_files
from tests.support.machines import Language
from tests.support.package_box import package_box
from tests.support.polling import until
from tests.support.present import present
from tests.support.processes import ENDS_SOMEHOW, running
from tests.support.repository import REPOSITORY
from tests.support.rest import Rest
from tests.support.temporal_servers import dev_server

PATIENCE = 90.0
"""Seconds until a test gives up waiting. Generous: these machines are shared."""
PROJECTS = Path(__file__).parent / "projects"
SERVED = ("attacker", "victim", "another", "hooked", "members")
"""The projects of every installation. A test that needs a worker of its own deploys another one."""
API_KEY = "the-key-of-the-attacked-api"
SEALING_KEY = "the-sealing-key-that-nobody-may-find"
DISK = 512 * 1024**2
"""Bytes of disk that a Machine may take."""
_SOMEBODY = 60_123
"""A user without privileges, who has no other process on any host."""


@dataclass(frozen=True)
class Kind:
    """How an installation stands: whose it is, and which walls it has."""

    name: str
    isolation: str
    """The setting CALLBOARD_ISOLATION."""
    root: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        Kind("plain-full", "full"),
        Kind("plain-open", "open"),
        Kind("root-full", "full", root=True),
        Kind("root-open", "open", root=True),
    )
}
TYPESCRIPT = "typescript-attacker"
"""The project that attacks in TypeScript."""
TYPESCRIPT_ON = ("plain-full", "root-open")
"""The kinds of installations that have it: each user and each level once, as walls do not know the language."""


@dataclass
class Installation:
    """A running installation, as its operator sees it."""

    kind: Kind
    folder: Path
    environment: dict[str, str]
    temporal: TemporalServer
    store: FolderStore
    rest: Rest
    processes: dict[str, Process] = field(default_factory=dict[str, Process])
    _parts: dict[str, contextlib.AsyncExitStack] = field(default_factory=dict[str, contextlib.AsyncExitStack])

    @property
    def data(self) -> Path:
        """The data folder that api and worker share."""
        return self.folder / "data"

    @property
    def parts(self) -> dict[int, str]:
        """The processes of its parts, by their ids."""
        found = {process.pid: name for name, process in self.processes.items()}
        return found | {present(self.temporal.process.pid): "temporal"}

    @property
    def known_ports(self) -> list[int]:
        """The ports of its parts that stand in its settings: of the api, the viewer, Temporal and its UI."""
        named = (f"CALLBOARD_{name}" for name in ("PORT", "VIEWER_PORT", "TEMPORAL_ADDRESS", "TEMPORAL_UI_URL"))
        return [int(self.environment[name].rpartition(":")[2]) for name in named]

    def log(self, name: str) -> str:
        """What a part has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    async def start(self, name: str, command: str, **settings: str) -> Process:
        """Start a part. It is stopped with the installation, or by `stop`."""
        part = contextlib.AsyncExitStack()
        started = running(
            *command_of((sys.executable, "-P", "-m", command)),
            log=self.folder / f"{name}.log",
            ends=ENDS_SOMEHOW,
            cwd=self.folder,
            env=self.environment | settings,
            **identity_of(self.kind),
        )
        self.processes[name] = await part.enter_async_context(started)
        self._parts[name] = part
        return self.processes[name]

    async def stop(self, name: str) -> None:
        """Stop a part in an orderly way."""
        del self.processes[name]
        await self._parts.pop(name).aclose()

    async def serve(self, worker: str, *projects: str, **settings: str) -> None:
        """Start a worker for these projects, which have been deployed.

        The test is skipped where the worker refuses to start because the host lacks what the walls need.
        """
        process = await self.start(
            worker, "worker", CALLBOARD_PROJECTS=",".join(projects), CALLBOARD_ISOLATION=self.kind.isolation, **settings
        )
        serving = [f"serving project {project} with" for project in projects]
        await until(lambda: process.returncode is not None or all(words in self.log(worker) for words in serving))
        if process.returncode is not None:
            last = (self.log(worker).strip().splitlines() or ["it has printed nothing"])[-1]
            assert "CALLBOARD_ISOLATION" in last, self.log(worker)
            await self.stop(worker)
            pytest.skip(f"This host lacks what the walls need: {last}")

    async def deploy(self, project: str, files: Mapping[str, str] | None = None) -> None:
        """Publish a project: the folder of that name in `projects`, or the attacker's with these files in addition."""
        source = PROJECTS / project
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made) / project
            shutil.copytree(source if source.is_dir() else PROJECTS / "attacker", folder)
            write_files(folder, files or {})
            if not source.is_dir():
                (folder / "Intuned.json").write_text(f'{{"projectName": "{project}"}}')
            is_typescript = (folder / "package.json").exists()
            environments = Environments(Path(made) / "environments", package_box()) if is_typescript else None
            await deploy(folder, self.store, environments)
        give(self.kind, self.data / "artifacts")

    async def begin(self, api: str, parameters: Any = None, **fields: Any) -> str:
        """Start a Run of one Attempt, and return its id."""
        once: dict[str, Any] = {"retry": {"maximumAttempts": 1}}
        return await self.rest.start(api, parameters, **(once | fields))

    async def run(self, api: str, parameters: Any = None, *, project: str = "attacker", **fields: Any) -> Any:
        """Execute a Run to its end, however it ends."""
        return await self.rest.result(await self.begin(api, parameters, project=project, **fields), project=project)

    async def attack(self, api: str, parameters: Any = None, *, project: str = "attacker", **fields: Any) -> Any:
        """Have a project try an attack, and return what it says about that."""
        run_id = await self.begin(api, parameters, project=project, **fields)
        ended = await self.rest.result(run_id, project=project)
        assert ended["status"] == "completed", await self._told(run_id, project)
        return ended["result"]

    async def attempt_log(self, run_id: str, *, project: str = "attacker") -> list[dict[str, Any]]:
        """The lines of the log of a Run's first Attempt."""
        answer = await self.rest.request("GET", f"runs/{run_id}/attempts/1/log", project=project)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    async def _told(self, run_id: str, project: str) -> str:
        """What is known of a Run that should have completed, in full."""
        lines = [line["message"] for line in await self.attempt_log(run_id, project=project)]
        ended = await self.rest.result(run_id, project=project)
        return "\n".join([json.dumps(ended), *lines, "The worker:", self.log("worker")[-3000:]])

    async def still_works(self, project: str = "attacker") -> None:
        """The same worker goes on executing Runs."""
        assert self.processes["worker"].returncode is None, self.log("worker")
        assert await self.attack("fine", project=project) == "fine"

    def machines(self, project: str) -> list[Path]:
        """The scratch folders of the Machines of a project."""
        return sorted(self.data.glob(f"workers/*/scratch/{project}-*"))

    def processes_of(self, project: str) -> dict[int, str]:
        """The processes of the Machines of a project, keepers included, by their ids on the host."""
        found: dict[int, str] = {}
        for pid in process_tree.pids():
            command = process_tree.read(f"/proc/{pid}/cmdline").decode(errors="replace")
            if "keeper.py" in command and any(str(folder) in command for folder in self.machines(project)):
                for each in (pid, *keeper.descendants(pid)):
                    found[each] = process_tree.read(f"/proc/{each}/cmdline").decode(errors="replace").replace("\0", " ")
        return found


def command_of(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that starts a program as an installation does, in a session with a key."""
    return (sys.executable, str(Path(__file__).with_name("with_planted_key.py")), *command)


def identity_of(kind: Kind) -> dict[str, Any]:
    """Return the arguments by which a process is the installation's user's."""
    if kind.root or os.geteuid() != 0:
        return {}
    return {"user": _SOMEBODY, "group": _SOMEBODY, "extra_groups": []}


def give(kind: Kind, folder: Path) -> None:
    """Make a folder and all that is in it the installation's user's."""
    if identity_of(kind):
        for path in (folder, *folder.rglob("*")):
            with contextlib.suppress(FileNotFoundError):  # programs that run there remove files
                os.chown(path, _SOMEBODY, _SOMEBODY, follow_symlinks=False)


def attacker_in(language: Language) -> str:
    """Return the project that attacks in this language."""
    return "attacker" if language is Language.PYTHON else TYPESCRIPT


@functools.lru_cache
def refusal(kind: Kind) -> str | None:
    """Say why there can be no such installation here; None if it can be tried."""
    if kind.root:
        return None if os.geteuid() == 0 else "Only root can have an installation of root's."
    try:
        subprocess.run(
            command_of((sys.executable, "-c", "import psutil, callboard.machines.keeper")),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            check=True,
            capture_output=True,
            **identity_of(kind),
        )
    except (PermissionError, subprocess.CalledProcessError) as error:
        told = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else str(error)
        return f"There can be no installation of kind {kind.name} here: {told.strip().splitlines()[-1]}"
    return None


@contextlib.asynccontextmanager
async def installed(kind: Kind) -> AsyncGenerator[Installation]:
    """An installation in which one worker serves all of `SERVED`, and the attacker in TypeScript if it has one."""
    if (reason := refusal(kind)) is not None:
        pytest.skip(reason)
    is_in_both = kind.name in TYPESCRIPT_ON
    if is_in_both and not has_tools():
        install_tools()
    with tempfile.TemporaryDirectory(prefix="callboard-attacked-") as made:
        folder = Path(made)
        for name in ("data", "home"):
            (folder / name).mkdir()
        free = ports.choose_ports({"--port": 0, "--viewer-port": 0})
        async with contextlib.AsyncExitStack() as resources:
            temporal = await resources.enter_async_context(dev_server(folder / "temporal"))
            environment = {
                "PATH": os.environ["PATH"],
                "LANG": "C.UTF-8",
                "HOME": str(folder / "home"),
                "PYTHONPATH": str(REPOSITORY),
                "PYTHONDONTWRITEBYTECODE": "1",
                "CALLBOARD_API_KEYS": API_KEY,
                "CALLBOARD_SECRET_KEY": SEALING_KEY,
                "CALLBOARD_TEMPORAL_ADDRESS": temporal.address,
                "CALLBOARD_TEMPORAL_UI_URL": temporal.ui_url,
                "CALLBOARD_DATA_DIR": str(folder / "data"),
                "CALLBOARD_PORT": str(free["--port"]),
                "CALLBOARD_VIEWER_PORT": str(free["--viewer-port"]),
                "CALLBOARD_MACHINE_IDLE": "1h",
                "CALLBOARD_MACHINE_DISK": str(DISK),
            }
            if chromium := os.environ.get("CALLBOARD_CHROMIUM"):
                environment["CALLBOARD_CHROMIUM"] = chromium
            give(kind, folder)
            url = f"http://127.0.0.1:{free['--port']}"
            rest = await resources.enter_async_context(Rest.of(url, key=API_KEY, project="attacker"))
            here = Installation(kind, folder, environment, temporal, FolderStore(folder / "data" / "artifacts"), rest)
            resources.push_async_callback(_stop_all, here)
            served = (*SERVED, TYPESCRIPT) if is_in_both else SERVED
            for project in served:
                await here.deploy(project)
            await asyncio.gather(here.start("api", "api"), here.serve("worker", *served))
            await until(lambda: _answers(here))
            yield here


async def _answers(here: Installation) -> bool:
    assert here.processes["api"].returncode is None, here.log("api")
    return await here.rest.is_ready()


async def _stop_all(here: Installation) -> None:
    for name in reversed(list(here.processes)):
        await here.stop(name)


OWN_ADDRESSES = ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::ffff:127.0.0.1", "::")


def addresses_of_this_host() -> list[str]:
    """Its addresses by which other hosts reach it, without those that need the name of an interface."""
    found = [each for interface in psutil.net_if_addrs().values() for each in interface]
    of_ip = [each.address for each in found if each.family in (socket.AF_INET, socket.AF_INET6)]
    return [address for address in of_ip if "%" not in address and address not in OWN_ADDRESSES]


def ports_of(installation: Installation) -> dict[int, str]:
    """The TCP ports on which parts of the installation listen."""
    found = dict.fromkeys(installation.known_ports, "of the settings")
    for pid, name in {**installation.parts, **installation.processes_of("victim")}.items():
        with contextlib.suppress(psutil.Error):
            for connection in psutil.Process(pid).net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found[connection.laddr[1]] = name
    return found


def targets(installation: Installation, victim: Path, daemon: str) -> dict[str, Any]:
    temporal, api = installation.temporal.address, installation.environment["CALLBOARD_PORT"]
    return {
        "secrets": [API_KEY, SEALING_KEY],
        "read": [str(victim), "/etc/shadow" if os.access("/etc/shadow", os.R_OK) else str(victim)],
        "write": [str(victim)],
        "configuration": [],
        "asked": [],
        "ports": {"Temporal": int(temporal.rpartition(":")[2]), "the api": int(api)},
        "daemon": daemon,
    }


def reached(installation: Installation) -> list[str]:
    """What a build reaches where there is no network of its own, as user code does there (SECURITY.md)."""
    return [] if installation.kind.isolation == "full" else ["connected to Temporal", "connected to the api"]
