"""The launcher of a Machine's network: each step that may fail, what it says then, and that it leaves nothing."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import psutil
import pytest

from callboard.machines import network_launcher
from callboard.machines.loopback_watch import write_unserved_ports
from callboard.machines.network import Network, find_nameserver, network_refusal, rewrite_resolv_conf
from callboard.machines.network_launcher import Plan
from callboard.machines.package_box import kept
from callboard.machines.reach import Reach
from tests.support import unprivileged_user
from tests.support.polling import block_until
from tests.support.programs import make_program

needs_networks = pytest.mark.skipif(network_refusal() is not None, reason=f"Networks: {network_refusal()}")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="Only root can take something away for this test.")

PLAN = Plan("/nonexistent/pasta", "/nonexistent/ip", Reach.of(), None)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A plan whose programs have paths of this test's own, by which their processes are found."""
    made = Network.of(Reach.of(), tmp_path).plan
    for name in ("pasta", "ip"):
        (tmp_path / name).symlink_to(getattr(made, name))
    return replace(made, pasta=str(tmp_path / "pasta"), ip=str(tmp_path / "ip"))


def launch(plan: Plan, *command: str, before: Sequence[str] = (), **options: Any) -> tuple[int, str]:
    """The exit code, and what was printed last."""
    launching = [*before, sys.executable, "-I", "-S", network_launcher.__file__, plan.to_json(), *command]
    done = subprocess.run(launching, capture_output=True, text=True, timeout=60, **options)
    return done.returncode, (f"{done.stderr}\n{done.stdout}".strip().splitlines() or [""])[-1]


def of_this_test(folder: Path) -> list[psutil.Process]:
    """Processes that have a path in this folder on their command line."""
    found = psutil.process_iter(["cmdline"])
    return [one for one in found if any(str(folder) in argument for argument in one.info["cmdline"] or [])]


@needs_networks
def test_a_trial_leaves_nothing(plan: Plan, tmp_path: Path) -> None:
    assert launch(plan) == (0, "")
    block_until(lambda: not of_this_test(tmp_path))


NO_CAPABILITY = 'grep -c "^Cap\\(Inh\\|Prm\\|Eff\\|Amb\\):.0*$" /proc/self/status'


@needs_networks
def test_the_command_has_no_capability_and_a_descriptor_more(plan: Plan) -> None:
    code, said = launch(plan, "/bin/sh", "-c", "ls -l /proc/self/fd/$0")
    assert (code, "pidfd" in said) == (0, True)
    assert launch(plan, "/bin/sh", "-c", f"exec {NO_CAPABILITY}") == (0, "4")


@needs_networks
def test_the_users_ids_stay_what_they_are_unless_it_is_root(plan: Plan) -> None:
    kept = f"{os.geteuid() or 1000}:{os.getegid() or 1000}"
    assert launch(plan, "/bin/sh", "-c", "echo $(id -u):$(id -g)") == (0, kept)


@needs_networks
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="Bubblewrap is not installed.")
def test_boxes_can_be_made_in_it_and_in_these_further_namespaces(plan: Plan) -> None:
    box = "/usr/bin/env bwrap --unshare-user --unshare-pid --unshare-ipc --uid 1000 --gid 1000"
    box += " --ro-bind / / --proc /proc --dev /dev unshare --user --map-root-user --mount --ipc --pid --fork"
    asked = f"id -u; ! {plan.ip} rule del pref 100 2>/dev/null"
    assert launch(plan, *box.split(), "sh", "-c", asked) == (0, "0")


@needs_networks
def test_a_user_without_privileges_has_the_same_network() -> None:
    options = unprivileged_user.options()
    made = Plan(shutil.which("pasta") or "", shutil.which("ip") or "/usr/sbin/ip", Reach.of(), None)
    if not Path("/dev/net/tun").stat().st_mode & stat.S_IWOTH:
        pytest.skip("Users other than root may not open /dev/net/tun here.")
    code, said = launch(made, "/bin/sh", "-c", f"{made.ip} rule show pref 100; {made.ip} rule del pref 100", **options)
    assert (code, said) == (2, "100:\tfrom all to 100.100.100.200 prohibit")


def test_a_program_that_is_missing_is_named() -> None:
    assert launch(PLAN) == (1, "/nonexistent/pasta does not start: No such file or directory")


