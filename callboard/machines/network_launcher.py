"""Execute a Machine's supervisor in a network namespace of its own: `python -I -S network_launcher.py PLAN [COMMAND…]`.

The namespace has one device. At its other end is `pasta`, a user-mode network: it makes the connections of the
namespace from outside, as this user. Routing rules inside decide which connections reach it. Nobody in the Machine may
change them: the supervisor is executed without the capabilities that this process has in the namespace.

PLAN is JSON: `pasta` and `ip` (the two programs), `reach` (see `callboard.machines.reach`), `nameserver` (the one of
this host, or null), `unserved` (the file that says at which ports of loopback nothing listens) and `changed` (the
descriptor of the event that this file has changed, or null: then the rules stay as they are at the start). COMMAND gets
one more argument: a descriptor that becomes readable when pasta ends. Without COMMAND, this only tries whether all of
it works here. If not, it prints a line with the reason, and the exit code is 1.

This runs on the standard library alone, below the keeper, which ends pasta with all else that is left of the Machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from errno import ENODEV, ENOSPC
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__":
    # A script can import our packages from this folder, after the standard library, and nothing else of ours.
    sys.path.append(str(Path(__file__).parents[2]))

from callboard.machines.loopback_rules import LoopbackRules, keep
from callboard.machines.reach import Network, Reach
from callboard.machines.runner.process_tree import PARENT, SESSION, descendants, fields_of, has_ended, pids, read

_DEVICE = "net0"
_MAC = "9a:55:9a:55:9a:55"
"""Hardware address of pasta, at the other end of the device."""
_OURS = {4: "192.0.0.2", 6: "fd63:616c:6c62::2"}
"""Addresses of the namespace, by version of IP. Nobody outside sees them; they are of no network that people use."""
GATEWAY = {4: "192.0.0.1", 6: "fd63:616c:6c62::1"}
"""Addresses at which pasta answers: as the next hop, and for names, with what this host's nameserver says."""
_LENGTH = {4: 30, 6: 64}
_USER = 1000
"""User and group that root is in the namespaces, since programs that root executes there would have all capabilities.
Moreover, only a process with a certain capability may make a further user namespace that root is mapped into."""

_LOOPBACK = tuple(ip_address(address) for address in ("127.0.0.1", "::1"))
_TUN = "/dev/net/tun"
_TUNSETIFF, _TUNSETPERSIST, _TUNSETTXFILTER = 0x400454CA, 0x400454CB, 0x400454D1
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT, _AMBIENT_RAISE = 47, 2
_CAP_NET_ADMIN = 12
_CAPABILITY_VERSION = 0x20080522

_UNSERVED_AT, _PORTS_AT, _LOCAL_AT, _NAMES_AT, _OPENED_AT, _RULES_AT = 5, 10, 20, 30, 40, 100
"""Places of the rules in the order in which the kernel asks them. It asks the table `main`, with the way out, last."""


class LaunchError(Exception):
    """A step that does not work here: the end of a sentence, without its period."""


