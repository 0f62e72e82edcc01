"""One Attempt does not take from others what they all share: memory, processes, disk, and the worker's patience."""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.attacks.installation import DISK, Installation

MEMORY = 2 * 1024**3
"""Bytes that a Machine of size `standard` may use."""
FORKS = 3000
"""Most processes that the attack makes; more would endanger a host without limits."""


def stopped(ended: dict[str, Any], most: int) -> bool:
    """Whether the attack was stopped: its Machine was ended, or it has got less than it wanted."""
    if ended["status"] == "failed":
        return any(limit in str(ended["error"]) for limit in ("memory", "process", "disk", "files and folders"))
    return ended["result"]["taken"] < most


@pytest.mark.kinds("plain-full", "root-open")
@pytest.mark.parametrize("what", ["memory file", "/dev/shm", "/tmp", "private memory", "memory of children"])
async def test_memory_is_limited_however_it_is_taken(installation: Installation, what: str) -> None:
    """Shared memory, memory files and temporary file systems are memory, too, though no process seems to have it."""
    most = MEMORY + 512 * 1024**2
    ended = await installation.run("fills", {"what": what, "most": most, "stay": 3})
    assert stopped(ended, most), ended
    await installation.still_works()
    await installation.still_works("victim")


@pytest.mark.kinds("plain-full", "root-open")
@pytest.mark.parametrize("what", ["processes", "threads"])
async def test_a_fork_bomb_is_limited(installation: Installation, what: str) -> None:
    ended = await installation.run("fills", {"what": what, "most": FORKS, "stay": 3})
    assert stopped(ended, FORKS), ended
    await installation.still_works()
    await installation.still_works("victim")


@pytest.mark.kinds("plain-full", "plain-open")
@pytest.mark.parametrize("what", ["one file", "many files"])
async def test_disk_is_limited(installation: Installation, what: str) -> None:
    most = DISK + 256 * 1024**2
    ended = await installation.run("fills", {"what": what, "most": most, "stay": 12})
    assert stopped(ended, most), ended
    await installation.still_works()
    await installation.still_works("victim")


@pytest.mark.kinds("plain-open", "root-full")
async def test_files_in_memory_are_limited_also_where_they_take_no_space(installation: Installation) -> None:
    ended = await installation.run("fills", {"what": "empty files in /tmp", "most": 120_000})
    assert stopped(ended, 120_000), ended
    await installation.still_works()
    await installation.still_works("victim")


@pytest.mark.parametrize("how", ["spin", "console", "memory", "dialogs"])
@pytest.mark.kinds("plain-full")
async def test_a_page_without_end_ends_with_its_attempt(installation: Installation, how: str) -> None:
    ended = await installation.run("spins", {"how": how}, requestTimeout=4)
    assert ended["status"] == "failed", ended
    await installation.still_works()
    await installation.still_works("victim")


@pytest.mark.kinds("plain-full", "plain-open", "root-full")
async def test_a_crash_leaves_no_image_of_memory(installation: Installation) -> None:
    """Where a program of the host's takes such images, only the limit of one byte keeps it from them."""
    assert await installation.attack("crashes") == {"signal": 11, "dumped": False, "files": [], "limit": [1, 1]}
