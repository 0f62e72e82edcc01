"""Where requests that callers ask for may go: to public addresses, and to what the operator has opened.

Every address that a name has must be allowed, since nobody knows which one would be taken. The check is made when a
request is accepted, and once more by whoever connects (`security.guarded`), who connects to an address that was
checked: a name may lead elsewhere by then.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from ipaddress import ip_network

import httpx

from contract.errors import ConfigurationError, EgressRefused
from security.addresses import Address, Network, embedded_v4, plain, why_not_public
from security.resolving import Resolve, resolve

LOOPBACK = ("127.0.0.0/8", "::1/128")
"""This host."""

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?")
_LOOK_UP_WITHIN = 5.0
"""Seconds, when a request is accepted: a client waits."""

_NO_ADDRESS = "That is no address that a request can be sent to."
_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class Egress:
    """The rule, with what the operator has opened."""

    def __init__(self, allow: Sequence[str] = (), *, resolve: Resolve = resolve) -> None:
        """Nothing is looked up yet.

        Args:
            allow: Networks (`10.1.0.0/16`), addresses and names of hosts that are allowed although not public.
            resolve: Names to addresses.

        Raises:
            ConfigurationError: Something in `allow` is none of these.
        """
        self._resolve = resolve
        self._networks: list[Network] = []
        self._hosts: set[str] = set()
        for entry in allow:
            try:
                self._networks.append(ip_network(entry, strict=False))
            except ValueError:
                if not _is_name(entry):
                    raise ConfigurationError(
                        f"CALLBOARD_EGRESS_ALLOW: {entry!r} is neither a network such as 10.1.0.0/16, nor an address, "
                        "nor the name of a host."
                    ) from None
                self._hosts.add(_canonical(entry))

    async def check_url(self, url: str, *, unknown: bool = False) -> None:
        """Refuse `url` if a request to it would be refused now.

        A name that cannot be looked up at this moment is not refused: who connects will look again. With `unknown`,
        neither is one that nobody has.

        Raises:
            EgressRefused: It leads, or may lead, to an address that is not public; or nowhere at all.
        """
        try:
            parsed = httpx.URL(url)  # what will connect reads it so, too
            host, port = parsed.raw_host.decode("ascii"), parsed.port or (443 if parsed.scheme == "https" else 80)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise EgressRefused(_NO_ADDRESS) from error
        try:
            async with asyncio.timeout(_LOOK_UP_WITHIN):
                await self.addresses(host, port)
        except TimeoutError:
            return
        except socket.gaierror as error:
            # A host that the operator has opened may be one that only workers know.
            if error.errno in _NO_SUCH_NAME and not unknown and _canonical(host) not in self._hosts:
                raise EgressRefused(f"There is no host {host}.") from error

    async def addresses(self, host: str, port: int) -> list[Address]:
        """The addresses that may be connected to for `host`, all of them checked.

        Raises:
            EgressRefused: One of them is not allowed.
            socket.gaierror: The name cannot be looked up.
        """
        host = host.removeprefix("[").removesuffix("]")
        if "%" in host or not host:  # a zone of this host's own; or an escape, which no name has
            raise EgressRefused(_NO_ADDRESS)
        try:
            found = [plain(text.partition("%")[0]) for text in await self._resolve(host, port)]
        except (UnicodeError, ValueError) as error:
            raise EgressRefused(_NO_ADDRESS) from error
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        if _canonical(host) not in self._hosts:
            for address in found:
                if (why := self._why_not(address)) is not None:
                    raise EgressRefused(
                        f"{host} leads to {why}, where no request on a caller's behalf may go. Use an address that is "
                        "public, or have the operator open this one with CALLBOARD_EGRESS_ALLOW."
                    )
        return found

    def _why_not(self, address: Address) -> str | None:
        if not any(address in network for network in self._networks):
            return why_not_public(address)
        inside = embedded_v4(address)  # that a network translates does not open what it translates to
        return None if inside is None else self._why_not(inside)


def _is_name(text: str) -> bool:
    last = text.rstrip(".").rpartition(".")[2]
    # Such a one is an address in an old spelling, to whoever looks it up.
    return _HOST.fullmatch(text) is not None and not last.isdigit() and not last.lower().startswith("0x")


def _canonical(host: str) -> str:
    return host.rstrip(".").lower()
