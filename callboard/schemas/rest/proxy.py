"""A proxy's address as clients write it: `http://user:password@host:port`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Annotated
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from callboard.schemas.host import HOST_EXPECTED, parse_host
from callboard.schemas.rest.base import checked, expected_error, expects

SCHEMES = ("http", "https", "socks5")
_EXPECTED = "a proxy URL such as http://user:password@host:port, with scheme http, https or socks5"
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_LIMIT = 2048


@dataclass(frozen=True)
class ProxyParts:
    """A proxy in the parts that a browser asks for. `server` is scheme, host and port, and may be shown."""

    server: str
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def split_proxy(url: str) -> ProxyParts:
    """Return the parts of a proxy URL; user and password percent-decoded.

    Raises:
        PydanticCustomError: It is no such URL; the error says what was expected and does not repeat the URL.
    """
    if url.startswith("intuned:"):
        raise expected_error(
            f"{_EXPECTED}; intuned://auto stands for a proxy of Intuned's platform, and Callboard has none"
        )
    try:
        return _split(url)
    except PydanticCustomError:  # which is a ValueError, too
        raise
    except ValueError as error:
        raise expected_error(_EXPECTED) from error


def _split(url: str) -> ProxyParts:
    if _CONTROL.search(url) or "\\" in url:
        raise ValueError("whitespace, a control character or a backslash")
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or parts.path not in ("", "/") or "?" in url or "#" in url:
        raise ValueError("another scheme, or more than an address")
    server = f"{parts.scheme}://{_host_and_port(parts)}"
    user_part, at, _ = parts.netloc.rpartition("@")
    if not at:
        return ProxyParts(server)
    user, _, password = user_part.partition(":")
    username, password = _decoded(user), _decoded(password)
    if not username:
        raise expected_error(f"{_EXPECTED}; before the @ stands a user name")
    if parts.scheme == "socks5":
        raise expected_error(f"{_EXPECTED}; Chromium cannot give user and password to a SOCKS proxy, use an HTTP proxy")
    return ProxyParts(server, username, password)


def _host_and_port(parts: SplitResult) -> str:
    port = parts.port  # raises ValueError for what is no port
    if not parts.hostname or port == 0:
        raise ValueError("no host, or port 0")
    try:
        host = parse_host(parts.hostname)
    except ValueError as error:
        raise expected_error(f"{_EXPECTED}, and {HOST_EXPECTED}") from error
    name = f"[{host}]" if isinstance(host, IPv6Address) else str(host)
    return name if port is None else f"{name}:{port}"


def _decoded(text: str) -> str:
    plain = unquote(text, errors="strict")
    if any(character < " " or character == "\x7f" for character in plain):
        raise ValueError("a control character")
    return plain


ProxyUrl = Annotated[str, Field(max_length=_LIMIT), AfterValidator(checked(split_proxy)), expects(_EXPECTED)]
