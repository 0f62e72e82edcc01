"""The supervisor's side of the zygote and of the process of user code that it forks for each Attempt."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from callboard_runtime.failures import STACK_LIMIT

from . import inspector
from .channel import Channel
from .process_tree import descendants, has_ended
from .relay import Relay
from .relay_policy import RelayPolicy
from .zygote import PACKET, STACK_SIGNAL

_READY_WITHIN = 10.0
"""Seconds in which a process of user code must be connected. It takes some milliseconds."""
_ENDS_WITHIN = 11.0
"""Seconds in which the zygote must have ended all of an Attempt; it gives up what does not die after ten."""
_DUMP_WITHIN = 0.3
_DUMP_PAUSE = 0.02
"""Seconds to wait for the first of what a process tells on a signal, and for more of it."""
_LONGEST_DUMP = 256 * 1024
_DEBUGGED_WITHIN = 0.5
"""Seconds in which a Node.js must have opened its debugger, and have told where it stands."""
_NAMES_AT_ONCE = 200
"""Most names of modules in one command. A command must fit into a packet."""
_LONGEST_NAMES = 16 * 1024
"""Most characters of all names of variables in one command, for the same reason. With more, nothing is imported."""


class ZygoteError(Exception):
    """The zygote has ended, or does not do what it is asked."""


class UserProcess:
    """One process of user code, from its fork to its end."""

    def __init__(self, pidfd: int, channel: Channel, relay: Relay, stacks: int, debug_port: int | None) -> None:
        """Take over what leads to the process. `debug_port` is where a Node.js opens its debugger, if it may."""
        self.channel = channel
        self._debug_port = debug_port
        self.relay = relay
        self._stacks = stacks
        self._dumped = bytearray()
        self._can_tell = True
        """Whether the process can still write there."""
        self._more = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.exited = asyncio.Event()
        """Event that is set once the process has ended by itself, or was killed."""
        self._pidfd = pidfd
        loop.add_reader(self._pidfd, self._exited)
        loop.add_reader(stacks, self._read_stacks)

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, as of now."""
        return _has_exited(self._pidfd)

    async def where_it_stands(self) -> bytes:
        """Signal the process and return the stack that it writes, also if it blocks.

        It is empty if none comes in time, or the process cannot tell.
        """
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, STACK_SIGNAL)
            signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)  # one that is stopped would not hear it
        within = _DUMP_WITHIN
        with contextlib.suppress(TimeoutError):
            while self._can_tell and not self.exited.is_set():
                await asyncio.wait_for(self._more.wait(), within)
                self._more.clear()
                within = _DUMP_PAUSE
        return self.stacks()

    async def told_by_debugger(self) -> str:
        """Return the stack that a Node.js tells by its debugger, also if it blocks.

        It is empty if it must not open one, or does not tell in time, as where it waits for what is no JavaScript.
        """
        if self._debug_port is None:
            return ""
        try:
            signal.pidfd_send_signal(self._pidfd, inspector.SIGNAL)
        except ProcessLookupError:
            return ""
        return (await inspector.stack_of(self._debug_port, _DEBUGGED_WITHIN))[:STACK_LIMIT]

    def stacks(self) -> bytes:
        """Return all that the process has told about where it stood: on a signal, or as it crashed."""
        self._read_stacks()
        return bytes(self._dumped)

    def close(self) -> None:
        """Close everything that led to the process, which has ended."""
        self._read_stacks()
        loop = asyncio.get_running_loop()
        for descriptor in (self._pidfd, self._stacks):
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self._stacks = -1
        self.relay.close()
        self.channel.close()

    async def opens_no_more(self, within: float) -> bool:
        """Wait, once this is closed, until nothing opens for it any more; return False if it does after `within` s."""
        return await self.relay.ended(within)

    def _exited(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)  # it stays readable
        self.exited.set()
        self._more.set()

    def _read_stacks(self) -> None:
        if self._stacks < 0:
            return
        try:
            while data := os.read(self._stacks, PACKET):
                self._dumped += data
                del self._dumped[:-_LONGEST_DUMP]
                self._more.set()
            asyncio.get_running_loop().remove_reader(self._stacks)  # nobody can write there any more
            self._can_tell = False
            self._more.set()
        except BlockingIOError:
            pass


