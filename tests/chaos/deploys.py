"""Deploy the projects again and again, with other code and another number of Machines."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.installation import Installation
from tests.chaos.record import Deploy

_PROJECTS = Path(__file__).parent / "projects"
_CODE = {"market": "market", "members": "members", "batch": "market"}
"""The folder in which the code of each project is."""
MACHINES = {"market": (2, 3, 4, 5), "members": (1, 2, 3), "batch": (1, 2, 3)}
"""The numbers of Machines that each project may be given."""
_LOGINS = {"enabled": True, "type": "API"}


class Deploys:
    """The deploys of all projects."""

    def __init__(self, seed: int, installation: Installation, report: Callable[[str], None]) -> None:
        self.done: list[Deploy] = []
        self._chance = random.Random(seed)
        self._installation = installation
        self._report = report
        self._folder = installation.folder / "projects"
        self._numbers = itertools.count(1)

    async def deploy_all(self) -> None:
        """Deploy every project for the first time, with as many Machines as it will ever have."""
        for project, numbers in MACHINES.items():
            await self._deploy(project, max(numbers))

    async def keep_deploying(self, every: float) -> None:
        """Deploy one project after the other, in these intervals of seconds."""
        for project in itertools.cycle(MACHINES):
            await asyncio.sleep(every)
            await self._deploy(project, self._chance.choice(MACHINES[project]))

    async def _deploy(self, project: str, machines: int) -> None:
        """Run `callboard deploy` until it succeeds: the store may be away."""
        number = next(self._numbers)
        folder = await asyncio.to_thread(self._write, project, machines, number)
        deploy = Deploy(project=project, number=number, machines=machines, began=time.monotonic())
        self.done.append(deploy)
        while await self._installation.command("deploy", folder) is None:
            self._report(f"deploy {number} of {project} has failed and is made again")
            await asyncio.sleep(1)
        deploy.finished = time.monotonic()
        self._report(f"deploy {number}: {project} with {machines} Machine(s)")

    def _write(self, project: str, machines: int, number: int) -> Path:
        folder = self._folder / project
        shutil.copytree(_PROJECTS / _CODE[project], folder, dirs_exist_ok=True)
        shutil.copy(_PROJECTS / "recording.py", folder)
        (folder / "deployed.py").write_text(f"PROJECT = {project!r}\nNUMBER = {number}\n")
        settings = {"projectName": project, "replication": {"maxConcurrentRequests": machines}}
        logins = {"authSessions": _LOGINS} if project == "members" else {}
        (folder / "Intuned.json").write_text(json.dumps(settings | logins))
        return folder
