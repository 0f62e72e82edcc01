"""The host of a URL in a spelling that every reader takes for the same host.

Browsers (WHATWG URL) and `inet_aton` read far more texts as an IPv4 address than its usual spelling: `0x7f.1`,
`2130706433`, `0177.0.0.1`, `127.1`, each also with a dot behind it. Other readers take some of them for names. A rule
that one reader applies does not bind another one that reads the host differently, so such spellings are refused.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

HOST_EXPECTED = (
    "a host that is a name, such as proxy.example.com, or an IP address in its usual spelling, such as 192.0.2.2 "
    "or [2001:db8::2]"
)

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_LONGEST_NAME = 253


def parse_host(text: str) -> IPv4Address | IPv6Address | str:
    """Return the IP address that `text` spells, or else the name of a host, in small letters.

    One dot may end either. It is removed from an address; in a name it has a meaning (the name is absolute) and stays.

    Args:
        text: The host, without the brackets that a URL has around an IPv6 address.

    Raises:
        ValueError: `text` is neither a name nor an address in its usual spelling. The message does not repeat it.
    """
    try:
        return _parse(text)
    except ValueError as error:
        raise ValueError(f"expected {HOST_EXPECTED}") from error


def _parse(text: str) -> IPv4Address | IPv6Address | str:
    if ":" in text:
        address = IPv6Address(text)
        if address.scope_id is not None:
            raise ValueError("a zone, which is an interface of one host alone")
        return address
    host = text.removesuffix(".")
    if len(host) > _LONGEST_NAME or not _NAME.fullmatch(host):
        raise ValueError("neither a name nor an address")
    # The WHATWG URL standard reads a host whose last label is a number as an IPv4 address.
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return IPv4Address(host)
    return text.lower()