@needs_networks
@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("echo first >&2; echo 'no luck' >&2; exit 1", 1, "does not start: no luck"),
        ("exit 0", 1, "has ended as soon as it had started: it printed nothing"),
        ("sleep 1 >/dev/null 2>&1 & exit 0", 1, "has ended as soon as it had started: it printed nothing"),
        ("setsid sh -c 'exec 2>/dev/null; exec sleep 60' >/dev/null & exit 0", 0, ""),
    ],
)
def test_a_pasta_that_does_not_start_is_quoted(plan: Plan, tmp_path: Path, script: str, code: int, said: str) -> None:
    made = str(make_program(tmp_path / "pasta", script))
    assert launch(replace(plan, pasta=made)) == (code, f"{made} {said}" if said else "")


@needs_networks
def test_the_descriptor_is_pasta_s_although_it_leaves_another_process(plan: Plan, tmp_path: Path) -> None:
    left = tmp_path / "left"
    script = f'sleep 60 >/dev/null 2>&1 & echo $! >{left}; exec {plan.pasta} "$@"'
    made = replace(plan, pasta=str(make_program(tmp_path / "leaving", script)))
    tell = f"cat /proc/$(sed -n s/^Pid:.//p /proc/self/fdinfo/$0)/comm; kill $(cat {left})"
    code, name = launch(made, "/bin/sh", "-c", tell)
    assert (code, name[:5]) == (0, "pasta")


@needs_networks
def test_a_program_whose_network_has_ended_ends_and_says_so(plan: Plan, tmp_path: Path) -> None:
    number = tmp_path / "pid"
    made = replace(plan, pasta=str(make_program(tmp_path / "named", f'exec {plan.pasta} --pid {number} "$@"')))
    stdin, open_end = os.pipe()
    try:
        ending = kept(["/bin/sh", "-c", f"kill -9 $(cat {number}); exec sleep 60"], "networked")
        assert launch(made, *ending, stdin=stdin) == (1, "ended, as pasta, its network, has ended")
    finally:
        os.close(stdin)
        os.close(open_end)


@needs_networks
@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "cat >/dev/null; echo 'RTNETLINK answers: no' >&2; exit 2",
            "does not make the rules of the network: RTNETLINK",
        ),
        (None, "does not start: No such file"),
    ],
)
def test_rules_that_are_not_made_end_it_and_pasta(plan: Plan, tmp_path: Path, script: str | None, said: str) -> None:
    ip = str(tmp_path / "nothing") if script is None else str(make_program(tmp_path / "ip", script))
    fails(replace(plan, ip=ip), tmp_path, said)


def fails(plan: Plan, folder: Path, said: str, *, before: Sequence[str] = ()) -> None:
    """It says this, and leaves nothing."""
    code, printed = launch(plan, "/bin/true", before=before)
    assert (code, said in printed) == (1, True), printed
    _, left = psutil.wait_procs(of_this_test(folder), timeout=10)  # a killed process may take a moment to be gone
    assert left == []


@needs_networks
def test_a_command_that_is_missing_is_named_and_pasta_ends(plan: Plan, tmp_path: Path) -> None:
    assert launch(plan, "/nonexistent/command") == (1, "/nonexistent/command: No such file or directory")
    block_until(lambda: not of_this_test(tmp_path))


@needs_networks
@needs_root
@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("echo 0 >/proc/sys/user/max_net_namespaces", "may not make user and network namespaces (the host's limits"),
        ("mount -t tmpfs none /dev/net", "there is no /dev/net/tun: load"),
        ("mount --bind /dev/null /dev/net/tun", "no device in it"),
    ],
)
def test_what_this_host_does_not_allow_is_said(plan: Plan, tmp_path: Path, taken: str, said: str) -> None:
    without = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{taken} && exec "$0" "$@"']
    fails(plan, tmp_path, said, before=without)


@needs_networks
@needs_root
@pytest.mark.parametrize("options", [[], ["--opens-loopback"]])
def test_a_host_without_any_network_has_machines_with_networks(plan: Plan, options: list[str]) -> None:
    allow = [ip_network("127.0.0.0/8")] if options else []
    write_unserved_ports(Path(plan.unserved))
    assert launch(replace(plan, reach=Reach.of(allow=allow)), "/bin/true", before=["unshare", "--net"]) == (0, "")


@needs_networks
def test_no_network_is_made_while_it_is_not_known_what_listens(plan: Plan, tmp_path: Path) -> None:
    plan = replace(plan, reach=Reach.of(allow=[ip_network("127.0.0.0/8")]))
    fails(plan, tmp_path, "it is not known what listens at loopback (No such file or directory)")


