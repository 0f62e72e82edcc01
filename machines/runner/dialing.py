"""Connect to where a Machine may go: look a name up, check its addresses, connect to one of those that were checked.

The name is looked up once, so it cannot lead elsewhere between the check and the connection (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from .reach import Address, Reach

_CONNECTED_WITHIN = 30.0
"""Seconds in which a connection must stand, from looking up the name on."""
_NEXT_AFTER = 2.0
"""Seconds that an address gets to answer if the name has another one, such as an IPv4 address beside an IPv6 address
of a network that leads nowhere."""
_LOOKUPS = 8
"""Most names that are looked up at the same time."""
OPENED_BY = (
    " In the worker's settings, CALLBOARD_BROWSER_ALLOW opens addresses, but not the ports of Callboard's own parts."
)


class Stream(NamedTuple):
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(frozen=True)
class Target:
    """Where a connection is to lead: a name or an address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class DialError(Exception):
    """There is no connection. The message is a sentence that says why."""

    def __init__(self, message: str, target: Target, *, proxy: bool = False) -> None:
        super().__init__(message)
        self.target = target
        self.proxy = proxy
        """Whether it is a proxy that there is no connection to."""


class RefusedError(DialError):
    """The target is closed to Machines."""


class UnknownHostError(DialError):
    """The name has no address."""


class UnreachableError(DialError):
    """Nobody answers at the addresses of the target, or not as is wanted."""

    def __init__(self, message: str, target: Target, *, proxy: bool, error: OSError) -> None:
        super().__init__(message, target, proxy=proxy)
        self.error = error


class Dialer:
    """Makes connections to whatever `reach` allows."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self._lookups = ThreadPoolExecutor(_LOOKUPS, "lookup")

    async def dial(self, target: Target, *, proxy: bool = False, tls: ssl.SSLContext | None = None) -> Stream:
        """Connect to `target`, which may be a proxy; with `tls`, over TLS, to whom its certificate names so.

        Raises:
            DialError: There is no connection.
        """
        called = f"The proxy {target}" if proxy else str(target)
        try:
            async with asyncio.timeout(_CONNECTED_WITHIN):
                addresses = self._open(await self._look_up(target, called, proxy=proxy), target, called, proxy=proxy)
                return await self._connect(addresses, target, tls)
        except TimeoutError as error:
            said = f"{called} has not answered within {_CONNECTED_WITHIN:g} seconds."
            raise UnreachableError(said, target, proxy=proxy, error=error) from error
        except OSError as error:
            said = f"{called} could not be connected to: {_said(error)}."
            raise UnreachableError(said, target, proxy=proxy, error=error) from error

    def close(self) -> None:
        """Give up the names that are being looked up."""
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def _look_up(self, target: Target, called: str, *, proxy: bool) -> list[Address]:
        try:
            return [ip_address(target.host)]
        except ValueError:
            pass  # it is a name
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._lookups, _addresses, target.host)
        except (socket.gaierror, UnicodeError) as error:
            why = error.strerror if isinstance(error, socket.gaierror) else "it is no host name"
            raise UnknownHostError(f"{called} was not found: {why}.", target, proxy=proxy) from error
        return [ip_address(address) for address in found]

    def _open(self, addresses: list[Address], target: Target, called: str, *, proxy: bool) -> list[Address]:
        """Return the addresses that are open. Raises RefusedError if there are none."""
        refusals = {address: self.reach.refusal(address, target.port) for address in addresses}
        if allowed := [address for address, reason in refusals.items() if reason is None]:
            return allowed
        address, reason = next(iter(refusals.items()))
        what = f"it is {reason}" if str(address) == target.host else f"it leads to {address}, {reason}"
        raise RefusedError(f"{called} was refused, as {what}.{OPENED_BY}", target, proxy=proxy)

    async def _connect(self, addresses: list[Address], target: Target, tls: ssl.SSLContext | None) -> Stream:
        *others, last = addresses
        for address in others:
            try:
                async with asyncio.timeout(_NEXT_AFTER):
                    return await _opened(address, target, tls)
            except OSError:  # which TimeoutError is, too
                continue
        return await _opened(last, target, tls)


async def _opened(address: Address, target: Target, tls: ssl.SSLContext | None) -> Stream:
    name = target.host if tls is not None else None
    return Stream(*await asyncio.open_connection(str(address), target.port, ssl=tls, server_hostname=name))


def _addresses(host: str) -> list[str]:
    """Return the addresses of a name, the one to try first in front."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _said(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS ({error.reason})"
    return os.strerror(error.errno) if error.errno else str(error)