class Zygote:
    """The zygote of this Machine. `start` makes one; it ends with this process."""

    def __init__(self, process: subprocess.Popen[bytes], commands: socket.socket) -> None:
        self._process = process
        self._commands = commands
        self._turn = asyncio.Lock()
        self._driver = 0
        self._pidfd: int | None = None
        self.is_warm = False
        """Whether it has used Playwright."""
        self._imported: set[str] = set()
        """Names of the modules that it has been told to import."""
        self.read: frozenset[str] = frozenset()
        """Names of the environment variables that were read by what it has imported ahead."""

    @classmethod
    def start(cls, setup: Mapping[str, Any], folder: Path, *, guarded: bool) -> Zygote:
        """Start the zygote, which begins to import what it needs. Raises OSError.

        Args:
            setup: The command that starts it, without its last argument, which is the descriptor of its commands;
                its environment; what its processes of user code are boxed in (see `callboard.machines.box`); and what
                they become, if that is Node.js (see `callboard.machines.node_client`).
            folder: The folder that every Attempt works in.
            guarded: Whether user code is refused addresses that lead into the machine itself.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)  # noqa: FBT003
        with theirs:
            argv = [*setup["command"], str(theirs.fileno())]
            process = subprocess.Popen(argv, pass_fds=(theirs.fileno(),), env=setup["environment"])
        places = {"folder": str(folder), "guarded": guarded}
        ours.send(json.dumps({**places, **{name: setup[name] for name in ("innerBox", "walls", "node")}}).encode())
        return cls(process, ours)

    async def warm(self, driver: str, pid: int) -> None:
        """Have it use Playwright once, over the driver's socket at this path.

        Args:
            driver: Path of the driver's socket.
            pid: Process id of the driver, which `end` spares.

        Raises:
            ZygoteError: The zygote did not get ready.
        """
        self._driver = pid
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with end:
            end.connect(driver)
            _, (self._pidfd,) = await self._ask({"warm": True}, [end.fileno()])
        self.is_warm = True

    @property
    def has_ended(self) -> bool:
        """Whether the zygote has ended, as of now; where it is in a box, all others there are about to end, too."""
        return self._pidfd is not None and _has_exited(self._pidfd)

    async def import_ahead(self, modules: Sequence[str], variables: Sequence[str]) -> None:
        """Have it import what an Attempt, in which these variables were set, has imported of the project's packages.

        Raises ZygoteError.
        """
        if sum(map(len, variables)) > _LONGEST_NAMES:
            return
        new = [name for name in modules if name not in self._imported]
        self._imported.update(new)
        for start in range(0, len(new), _NAMES_AT_ONCE):
            names = {"import": new[start : start + _NAMES_AT_ONCE], "variables": [*variables]}
            answer, _ = await self._ask(names)
            self.read = frozenset(answer["read"])

    async def fork(self, driver: str, policy: RelayPolicy) -> UserProcess:
        """Have a process of user code forked, and return it once it is connected to the browser.

        Args:
            driver: Path of the driver's socket.
            policy: Decides about what the process asks of the browser.

        Raises:
            ZygoteError: The zygote, or the process, did not get ready.
            OSError: The driver does not listen any more.
        """
        control, its_control = socket.socketpair()
        browser, its_browser = socket.socketpair()
        stacks, its_stacks = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(its_stacks, False)  # it must never wait for us while it crashes
        try:
            with its_control, its_browser:
                _, handles = await self._ask({"fork": True}, [its_control.fileno(), its_browser.fileno(), its_stacks])
        finally:
            os.close(its_stacks)
        relay = Relay(policy)
        await relay.start(driver, browser)
        channel = await Channel.over(control)
        try:
            async with asyncio.timeout(_READY_WITHIN):
                message = await anext(channel.messages, None)
        except TimeoutError:
            message = None
        if message is None or message["type"] != "ready":
            raise ZygoteError("the process of user code did not connect to the browser")
        return UserProcess(handles[0], channel, relay, stacks, message.get("debugPort"))

    async def end(self, *, has_ended: bool) -> int:
        """Kill the process of user code and all below it, and return its wait status.

        Args:
            has_ended: Whether that process has ended by itself.

        Raises:
            ZygoteError: Something does not die, or the zygote is gone. Then everything is killed all the same.
        """
        try:
            answer, _ = await self._ask({"end": True, "hasEnded": has_ended})
        except ZygoteError:
            await asyncio.to_thread(self._end_without_it)
            raise
        if answer["alive"]:
            raise ZygoteError(f"processes {answer['alive']} do not die")
        return int(answer["status"])

    async def close(self) -> None:
        """End the zygote, and the process of user code that waits. Raises ZygoteError if one of them stays."""
        await self.end(has_ended=False)
        self._commands.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        try:
            await asyncio.to_thread(self._process.wait, _ENDS_WITHIN)
        except subprocess.TimeoutExpired as error:
            raise ZygoteError("the zygote of the version before does not end") from error

    def _end_without_it(self) -> None:
        """Kill all that is below the keeper, except this process, the driver and all below that. This blocks.

        What was below a zygote that has ended is below the keeper, which is our parent and a child subreaper.
        """
        deadline = time.monotonic() + _ENDS_WITHIN
        while time.monotonic() < deadline:
            spared = {os.getpid(), self._driver, *descendants(self._driver)}
            dying = [pid for pid in descendants(os.getppid()) if pid not in spared and not has_ended(pid)]
            if not dying:
                return
            for pid in dying:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)  # there is no event for the end of processes that are not our children

    async def _ask(self, command: dict[str, Any], descriptors: Sequence[int] = ()) -> tuple[dict[str, Any], list[int]]:
        """Send a command with descriptors, and return the answer with those that came with it."""
        try:
            async with self._turn, asyncio.timeout(_ENDS_WITHIN):
                socket.send_fds(self._commands, [json.dumps(command).encode()], descriptors)
                await self._readable()
                answer, handles, _, _ = socket.recv_fds(self._commands, PACKET, 1, socket.MSG_CMSG_CLOEXEC)
        except (OSError, TimeoutError) as error:
            raise ZygoteError(f"the zygote does not answer: {error}") from error
        if not answer:
            raise ZygoteError("the zygote has ended")
        return json.loads(answer), handles

    async def _readable(self) -> None:
        """Wait until the zygote has answered, or has ended."""
        loop = asyncio.get_running_loop()
        there = loop.create_future()
        loop.add_reader(self._commands, lambda: there.done() or there.set_result(None))
        try:
            await there
        finally:
            loop.remove_reader(self._commands)


def _has_exited(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])
