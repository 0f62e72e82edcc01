"""Give each Machine a network of its own, where this host allows it, and find out whether it does.

That takes Linux's user and network namespaces, the program `pasta` (of the package passt) and `ip` (of iproute2).
Distributions, containers and security modules all have ways of taking one of them away, so a network is made for trial.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from callboard.machines import network_launcher
from callboard.machines.network_launcher import GATEWAY, Plan
from callboard.machines.reach import Reach
from callboard.machines.trial import trial_refusal

_RESOLV_CONF = Path("/etc/resolv.conf")
_DEFAULT_NAMESERVER = "127.0.0.1"
"""What resolvers ask if `resolv.conf` names nobody."""
_SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
"""Where programs of administrators are, which users may not have on their path."""


@dataclass(frozen=True)
class Network:
    """The network that each Machine of a worker gets."""

    plan: Plan
    resolv_conf: Path
    """The file that has to be `/etc/resolv.conf` for what runs in it: it names the one nameserver that is reached."""

    @classmethod
    def of(cls, reach: Reach, folder: Path) -> Network:
        """Return a network in which `reach` holds, and write its `resolv.conf` to a folder.

        Raises:
            FileNotFoundError: A program is not installed; `network_refusal` says so in words.
        """
        printed = _RESOLV_CONF.read_text(errors="replace") if _RESOLV_CONF.exists() else ""
        nameserver = find_nameserver(printed)
        file = folder / "resolv.conf"
        file.write_text(rewrite_resolv_conf(printed, nameserver))
        return cls(Plan(_find_program("pasta"), _find_program("ip"), reach, nameserver), file)

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that executes `command` in such a network, with one more argument: see the launcher."""
        return [sys.executable, "-I", "-S", network_launcher.__file__, self.plan.to_json(), *command]


def find_nameserver(resolv_conf: str) -> str | None:
    """Return the first nameserver of a `resolv.conf` that pasta can ask; None if there is none of that kind."""
    named = [
        words[1] for line in resolv_conf.splitlines() if (words := line.split())[:1] == ["nameserver"] and words[1:]
    ]
    for text in named or [_DEFAULT_NAMESERVER]:
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if "%" not in text:  # a link-local address with the name of a device, which pasta does not take
            return str(address)
    return None


def rewrite_resolv_conf(resolv_conf: str, nameserver: str | None) -> str:
    """Return a `resolv.conf` for inside the network, with all else that this host's one says."""
    if nameserver is None:
        return resolv_conf
    lines = [line for line in resolv_conf.splitlines() if line.split()[:1] != ["nameserver"]]
    return "\n".join([*lines, f"nameserver {GATEWAY[ip_address(nameserver).version]}", ""])


@lru_cache
def network_refusal() -> str | None:
    """Say why Machines cannot have networks of their own here; None if they can.

    The reason is the end of a sentence without its period. This call blocks.
    """
    try:
        plan = Plan(_find_program("pasta"), _find_program("ip"), Reach.of(), None)
    except FileNotFoundError as error:
        return str(error)
    command = [sys.executable, "-I", "-S", network_launcher.__file__, plan.to_json()]
    return trial_refusal(command, {"PATH": os.environ.get("PATH", os.defpath)})


def _find_program(name: str) -> str:
    path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}"
    if (found := shutil.which(name, path=path)) is None:
        raise FileNotFoundError(f"the program `{name}` is not installed (`callboard setup` installs it)")
    return found
