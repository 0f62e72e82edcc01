"""What user code sends the worker, however much and however large, holds up no other project and costs no memory."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.processes import most_memory
from tests.system.attacks.installation import Installation

MOST_MEMORY = 96 * 1024**2
"""Bytes by which the worker's memory may grow: a few dozen values of the greatest size, as it handles them."""


@pytest.mark.kinds("plain-full", "root-open")
@pytest.mark.parametrize("what", ["values read", "large values", "beginnings", "unknown requests"])
async def test_a_flood_of_messages_holds_up_nobody(installation: Installation, what: str) -> None:
    """The victim's Runs complete meanwhile, the worker keeps its lease, and neither its log nor its memory grows."""
    await installation.still_works()
    await installation.still_works("victim")
    worker = installation.processes["worker"]
    memory, said = most_memory(worker.pid), len(installation.log("worker"))
    flooding = asyncio.create_task(installation.run("floods", {"what": what}))
    runs = 0
    while not flooding.done() or not runs:
        assert await installation.attack("fine", project="victim") == "fine"
        runs += 1
    assert (await flooding)["status"] in {"completed", "failed"}
    log = installation.log("worker")[said:]
    assert not [words for words in ("lease", "never retrieved", "Traceback") if words in log], log[:4000]
    assert most_memory(worker.pid) - memory < MOST_MEMORY
    await installation.still_works()
