"""What listens at loopback of this host is looked at once, and told to the networks of all Machines."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from callboard.machines import loopback_watch
from callboard.machines.loopback_watch import LoopbackWatch
from tests.support.polling import until
from tests.support.repository import REPOSITORY

FOLLOWS = """
import sys
from callboard.machines.loopback_rules import LoopbackRules, keep
rules = LoopbackRules(sys.argv[1])
keep(lambda: print([line for lines in rules.ip_commands(5).values() for line in lines], flush=True), int(sys.argv[2]))
"""


@asynccontextmanager
async def watching(file: Path) -> AsyncGenerator[LoopbackWatch]:
    watch = LoopbackWatch(file)
    try:
        await until(file.exists)
        yield watch
    finally:
        await watch.close()


@asynccontextmanager
async def following(file: Path, watch: LoopbackWatch) -> AsyncGenerator[asyncio.StreamReader]:
    """What a process that keeps rules would do at each change."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FOLLOWS, str(file), str(watch.changed)),
        stdout=asyncio.subprocess.PIPE,
        pass_fds=(watch.changed,),
        cwd=REPOSITORY,
    )
    try:
        assert process.stdout is not None
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def says(follower: asyncio.StreamReader, rule: str) -> bool:
    """Read on until it says this."""
    while line := await follower.readline():
        if rule in line.decode():
            return True
    return False


async def test_each_network_hears_of_each_change(tmp_path: Path) -> None:
    file = tmp_path / "unserved.json"
    async with watching(file) as watch, following(file, watch) as one, following(file, watch) as other:
        for follower in (one, other):
            assert await says(follower, "["), "it looks at once"
        with socket.create_server(("127.0.0.1", 0)) as server:
            rule = f"pref 5 to ::1 ipproto tcp dport {server.getsockname()[1]} unreachable"
            for follower in (one, other):
                assert await says(follower, f"rule add {rule}")
            async with following(file, watch) as late:
                assert await says(late, f"rule add {rule}"), "one that begins now"
        for follower in (one, other):
            assert await says(follower, f"rule del {rule}")


async def test_while_it_cannot_be_known_there_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "unserved.json"
    async with watching(file):
        with monkeypatch.context() as failing:
            failing.setattr(loopback_watch, "_NETLINK_SOCK_DIAG", 31)  # the kernel has no such protocol
            await until(lambda: not file.exists())
        await until(file.exists)
    assert caplog.text.count("not known what listens at loopback: [Errno 93] Protocol not supported") == 1
