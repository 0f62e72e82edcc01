"""The server's half of SOCKS5 (RFC 1928), as far as browsers speak it: connections, without credentials."""

from __future__ import annotations

import errno
from enum import IntEnum
from ipaddress import ip_address

from .dialing import DialError, RefusedError, Stream, Target, UnknownHostError, UnreachableError

_VERSION = 5
_NO_CREDENTIALS = 0x00
_NO_METHOD = 0xFF
_CONNECT = 0x01


class _Address(IntEnum):
    """The type of an address."""

    IPV4 = 0x01
    NAME = 0x03
    IPV6 = 0x04


class Reply(IntEnum):
    """The answer to a request."""

    SUCCEEDED = 0x00
    FAILED = 0x01
    NOT_ALLOWED = 0x02
    NETWORK_UNREACHABLE = 0x03
    HOST_UNREACHABLE = 0x04
    CONNECTION_REFUSED = 0x05
    TTL_EXPIRED = 0x06
    COMMAND_NOT_SUPPORTED = 0x07
    ADDRESS_TYPE_NOT_SUPPORTED = 0x08


_REPLIES = {
    errno.ECONNREFUSED: Reply.CONNECTION_REFUSED,
    errno.EHOSTUNREACH: Reply.HOST_UNREACHABLE,
    errno.ENETUNREACH: Reply.NETWORK_UNREACHABLE,
}


class ProtocolError(Exception):
    """The client does not speak the protocol, or wants what is not served. It has its answer, if there is one."""


async def read_request(client: Stream) -> Target:
    """Return where the client wants to be connected to.

    Raises:
        ProtocolError: It wants something else; it has been answered.
        IncompleteReadError: It has hung up.
    """
    reader, writer = client
    version, methods = await reader.readexactly(2)
    if version != _VERSION:
        raise ProtocolError("this is not SOCKS5")
    if _NO_CREDENTIALS not in await reader.readexactly(methods):
        writer.write(bytes((_VERSION, _NO_METHOD)))
        raise ProtocolError("the client wants to give credentials")
    writer.write(bytes((_VERSION, _NO_CREDENTIALS)))
    version, command, _, kind = await reader.readexactly(4)
    if version != _VERSION:
        raise ProtocolError("this is not SOCKS5")
    match kind:
        case _Address.IPV4 | _Address.IPV6:
            host = str(ip_address(await reader.readexactly(4 if kind == _Address.IPV4 else 16)))
        case _Address.NAME:
            (length,) = await reader.readexactly(1)
            host = (await reader.readexactly(length)).decode("ascii", errors="replace")
        case _:
            reply(client, Reply.ADDRESS_TYPE_NOT_SUPPORTED)
            raise ProtocolError(f"there is no type of address {kind}")
    port = int.from_bytes(await reader.readexactly(2))
    if command != _CONNECT:
        reply(client, Reply.COMMAND_NOT_SUPPORTED)
        raise ProtocolError(f"command {command} is not served")
    return Target(host, port)


def reply(client: Stream, answer: Reply) -> None:
    """Answer the request. The address that the protocol wants besides is of no use to a client, and left out."""
    client.writer.write(bytes((_VERSION, answer, 0, _Address.IPV4, *bytes(6))))


def reply_of(error: DialError) -> Reply:
    """Return the answer that says why there is no connection."""
    match error:
        case RefusedError():
            return Reply.NOT_ALLOWED
        case UnknownHostError():
            return Reply.HOST_UNREACHABLE
        case UnreachableError(error=TimeoutError()):
            return Reply.TTL_EXPIRED
        case UnreachableError(error=why):
            return _REPLIES.get(why.errno or 0, Reply.FAILED)
        case _:
            return Reply.FAILED
