"""User code connects to no socket of others on its host: by path, by abstract name, or by port."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from callboard.machines.runner import confinement
from tests.support.machines import Language
from tests.support.polling import until
from tests.system.attacks.installation import (
    OWN_ADDRESSES,
    Installation,
    addresses_of_this_host,
    attacker_in,
    ports_of,
)


def unix_sockets(installation: Installation) -> list[str]:
    """All sockets with a name on this host, and those in the installation's folder."""
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    names = {line.split(maxsplit=7)[7] for line in lines if len(line.split(maxsplit=7)) == 8}
    found = {str(path) for path in installation.folder.rglob("*") if path.is_socket()}
    return sorted(names | found)


@pytest.fixture
def bystanders() -> Iterator[list[str]]:
    """Sockets of another service on this host: one with a path, one with an abstract name."""
    with contextlib.ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="bystander-")))
        folder.chmod(0o755)
        names = [str(folder / "socket"), "\0callboard-test-bystander"]
        for name in names:
            end = resources.enter_context(socket.socket(socket.AF_UNIX))
            end.bind(name)
            end.listen()
            if name.startswith("/"):
                Path(name).chmod(0o777)
        yield names


async def test_no_socket_with_a_name_can_be_connected_to(
    installation: Installation, language: Language, bystanders: list[str]
) -> None:
    await installation.still_works("victim")
    found = unix_sockets(installation)
    paths = [name for name in found if name.startswith("/")] + bystanders[:1]
    abstract = [name.removeprefix("@") for name in found if name.startswith("@")] + [bystanders[1][1:]]
    if installation.kind.isolation == "open" and confinement.abi() < confinement.SCOPES_SINCE:
        abstract = []  # they belong to the network, which is the host's; an older Landlock does not know them
    tried = {"paths": paths, "abstract": abstract}
    assert await installation.attack("sockets", tried, project=attacker_in(language)) == {}


@pytest.mark.kinds("plain-full", "root-full")
async def test_no_port_of_callboard_or_of_the_host_can_be_connected_to(
    installation: Installation, language: Language
) -> None:
    """At the level `open`, user code reaches whatever the host reaches, as SECURITY.md says."""
    await installation.still_works("victim")
    ports = ports_of(installation)
    assert {"api", "temporal"} <= set(ports.values())
    with socket.create_server(("", 0)) as other:
        tried = [*ports, other.getsockname()[1]]
        where = [(address, port) for address in (*OWN_ADDRESSES, *addresses_of_this_host()) for port in tried]
        attacker = attacker_in(language)
        assert await installation.attack("sockets", {"ports": where}, project=attacker) == {}


@pytest.mark.kinds("plain-full", "root-full")
async def test_no_datagram_reaches_the_host(installation: Installation) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 0))
        other.settimeout(0.5)
        port = other.getsockname()[1]
        addresses = [address for address in (*OWN_ADDRESSES, *addresses_of_this_host()) if ":" not in address]
        await installation.attack("sockets", {"datagrams": [(address, port) for address in addresses]})
        with pytest.raises(TimeoutError):
            other.recv(64)


@pytest.mark.kinds("plain-full", "root-full")
async def test_another_machines_debugging_port_cannot_be_connected_to(installation: Installation) -> None:
    """Whoever connects to it controls that browser, and every login in it."""
    run_id = await installation.begin("holds", {"login": "secret"}, project="hooked")
    files = await debugging_ports(installation)
    ports = [int(file.read_text().split()[0]) for file in files]
    where = [(address, port) for address in OWN_ADDRESSES for port in ports]
    assert await installation.attack("sockets", {"ports": where}) == {}
    await installation.rest.cancel(run_id, project="hooked")


async def debugging_ports(installation: Installation) -> list[Path]:
    """The files in which browsers of project `hooked` say where their debugging ports are."""

    def found() -> list[Path]:
        files = [file for folder in installation.machines("hooked") for file in folder.rglob("DevToolsActivePort")]
        return [file for file in files if file.stat().st_size]  # a browser makes it before it writes to it

    await until(found)
    return found()
