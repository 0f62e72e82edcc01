"""`callboard setup-namespace`, as an operator or a container runs it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from devstack import ports
from devstack.temporal import TemporalServer
from schemas.workflow.names import SEARCH_ATTRIBUTES
from tests.support.polling import until
from tests.support.processes import CALLBOARD, execute, running, surroundings


async def test_it_waits_for_temporal_to_start_and_says_what_it_did(tmp_path: Path) -> None:
    free = ports.choose_ports({"--temporal-port": 0, "--ui-port": 0})
    server = TemporalServer(tmp_path, port=free["--temporal-port"], ui_port=free["--ui-port"], report=print)
    here = {"CALLBOARD_TEMPORAL_ADDRESS": server.address, "CALLBOARD_TEMPORAL_NAMESPACE": "mine"}
    log, command = tmp_path / "command.log", (CALLBOARD, "setup-namespace")
    try:
        async with running(*command, "--retention", "30d", log=log, env=surroundings(**here)) as process:
            await until(lambda: "\n" in log.read_text())
            await server.start()
            await asyncio.wait_for(process.wait(), 60)
        assert log.read_text().splitlines()[-3:] == [
            "Namespace 'mine' is made; it keeps Runs for 30 days.",
            f"Search attributes are added: {', '.join(SEARCH_ATTRIBUTES)}.",
            "Artifacts are removed 31 days after the end of their Run (Schedule callboard-sweep).",
        ]
        assert log.read_text().startswith(f"Temporal cannot be reached at {server.address}.")
        kept = {"CALLBOARD_RUN_RETENTION": "30d", "CALLBOARD_ARTIFACT_RETENTION": "31d"}
        code, out, err = await execute(*command, env=surroundings(**here, **kept))
        assert (code, err) == (0, "")
        assert out == (
            f"Namespace 'mine' at {server.address} is up to date: Runs are kept for 30 days, and their artifacts"
            " for 31 days.\n"
        )
    finally:
        await server.stop()


@pytest.mark.parametrize("options", [["--retention", "soon"], ["--retention", "9d", "--artifact-retention", "8d"]])
async def test_a_time_that_cannot_be_is_told_before_anything_is_asked(options: list[str]) -> None:
    code, out, err = await execute(CALLBOARD, "setup-namespace", *options)
    assert (code, out) == (1, "")
    assert "RETENTION: " in err
    assert err.count("\n") == 1
