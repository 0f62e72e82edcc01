"""Have a Machine's network refuse the loopback address at which nothing listens on this host.

`pasta` accepts connections to a port of this host at both loopback addresses, 127.0.0.1 and ::1, whichever of the two
a program listens at, and resets those that it cannot pass on. A client that is given the name `localhost` tries one
address after the other, but takes an accepted connection for an answer. So routing rules refuse the address at once
where only the other one is served, and they follow what listens on this host. That is the same for all Machines of a
worker, which looks for all of them (`callboard.machines.loopback_watch`).
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

_LOOPBACK = {4: "127.0.0.1", 6: "::1"}


class LoopbackRules:
    """The rules for one network namespace: a file has the ports to refuse, by version of IP."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self._refused: dict[int, frozenset[int]] = dict.fromkeys(_LOOPBACK, frozenset())

    def ip_commands(self, place: int) -> Mapping[int, list[str]]:
        """Return the commands to `ip`, by version of IP, that bring the rules up to date; `place` is theirs among all.

        Raises:
            OSError: There is no file, as it is not known now what listens.
        """
        told = json.loads(self._file.read_bytes())
        before, self._refused = self._refused, {version: frozenset(told[str(version)]) for version in _LOOPBACK}
        return {
            version: [
                f"rule {change} pref {place} to {_LOOPBACK[version]} ipproto tcp dport {port} unreachable"
                for change, ports in (("add", now - before[version]), ("del", before[version] - now))
                for port in sorted(ports)
            ]
            for version, now in self._refused.items()
        }


def keep(update: Callable[[], None], changed: int) -> NoReturn:
    """Be a process that does nothing but to call `update` at once and at each event, for as long as the Machine lives.

    `changed` is the descriptor of the event, for which the networks of all Machines wait. So nobody reads it, and each
    is woken once for each change.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.closerange(3, changed)
    os.closerange(changed + 1, os.sysconf("SC_OPEN_MAX"))
    waiting = select.epoll()
    waiting.register(changed, select.EPOLLIN | select.EPOLLET)
    while True:
        waiting.poll()
        update()
