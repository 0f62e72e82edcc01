"""The zygote of a Machine: a process that is forked for the user code of each Attempt, in the box that this needs.

It has one thread, so that a fork of it is whole, and does nothing but what the supervisor asks for. It is a child
subreaper: whatever an Attempt's process leaves behind becomes a child of the zygote, and is found without a search.
What differs by the language of user code is a `UserCode`.

    {"warm": true}, with a socket to the browser   get ready for the first fork                    {"warm"}, a pidfd
    {"import": [name], "variables": [name]}        import modules ahead (see `imports`)            {"imported", "read"}
    {"fork": true}, with three descriptors         fork a process for user code                    {"forked"}, a pidfd
    {"end": true, "hasEnded": whether by itself}   kill that process and all below it              {"status", "alive"}

Each command is one packet, and so is its answer.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, Protocol

from . import confinement, inner_box
from .confinement import Walls
from .folders import set_places
from .inner_box import InnerBox, Inside
from .process_tree import kill_all

PACKET = 64 * 1024
STACK_SIGNAL = signal.SIGRTMAX - 1
"""Signal on which a process of user code tells where it stands, also if it blocks, if it can: a real-time signal that
few programs use."""
_MOST_NAMES = 500
"""Most names of variables in an answer, which is a packet. Packages read some dozens."""


class UserCode(Protocol):
    """What a zygote does for the language of user code."""

    def warm(self, browser: socket.socket) -> None:
        """Do ahead what each fork would have to do otherwise, given a connection to the browser, which this closes."""
        ...

    def import_ahead(self, names: Iterable[str], variables: frozenset[str]) -> Iterable[str]:
        """Import modules, and return the names of all environment variables that imports ahead have read."""
        ...

    def run(self, control: int, browser: int, stacks: int) -> NoReturn:
        """Be the process of user code, just after the fork, given its three descriptors (see `user_process`)."""
        ...


def serve(fd: int, begin: Callable[[dict[str, Any]], UserCode]) -> None:
    """Carry out the commands that come over the socket `fd`, until the supervisor ends.

    The first packet is no command: it says how each process of user code is made, and `begin` is called with it. This
    returns in the zygote only, never in a fork of it.
    """
    commands = socket.socket(fileno=fd)
    inner_box.adopt_orphans()
    setup = json.loads(commands.recv(PACKET) or "{}")
    os.environ.pop("PWD", None)  # bubblewrap sets it, to where no Attempt works
    if setup:
        # What is imported ahead and looks for these finds the places that every Attempt has.
        set_places(Path(setup["folder"]))
        forks = Forks(commands, InnerBox(**setup["innerBox"]) if setup["innerBox"] else None, setup["walls"])
        _serve(commands, forks, begin(setup))


class Forks:
    """The processes of user code, one at a time, each in an inner box if one is wanted."""

    def __init__(self, commands: socket.socket, box: InnerBox | None, walls: Walls | None) -> None:
        self._commands = commands
        self._box = box
        self._walls = walls
        self._inside: Inside | None = None

    def fork(self) -> bool:
        """Fork, tell the supervisor of the fork, and return whether this is the fork.

        Raises:
            OSError: The box for it cannot be made.
        """
        self._inside = inner_box.fork(self._box, self._restrict, self._tell)
        return self._inside is None

    def _restrict(self) -> None:
        if self._walls is not None:
            confinement.restrict(self._walls)
            confinement.forbid_to_user_code()

    def end(self, *, has_ended: bool) -> int:
        """Kill the process of user code, which may be known to have ended by itself, and return its wait status."""
        inside, self._inside = self._inside, None
        if inside is None:
            raise RuntimeError("there is no process of user code")
        return inner_box.end(inside, has_ended=has_ended)

    def _tell(self, pidfd: int) -> None:
        _send(self._commands, {"forked": True}, pidfd)


def _serve(commands: socket.socket, forks: Forks, user_code: UserCode) -> None:
    while packet := _receive(commands):
        command, descriptors = packet
        answer: dict[str, Any]
        if "warm" in command:
            user_code.warm(socket.socket(fileno=descriptors[0]))
            _send(commands, {"warm": True}, os.pidfd_open(os.getpid()))
            continue
        if "import" in command:
            read = user_code.import_ahead(command["import"], frozenset(command["variables"]))
            answer = {"imported": True, "read": sorted(read)[:_MOST_NAMES]}
        elif "fork" in command:
            if threading.active_count() > 1:
                raise RuntimeError("the zygote must have one thread, and has more")
            if forks.fork():
                commands.close()
                user_code.run(*descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            continue  # the fork has answered
        else:
            answer = {"status": forks.end(has_ended=command["hasEnded"]), "alive": kill_all()}
        commands.send(json.dumps(answer).encode())


def _send(commands: socket.socket, answer: dict[str, Any], pidfd: int) -> None:
    """Answer with a handle on a process: its number means nothing outside its box."""
    socket.send_fds(commands, [json.dumps(answer).encode()], [pidfd])
    os.close(pidfd)


def _receive(commands: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    data, descriptors, _, _ = socket.recv_fds(commands, PACKET, 3, socket.MSG_CMSG_CLOEXEC)
    return (json.loads(data), descriptors) if data else None
