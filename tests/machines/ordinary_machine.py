"""Runs Attempts on a Machine and prints what can be seen of its processes, as JSON, for a user that is not root."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from machines import keeper
from machines.sandbox import sandbox_refusal
from tests.machines.lab import Lab, open_lab, order, unnoticed, value
from tests.machines.site import running_site

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


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


async def look(lab: Lab) -> dict[str, Any]:
    machine = await lab.machine(lab.version(PROJECT))
    async with running_site() as site:
        usage = machine._keeping.attempt_end()
        title = value(await machine.run(order("title", {"url": f"{site.origin}/there"}), unnoticed))
        await machine.settled()
    kept = await usage
    assert kept is not None
    commands = {
        pid: Path(f"/proc/{pid}/cmdline").read_bytes()
        for pid in (machine.keeper_pid, *keeper.descendants(machine.keeper_pid))
    }
    renderer = next(pid for pid, command in commands.items() if b"--type=renderer" in command)
    return {
        "refusal": sandbox_refusal(lab.launch.browser),
        "noSandbox": any(b"--no-sandbox" in command for command in commands.values()),
        "title": title,
        "usage": kept.model_dump(mode="json"),
        "renderer": {name: status(renderer)[name] for name in ("Seccomp", "NoNewPrivs")},
        "ownNamespaces": [
            name
            for name, its, ours in zip(NAMESPACES, namespaces(renderer), namespaces("self"), strict=True)
            if its != ours
        ],
    }


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_lab(Path(folder)) as lab:
            print(json.dumps(await look(lab)))


if __name__ == "__main__":
    asyncio.run(main())
