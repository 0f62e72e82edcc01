"""`callboard setup-namespace`, as an operator or a container runs it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from callboard.dev import ports
from callboard.schemas.workflow.names import SEARCH_ATTRIBUTES
from tests.support.polling import until
from tests.support.processes import CALLBOARD, execute, running, surroundings


async def test_it_waits_for_the_temporal_of_a_small_host_and_says_what_it_did(tmp_path: Path) -> None:
    port = str(ports.choose_ports({"--port": 0})["--port"])
    here = {"CALLBOARD_TEMPORAL_ADDRESS": f"127.0.0.1:{port}", "CALLBOARD_TEMPORAL_NAMESPACE": "mine"}
    log, command = tmp_path / "command.log", (CALLBOARD, "setup-namespace")
    temporal = (CALLBOARD, "temporal", "--data", tmp_path / "temporal", "--port", port)
    async with AsyncExitStack() as server:
        async with running(*command, "--retention", "30d", log=log, env=surroundings(**here)) as process:
            await until(lambda: "\n" in log.read_text())
            await server.enter_async_context(running(*temporal, log=tmp_path / "temporal.log"))
            await asyncio.wait_for(process.wait(), 60)
        assert log.read_text().splitlines()[-3:] == [
            "Namespace 'mine' is made; it keeps Runs for 30 days.",
            f"Search attributes are added: {', '.join(SEARCH_ATTRIBUTES)}.",
            "Artifacts are removed 31 days after the end of their Run (Schedule callboard-sweep).",
        ]
        assert log.read_text().startswith(f"Temporal cannot be reached at 127.0.0.1:{port}.")
        kept = {"CALLBOARD_RUN_RETENTION": "30d", "CALLBOARD_ARTIFACT_RETENTION": "31d"}
        code, out, err = await execute(*command, env=surroundings(**here, **kept))
        assert (code, err) == (0, "")
        assert out == (
            f"Namespace 'mine' at 127.0.0.1:{port} is up to date: Runs are kept for 30 days, and their artifacts"
            " for 31 days.\n"
        )


@pytest.mark.parametrize("options", [["--retention", "soon"], ["--retention", "9d", "--artifact-retention", "8d"]])
async def test_a_time_that_cannot_be_is_told_before_anything_is_asked(options: list[str]) -> None:
    code, out, err = await execute(CALLBOARD, "setup-namespace", *options)
    assert (code, out) == (1, "")
    assert "RETENTION: " in err
    assert err.count("\n") == 1
