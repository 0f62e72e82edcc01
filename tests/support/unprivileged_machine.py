"""Runs Attempts on a Machine and prints what can be seen of its processes, as JSON, for a user that is not root."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from callboard.machines import keeper
from callboard.machines.attempt_log_file import AttemptLogFile
from callboard.machines.machine import Machine
from callboard.machines.sandbox import sandbox_refusal
from tests.support.machines import PATIENCE, USER, ZYGOTE, Lab, attempt_of, find_process, open_lab, value
from tests.support.polling import until
from tests.support.recording_site import running_site

PROJECT = {
    "api/title.py": """
        async def automation(page, params):
            await page.goto(params["url"])
            return await page.title()
    """,
    "api/blocks.py": """
        import time

        async def automation(page):
            time.sleep(600)
    """,
}
NAMESPACES = ("user", "pid", "net")


def namespaces(pid: int | str) -> list[str]:
    return [str(Path(f"/proc/{pid}/ns/{name}").readlink()) for name in NAMESPACES]


def closed(pid: int) -> bool:
    """Whether its environment, memory and open files are closed to us."""
    opened = 0
    for name in ("environ", "mem", "fd"):
        try:
            place = Path(f"/proc/{pid}/{name}")
            opened += len(list(place.iterdir())) if name == "fd" else len(place.open("rb").read(0)) + 1
        except PermissionError:
            continue
    return opened == 0


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


async def look(lab: Lab) -> dict[str, Any]:
    machine = await lab.machine(lab.version(PROJECT))
    async with running_site() as site:
        with contextlib.closing(AttemptLogFile(lab.projects / "log", 10_000)) as log:
            asked = attempt_of("title", {"url": f"{site.origin}/there"}, log=log)
            title = value(await machine.run_attempt(asked))
            await machine.wait_clean()
            usage = await log.wait_complete(PATIENCE)
    assert usage is not None
    commands = {
        pid: Path(f"/proc/{pid}/cmdline").read_bytes()
        for pid in (machine.keeper_pid, *keeper.descendants(machine.keeper_pid))
    }
    child = next(pid for pid, command in commands.items() if b"\0supervisor\0" in command and pid != machine.keeper_pid)
    renderer = next(pid for pid, command in commands.items() if b"--type=renderer" in command)
    return {
        "refusal": sandbox_refusal(lab.launch.browser, boxed=True),
        "noSandbox": any(b"--no-sandbox" in command for command in commands.values()),
        "title": title,
        "usage": usage.model_dump(mode="json"),
        "renderer": {name: status(renderer)[name] for name in ("Seccomp", "NoNewPrivs")},
        "ownNamespaces": [
            name
            for name, its, ours in zip(NAMESPACES, namespaces(renderer), namespaces("self"), strict=True)
            if its != ours
        ],
        "closed": {
            "keeper": closed(machine.keeper_pid),
            "supervisor": closed(child),
            # The user who has made a box may look into it; other boxes cannot.
            "zygote": closed(find_process(machine.keeper_pid, ZYGOTE)),
            "user": closed(find_process(machine.keeper_pid, USER)),
        },
        "oomScore": Path(f"/proc/{child}/oom_score_adj").read_text().strip(),
        "leftByAKilledKeeper": await kill_keeper(machine, child),
    }


async def kill_keeper(machine: Machine, child: int) -> list[int]:
    """Kill the keeper while user code blocks; those of its processes that are left when the worker has cleaned up."""
    blocked = attempt_of("blocks")
    attempt = asyncio.create_task(machine.run_attempt(blocked))
    await until(lambda: blocked.start)
    ours = [child, *keeper.descendants(child)]
    os.kill(machine.keeper_pid, signal.SIGKILL)
    await attempt  # which may hear of the end of user code before the worker has ended all else
    await machine.close()
    return [pid for pid in ours if Path(f"/proc/{pid}").exists() and not status(pid)["State"].startswith("Z")]


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_lab(Path(folder)) as lab:
            print(json.dumps(await look(lab)))


if __name__ == "__main__":
    asyncio.run(main())