@dataclass(frozen=True)
class Plan:
    """What the network of a Machine is made with."""

    pasta: str
    ip: str
    reach: Reach
    nameserver: str | None
    unserved: str = ""
    """The file of the ports of loopback at which nothing listens, where loopback is open; see `LoopbackWatch`."""
    changed: int | None = None
    """The descriptor of the event that this file has changed."""

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return the plan that `to_json` has written."""
        value: dict[str, Any] = json.loads(text)
        value["reach"] = Reach.from_json(value["reach"])
        return cls(**value)

    def to_json(self) -> str:
        """Return a text that `from_json` reads."""
        return json.dumps({**asdict(self), "reach": self.reach.to_json()})

    @property
    def loopback(self) -> str:
        """The ports at which loopback of this host is reached, as pasta is told them."""
        if any(map(self.reach.is_open, _LOOPBACK)):
            return "auto"  # whatever listens there
        ports = {port for address, port in self.reach.opened if ip_address(address).is_loopback}
        return ",".join(map(str, sorted(ports - self.reach.closed_ports))) or "none"

    def pasta_command(self, pid: int) -> list[str]:
        """Return the command that gives a network to the namespaces of a process, and returns when it is there."""
        command = [self.pasta, "--quiet", "--config-net", "--ns-ifname", _DEVICE, "--mac-addr", _MAC]
        command += ["--netmask", str(_LENGTH[4]), "--no-map-gw", "--no-dhcp", "--no-dhcpv6", "--no-ra", "--no-icmp"]
        for version in (4, 6):
            command += ["--address", _OURS[version], "--gateway", GATEWAY[version]]
        if self.nameserver is not None:
            forward = GATEWAY[ip_address(self.nameserver).version]
            command += ["--dns-forward", forward, "--dns-host", self.nameserver]
        # Nothing reaches the namespace from outside. From inside, `-T` leads to what listens on this host's loopback.
        command += ["-t", "none", "-u", "none", "-U", "none", "-T", self.loopback]
        if os.geteuid() == 0:  # it would become `nobody`, who may not join our namespaces
            command += ["--runas", f"{os.geteuid()}:{os.getegid()}"]
        return [*command, str(pid)]

    def ip_commands(self, version: int) -> Iterator[str]:
        """Yield the commands to `ip` that make the rules for one version of IP."""
        # Nobody answers in the network but pasta, so nobody is asked: see `_make_device`.
        yield f"neigh replace {GATEWAY[version]} lladdr {_MAC} dev {_DEVICE} nud permanent"
        yield f"address replace {_OURS[version]}/{_LENGTH[version]} dev {_DEVICE}{' nodad' if version == 6 else ''}"
        yield f"route replace default via {GATEWAY[version]} dev {_DEVICE}"
        # By default the kernel asks the table of the namespace's own addresses before any rule.
        yield f"rule add pref {_LOCAL_AT} lookup local"
        yield "rule del pref 0"
        for network in self.reach.own_networks:
            if network.version == version and self._is_open(network):
                for port in sorted(self.reach.closed_ports):
                    yield f"rule add pref {_PORTS_AT} to {network} ipproto tcp dport {port} prohibit"
        for protocol in ("udp", "tcp"):
            yield f"rule add pref {_NAMES_AT} to {GATEWAY[version]} ipproto {protocol} dport 53 lookup main"
        for text, port in self.reach.opened:
            if (address := ip_address(text)).version == version and not address.is_loopback:
                yield f"rule add pref {_OPENED_AT} to {address} ipproto tcp dport {port} lookup main"
        rules = [rule for rule in self.reach.networks if rule[0].version == version]
        for place, (network, allowed) in enumerate(rules, start=_RULES_AT):
            yield f"rule add pref {place} to {network} {'lookup main' if allowed else 'prohibit'}"

    def _is_open(self, network: Network) -> bool:
        """Tell whether any of its addresses is open: all that no other rule closes, or those that a rule opens."""
        opened = (rule for rule, allowed in self.reach.networks if allowed and rule.version == network.version)
        return self.reach.is_open(network.network_address) or any(map(network.overlaps, opened))


def enter_network(plan: Plan) -> int:
    """Move this process into namespaces of its own with the planned network, and return pasta's process id.

    Raises:
        LaunchError: A step does not work here. This process must end then.
    """
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # pasta detaches itself, and must be found
    start_r, start_w = os.pipe()
    error_r, error_w = os.pipe()
    starting = _fork_pasta(plan.pasta_command(os.getpid()), start_r, error_w)
    os.close(start_r)
    os.close(error_w)
    _make_namespaces()
    _make_device()
    os.write(start_w, b"!")
    os.close(start_w)
    with os.fdopen(error_r, errors="replace") as printed:
        said = printed.read()
    if os.waitpid(starting, 0)[1] != 0:
        raise LaunchError(f"{plan.pasta} does not start: {_last_line(said)}")
    if (pasta := _find_daemon()) is None:
        raise LaunchError(f"{plan.pasta} has ended as soon as it had started: {_last_line(said)}")
    _hand_on_network_administration()
    for version in _versions():
        _configure(plan, version, plan.ip_commands(version))
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    return pasta


def _find_daemon() -> int | None:
    """Return the child of this process that has made itself a daemon, and runs; None if there is none.

    pasta leads a session of its own before it closes its standard error. What it has started before, to look into the
    namespace, may have become a child of this process, too, and ends at any moment.
    """
    for pid in pids():
        fields = fields_of(read(f"/proc/{pid}/stat"))
        if fields and (int(fields[PARENT]), int(fields[SESSION])) == (os.getpid(), pid) and not has_ended(pid):
            return pid
    return None


def _make_loopback_rules(plan: Plan) -> None:
    """Make the rules for what listens on this host's loopback now, and fork a process that keeps them up to date."""
    loopback, versions = LoopbackRules(plan.unserved), _versions()

    def update() -> None:
        try:
            commands = loopback.ip_commands(_UNSERVED_AT)
        except OSError as error:
            raise LaunchError(f"it is not known what listens at loopback ({error.strerror})") from error
        for version in versions:
            if commands[version]:
                _configure(plan, version, commands[version])

    update()
    if plan.changed is not None and os.fork() == 0:
        try:
            keep(update, plan.changed)
        except Exception as error:  # noqa: BLE001  # there is nobody above who could hear of it
            print(f"`localhost` may not lead to what listens at it: {error}", flush=True)  # noqa: T201  # for the log
        finally:
            os._exit(1)


def _fork_pasta(command: list[str], start_r: int, error_w: int) -> int:
    """Fork a process that executes pasta outside the namespaces, once they are there; return its process id."""
    if (pid := os.fork()) != 0:
        return pid
    try:
        if not os.read(start_r, 1):
            os._exit(0)  # the parent has ended before
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor, its in ((nothing, 0), (nothing, 1), (error_w, 2)):
            os.dup2(descriptor, its)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.execv(command[0], command)  # noqa: S606  # no shell is wanted
    except OSError as error:
        os.write(2, f"{error.strerror}\n".encode())
    finally:
        os._exit(1)