@needs_networks
@needs_root
def test_dns_reaches_the_host_s_loopback_nameserver_in_a_closed_network(plan: Plan) -> None:
    ask = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(30);"
        f"s.sendto(b'which?', ({network_launcher.GATEWAY[4]!r}, 53)); print(s.recv(100).decode())"
    )
    closed = Reach.of(deny=[ip_network("0.0.0.0/0"), ip_network("::/0")])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nameserver:
        nameserver.bind(("127.83.83.83", 53))

        def answer() -> None:
            asked, sender = nameserver.recvfrom(100)
            nameserver.sendto(b"this: " + asked, sender)

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        asking = replace(plan, reach=closed, nameserver="127.83.83.83")
        assert launch(asking, sys.executable, "-c", ask) == (0, "this: which?")
        answering.join(30)


def test_rules_are_asked_in_the_order_in_which_they_decide() -> None:
    reach = Reach.of(
        allow=[ip_network("10.1.2.0/24"), ip_network("10.9.9.9/32")],
        deny=[ip_network("10.1.0.0/16")],
        own=[ip_address("10.9.9.9")],
        closed_ports=[7233],
    )
    lines = list(replace(PLAN, reach=reach).ip_commands(4))
    rules = [line.removeprefix("rule add ") for line in lines if line.startswith("rule add")]
    assert rules[:3] == [
        "pref 20 lookup local",
        "pref 10 to 10.9.9.9/32 ipproto tcp dport 7233 prohibit",
        "pref 30 to 192.0.0.1 ipproto udp dport 53 lookup main",
    ]
    places = {line.partition(" to ")[2]: int(line.split()[1]) for line in rules if " to " in line}
    assert places["10.9.9.9/32 lookup main"] < places["10.9.9.9/32 prohibit"] < places["10.1.2.0/24 lookup main"]
    assert places["10.1.2.0/24 lookup main"] < places["10.1.0.0/16 prohibit"]
    six = list(replace(PLAN, reach=reach).ip_commands(6))
    assert any("to 64:ff9b::a01:0/112 prohibit" in line for line in six), "the form of NAT64"


def test_what_is_opened_is_open_at_its_port_alone() -> None:
    opened = [(ip_address(text), port) for text, port in (("10.1.2.3", 443), ("127.0.0.1", 8080), ("::1", 7233))]
    plan = replace(PLAN, reach=Reach.of(deny=[ip_network("10.0.0.0/8")], closed_ports=[7233], opened=opened))
    assert "rule add pref 40 to 10.1.2.3 ipproto tcp dport 443 lookup main" in plan.ip_commands(4)
    assert plan.loopback == "8080"


def test_ports_of_our_own_are_closed_where_one_address_of_loopback_is_open() -> None:
    reach = Reach.of(allow=[ip_network("127.0.0.1/32")], closed_ports=[7233])
    rules = list(replace(PLAN, reach=reach).ip_commands(4))
    assert "rule add pref 10 to 127.0.0.0/8 ipproto tcp dport 7233 prohibit" in rules


@pytest.mark.parametrize(
    ("printed", "nameserver"),
    [
        ("search here\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n", "10.0.0.1"),
        ("nameserver 127.0.0.53\noptions edns0\n", "127.0.0.53"),
        ("nameserver fe80::1%eth0\nnameserver fd00::53\n", "fd00::53"),
        ("nameserver fe80::1%eth0\n", None),
        ("nameserver\n# nameserver 10.0.0.1\nnameserver nonsense\nnameserver 10.0.0.3", "10.0.0.3"),
        ("", "127.0.0.1"),
    ],
)
def test_the_first_nameserver_that_can_be_asked_is_found(printed: str, nameserver: str | None) -> None:
    assert find_nameserver(printed) == nameserver


def test_resolv_conf_names_the_gateway_and_keeps_all_else() -> None:
    printed = "search here\nnameserver 10.0.0.1\noptions ndots:2\nnameserver 10.0.0.2\n"
    assert rewrite_resolv_conf(printed, "10.0.0.1") == "search here\noptions ndots:2\nnameserver 192.0.0.1\n"
    assert rewrite_resolv_conf(printed, "fd00::53").endswith("\nnameserver fd63:616c:6c62::1\n")
    assert rewrite_resolv_conf(printed, None) == printed
