"""What the operator of this host has told uv about package indexes: the addresses, files and credentials.

uv reads variables (`UV_…`), its own files (`uv.toml`) and a netrc file. In the box that it runs in, nothing of this
host is there by itself, so what it needs of that is found here.
"""

from __future__ import annotations

import netrc
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_KEYS = ("index", "index-url", "extra-index-url", "find-links")
"""Keys of `uv.toml`, at its top and below `pip`, that say where packages are."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT")
_PASSED = ("PATH", "LANG", "TZ", "NO_PROXY", "no_proxy", *_PROXIES, *_CERTIFICATES)
_OF_ANOTHER_PLACE = frozenset(
    {
        "UV_CACHE_DIR", "UV_ENV_FILE", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "UV_SYSTEM_PYTHON",
        "UV_WORKING_DIRECTORY",
    }
)  # fmt: skip
"""Variables that refer to another environment, or another cache, than uv is to work with."""
_PUBLISHING = "UV_PUBLISH_"
"""Prefix of variables for uploads to an index, with credentials that installing does not need."""


@dataclass(frozen=True)
class OperatorIndex:
    """The operator's package indexes, as far as uv needs something of this host for them."""

    variables: dict[str, str]
    hosts: frozenset[str]
    """Hosts of the indexes, and of the proxies in front of them."""
    files: tuple[Path, ...]
    """Files and folders to read: configuration, certificates, and indexes that are folders."""
    credentials: str
    """What the operator's netrc file says of these hosts, in its format."""


def read_operator_index() -> OperatorIndex:
    """Return what the operator's variables and files say. This blocks.

    Raises:
        OSError, ValueError: A file cannot be read; the message says which and why.
    """
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    files = list(_configuration_files(config_home))
    named = [(place, Path("/")) for variable in _INDEXES for place in re.split(r"[\s,]+", os.environ.get(variable, ""))]
    for file in files:
        named += [(place, file.parent) for place in _indexes_of(file)]
    hosts, folders = set[str](), list[Path]()
    for text, relative_to in named:
        place = re.sub(r"^[\w.-]+=", "", text)  # an index may have a name
        address = urlsplit(place)
        if address.hostname is not None:
            hosts.add(address.hostname)
        elif (path := address.path) and address.scheme in {"", "file"} and (path.startswith("/") or relative_to.name):
            folders.append(relative_to / path)
    for variable in _PROXIES:
        proxy = os.environ.get(variable, "")
        hosts |= {host for host in [urlsplit(proxy if "://" in proxy else f"//{proxy}").hostname] if host}
    certificates = [Path(os.environ[name]) for name in _CERTIFICATES if os.environ.get(name)]
    return OperatorIndex(
        variables=_variables() | {"XDG_CONFIG_HOME": str(config_home)},
        hosts=frozenset(hosts),
        files=(*files, *folders, *certificates),
        credentials=_credentials(hosts),
    )


def _configuration_files(config_home: Path) -> Iterator[Path]:
    """Yield the configuration files of uv that are there, besides those of a project."""
    system = [*os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"), "/etc"]
    places = [config_home / "uv" / "uv.toml", *(Path(folder) / "uv" / "uv.toml" for folder in system if folder)]
    if named := os.environ.get("UV_CONFIG_FILE"):
        places = [Path(named).absolute()]  # which uv reads instead
    yield from (place for place in places if place.is_file())


def _indexes_of(file: Path) -> Iterator[str]:
    try:
        settings = tomllib.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is not TOML: {error}") from error
    below = cast("object", settings.get("pip"))
    for table in (settings, cast("dict[str, object]", below) if isinstance(below, dict) else {}):
        for key in _KEYS:
            yield from _texts(table.get(key))


def _texts(value: object) -> Iterator[str]:
    """Yield the addresses in the value of a key: a text, a list of texts, or a list of tables with a `url`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _texts(cast("dict[str, object]", each).get("url") if isinstance(each, dict) else each)


def _variables() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED
        or (name.startswith("UV_") and name not in _OF_ANOTHER_PLACE and not name.startswith(_PUBLISHING))
    }


def _credentials(hosts: set[str]) -> str:
    file = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    if not file.is_file():
        return ""
    try:
        known = netrc.netrc(file)
    except netrc.NetrcParseError as error:
        raise ValueError(f"{file} cannot be read: {error.msg}") from error
    found = {host: entry for host in sorted(hosts) if (entry := known.authenticators(host)) is not None}
    return "".join(f"machine {host} login {login} password {word}\n" for host, (login, _, word) in found.items())