def _make_namespaces() -> None:
    uid, gid = os.geteuid(), os.getegid()
    try:
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
        # A user other than root may map its own ids only, and its group only if nobody can leave groups any more.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid or _USER} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid or _USER} {gid} 1")
    except OSError as error:
        why = "the host's limits, user.max_…_namespaces, allow no more" if error.errno == ENOSPC else error.strerror
        raise LaunchError(f"user {uid} may not make user and network namespaces ({why})") from error


def _make_device() -> None:
    """Make the network device, and have it drop each frame that is not for pasta.

    By its routes alone a program would not be held back: one that binds its socket to the device makes Linux take each
    IPv4 address for a neighbor in this network. To find neighbors, and to speak to several of them by multicast, takes
    frames to other hardware addresses.
    """
    try:
        tun = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise LaunchError(
            f"there is no {_TUN}: load the kernel's module `tun`, or give the container the device"
        ) from error
    except OSError as error:
        hint = ": load the kernel's module `tun`" if error.errno == ENODEV else ""
        raise LaunchError(f"user {os.geteuid()} cannot open {_TUN} ({error.strerror}){hint}") from error
    try:
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", _DEVICE.encode(), _IFF_TAP | _IFF_NO_PI))
        fcntl.ioctl(tun, _TUNSETPERSIST, 1)  # pasta opens it again, and finds the filter there
        fcntl.ioctl(tun, _TUNSETTXFILTER, struct.pack("HH6s", 0, 1, bytes.fromhex(_MAC.replace(":", ""))))
    except OSError as error:
        raise LaunchError(
            f"user {os.geteuid()} may make a network namespace, but no device in it ({error.strerror}); "
            "a security module such as AppArmor may forbid it"
        ) from error
    finally:
        os.close(tun)


def _versions() -> list[int]:
    """Return the versions of IP that pasta has set up, which are those that this host has a way out for."""
    found: list[int] = []
    if any(line.startswith(f"{_DEVICE}\t00000000\t") for line in Path("/proc/self/net/route").read_text().splitlines()):
        found.append(4)
    six = Path("/proc/self/net/if_inet6")
    if six.exists() and f"{int(ip_address(_OURS[6])):032x}" in six.read_text():
        found.append(6)
    return found


def _configure(plan: Plan, version: int, commands: Iterable[str]) -> None:
    command = [plan.ip, f"-{version}", "-batch", "-"]
    lines = "".join(f"{line}\n" for line in commands)
    try:
        done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    except OSError as error:
        raise LaunchError(f"{plan.ip} does not start: {error.strerror}") from error
    if done.returncode != 0:
        raise LaunchError(f"{plan.ip} does not make the rules of the network: {_last_line(done.stderr)}")


def _hand_on_network_administration() -> None:
    """Have programs that are executed next keep the one capability that `ip` needs, and give up all others."""
    _set_capabilities(1 << _CAP_NET_ADMIN)
    _call("prctl", _PR_CAP_AMBIENT, _AMBIENT_RAISE, _CAP_NET_ADMIN, 0, 0)


def _set_capabilities(held: int) -> None:
    """Set the effective, permitted and inheritable capabilities; those that matter here are in the first word."""
    _call("capset", struct.pack("Ii", _CAPABILITY_VERSION, 0), struct.pack("6I", held, held, held, 0, 0, 0))


def _call(name: str, *arguments: int | bytes) -> None:
    """Call a function of the C library that Python does not offer."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise LaunchError(f"{name} is refused ({os.strerror(ctypes.get_errno())})")


def _last_line(printed: str) -> str:
    return (printed.strip().splitlines() or ["it printed nothing"])[-1]


def main() -> NoReturn:
    """Make the network and execute the command in it, or only try it; see the module's docstring."""
    plan, command = Plan.from_json(sys.argv[1]), sys.argv[2:]
    if plan.changed is not None:
        os.set_inheritable(plan.changed, False)  # noqa: FBT003  # only who keeps the rules may wait for it
    try:
        pasta = enter_network(plan)
        ended = os.pidfd_open(pasta)
        if not command:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
            os.waitpid(pasta, 0)
            sys.exit(0)
        if plan.loopback != "none":
            _make_loopback_rules(plan)
        _set_capabilities(0)  # the next program gets none back, as in the namespace nobody is root
        os.set_inheritable(ended, True)  # noqa: FBT003
        os.execv(command[0], [*command, str(ended)])  # noqa: S606  # no shell is wanted
    except LaunchError as error:
        print(error, flush=True)  # noqa: T201  # the keeper, or who tries it, reads it
    except OSError as error:
        print(f"{command[0] if command else plan.pasta}: {error.strerror}", flush=True)  # noqa: T201
    with contextlib.suppress(ProcessLookupError):
        for pid in descendants(os.getpid()):
            os.kill(pid, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
