"""`callboard setup-namespace`, as an operator or a container runs it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from devstack import ports
from devstack.temporal import TemporalServer
from schemas.workflow.names import SEARCH_ATTRIBUTES

CALLBOARD = Path(sys.executable).with_name("callboard")


async def start(*options: str, **environment: str) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    return await asyncio.create_subprocess_exec(
        *(CALLBOARD, "setup-namespace", *options), env=clean | environment, stdout=-1, stderr=-1
    )


async def test_it_waits_for_temporal_to_start_and_says_what_it_did(tmp_path: Path) -> None:
    free = ports.choose_ports({"--temporal-port": 0, "--ui-port": 0})
    server = TemporalServer(tmp_path, port=free["--temporal-port"], ui_port=free["--ui-port"], report=print)
    here = {"CALLBOARD_TEMPORAL_ADDRESS": server.address, "CALLBOARD_TEMPORAL_NAMESPACE": "mine"}
    command = await start("--retention", "30d", **here)
    assert command.stderr is not None
    try:
        said = await asyncio.wait_for(command.stderr.readline(), 60)
        assert said.startswith(f"Temporal cannot be reached at {server.address}.".encode())
        await server.start()
        out, err = await asyncio.wait_for(command.communicate(), 60)
        assert (command.returncode, err) == (0, b"")
        assert out.decode().splitlines() == [
            "Namespace 'mine' is made; it keeps Runs for 30 days.",
            f"Search attributes are added: {', '.join(SEARCH_ATTRIBUTES)}.",
            "Artifacts are removed 31 days after the end of their Run (Schedule callboard-sweep).",
        ]
        again = await start(**here, CALLBOARD_RUN_RETENTION="30d", CALLBOARD_ARTIFACT_RETENTION="31d")
        out, err = await asyncio.wait_for(again.communicate(), 60)
        assert (again.returncode, err) == (0, b"")
        assert out.decode() == (
            f"Namespace 'mine' at {server.address} is up to date: Runs are kept for 30 days, and their artifacts"
            " for 31 days.\n"
        )
    finally:
        if command.returncode is None:
            command.kill()
            await command.communicate()
        await server.stop()


@pytest.mark.parametrize("options", [["--retention", "soon"], ["--retention", "9d", "--artifact-retention", "8d"]])
async def test_a_time_that_cannot_be_is_told_before_anything_is_asked(options: list[str]) -> None:
    command = await start(*options)
    out, err = await asyncio.wait_for(command.communicate(), 60)
    assert (command.returncode, out) == (1, b"")
    assert b"RETENTION: " in err
    assert err.count(b"\n") == 1
