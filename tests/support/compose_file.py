"""What the compose files say, as Compose gives it to containers; and their services as plain processes on loopback."""

from __future__ import annotations

import os
import re
import shutil
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import ENDS_SOMEHOW, execute, running
from tests.support.repository import REPOSITORY

PROGRAMS = Path(sys.executable).parent
"""Where the programs are that the images hold."""


def load(name: str = "docker-compose.yml") -> dict[str, Any]:
    """Return a compose file as it is written."""
    return yaml.safe_load((REPOSITORY / name).read_text())


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return `text` as Compose gives it to a container, with these values of variables."""
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: values.get(found[1]) or found[2], text)
    text = re.sub(r"\$\{(\w+):\+([^}]*)\}", lambda found: found[2] if values.get(found[1]) else "", text)
    return re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: values[found[1]], text).replace("$$", "$")


class Service:
    """One service, as its container would be: its command, its environment, and where it may write.

    What differs from a container is what must: names of hosts, ports, and paths of volumes.
    """

    def __init__(
        self,
        name: str,
        *,
        secrets: Mapping[str, str],
        moved: Mapping[str, str],
        volumes: Mapping[str, Path],
        folder: Path,
        file: str = "docker-compose.yml",
    ) -> None:
        """Read a service.

        Args:
            name: The service.
            secrets: What is in `.env`.
            moved: Texts in command and environment that stand for something else here, such as `temporal:7233`.
            volumes: Folders that stand for the paths of its volumes and of what else it may write.
            folder: A folder for its log.
            file: The compose file.
        """
        self.definition: dict[str, Any] = load(file)["services"][name]
        self._name = name
        self._moved = {**moved, **{path: str(place) for path, place in volumes.items()}}
        self._writable = list(volumes.values())
        self.environment = {
            variable: self._here(filled(value, secrets))
            for variable, value in self.definition.get("environment", {}).items()
        }
        self.log = folder / f"{name}.log"

    def _here(self, text: str) -> str:
        for there, here in self._moved.items():
            text = text.replace(there, here)
        return text

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the service's command, of a program of the image; with arguments, these are what it is given."""
        words: list[str] = list(arguments) or self.definition["command"]
        command = [str(PROGRAMS / program), *(self._here(word) for word in words)]
        return [*self._read_only(), *command]

    def _read_only(self) -> list[str]:
        """Return the beginning of a command line that makes all read-only that is so in the container."""
        if not self.definition.get("read_only"):
            return []
        bubblewrap = shutil.which("bwrap")
        assert bubblewrap is not None, "bubblewrap is needed (Debian: bubblewrap)."
        wrapped = [bubblewrap, "--die-with-parent", "--ro-bind", "/", "/"]
        for place in ("/dev", "/proc", "/sys"):
            wrapped += ["--dev-bind", place, place]
        for place in self.definition.get("tmpfs", []):
            wrapped += ["--tmpfs", place]
        # These come behind the temporary folders, since they may be below /tmp here.
        wrapped += ["--ro-bind", str(REPOSITORY), str(REPOSITORY)]
        for place in self._writable:
            wrapped += ["--bind", str(place), str(place)]
        return wrapped

    @asynccontextmanager
    async def running(self, command: list[str], **environment: str) -> AsyncGenerator[Process]:
        """The service, for as long as the block lasts; it has to be there until then."""
        env = self._with_basics(environment)
        async with running(*command, log=self.log, ends=ENDS_SOMEHOW, cwd="/", env=env) as process:
            yield process
            assert process.returncode is None, self.log.read_text()

    async def complete(self, command: list[str], **environment: str) -> str:
        """Run the service to its end, which has to be a good one; return what it says."""
        code, out, err = await execute(*command, cwd="/", env=self._with_basics(environment))
        assert code == 0, (out, err)
        return out + err

    def _with_basics(self, more: Mapping[str, str]) -> dict[str, str]:
        return {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "LANG": "C.UTF-8", **self.environment, **more}
