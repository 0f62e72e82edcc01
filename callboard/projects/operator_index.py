"""What the operator of this host has told uv and npm about package indexes: the addresses, files and credentials.

uv reads variables (`UV_…`), its own files (`uv.toml`) and a netrc file. In the box that it runs in, nothing of this
host is there by itself, so what it needs of that is found here. Credentials are kept apart, for
`callboard.projects.index_proxy`.
"""

from __future__ import annotations

import netrc
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult, unquote, urlsplit

URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s'\"`]+@")
"""Credentials in an address."""
NPM_REGISTRY = "CALLBOARD_NPM_REGISTRY"
_NPM_REGISTRY = (NPM_REGISTRY, "npm_config_registry", "NPM_CONFIG_REGISTRY")
"""Variables that name the registry of npm, ours before npm's own."""
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_KEYS = ("index", "index-url", "extra-index-url", "find-links")
"""Keys of `uv.toml`, at its top and below `pip`, that say where packages are."""
_PROXY_KEYS = ("http-proxy", "https-proxy", "no-proxy")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_NO_PROXY = ("NO_PROXY", "no_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_CLIENT_CERTIFICATE = "SSL_CLIENT_CERT"
_PASSED = ("PATH", "LANG", "TZ", *_NO_PROXY, *_PROXIES, *_CERTIFICATES)
_OF_ANOTHER_PLACE = frozenset(
    {
        "UV_CACHE_DIR", "UV_ENV_FILE", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "UV_SYSTEM_PYTHON",
        "UV_WORKING_DIRECTORY",
    }
)  # fmt: skip
"""Variables that refer to another environment, or another cache, than uv is to work with."""
_SECRET = re.compile(r"UV_PUBLISH_.*|UV_INDEX_.*_(USERNAME|PASSWORD)|UV_.*_TOKEN")
"""Variables with credentials: for an index, or for what uv does not do here, such as to upload to one."""
_NAMED = re.compile(r"(?:([\w.-]+)=)?(.*)")
"""An index by its address, with its name before it if it has one."""
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_PORTS = {"http": 80, "https": 443}

Credentials = tuple[str, str]
"""A user and a password."""


@dataclass(frozen=True)
class OperatorIndex:
    """The operator's package indexes, as far as uv needs something of this host for them."""

    variables: dict[str, str]
    """Variables for uv, without credentials."""
    places: frozenset[tuple[str, int]]
    """Hosts and ports of the indexes, and of the proxies in front of them."""
    files: tuple[Path, ...]
    """Files and folders to read: configuration, and indexes that are folders."""
    cleaned: dict[Path, str]
    """The text of those files that have credentials, without them."""
    certificates: tuple[Path, ...]
    """Files and folders of certificates that the operator trusts."""
    sign_in: dict[str, Any] | None
    """What `callboard.projects.index_proxy` needs to know of indexes, proxies and certificates. None: nothing is secret
    here."""
    client_certificate: tuple[Path, ...]
    """The file, if any, that only that proxy may read."""


def read_operator_index() -> OperatorIndex:
    """Return what the operator's variables and files say. This blocks.

    Raises:
        OSError, ValueError: A file cannot be read; the message says which and why.
    """
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    texts = {file: file.read_text() for file in _configuration_files(config_home)}
    cleaned = {file: clean for file, text in texts.items() if (clean := URL_CREDENTIALS.sub("", text)) != text}
    named = [(place, Path("/")) for variable in _INDEXES for place in re.split(r"[\s,]+", os.environ.get(variable, ""))]
    for file, text in texts.items():
        named += [(place, file.parent) for place in _indexes_of(file, text)]
    places, folders = set[tuple[str, int]](), list[Path]()
    indexes: list[tuple[str, Credentials | None]] = []
    for text, relative_to in named:
        if (found := _NAMED.fullmatch(text)) is None:
            continue
        address = urlsplit(found[2])
        if address.hostname is not None and address.scheme in _PORTS:
            places.add((address.hostname, address.port or _PORTS[address.scheme]))
            indexes.append((URL_CREDENTIALS.sub("", found[2]), _credentials(found[1], address)))
        elif (path := address.path) and address.scheme in {"", "file"} and (path.startswith("/") or relative_to.name):
            folders.append(relative_to / path)
    variables = _variables() | {"XDG_CONFIG_HOME": str(config_home)}
    of_proxies, proxies = _proxies()
    places |= of_proxies
    client = os.environ.get(_CLIENT_CERTIFICATE)
    sign_in = None
    if client or any(credentials for _, credentials in indexes) or any(map(URL_CREDENTIALS.search, proxies.values())):
        _refuse_proxies(texts)
        sign_in = _sign_in(indexes)
        variables = {name: value for name, value in variables.items() if name not in (*_PROXIES, *_NO_PROXY)}
    return OperatorIndex(
        variables=variables,
        places=frozenset(places),
        files=(*texts, *folders),
        cleaned=cleaned,
        certificates=tuple(Path(os.environ[name]) for name in _CERTIFICATES if os.environ.get(name)),
        sign_in=sign_in,
        client_certificate=(Path(client),) if client else (),
    )


@dataclass(frozen=True)
class NpmRegistry:
    """The operator's registry of npm packages."""

    address: str | None
    """Its address, without credentials. None: nobody has named one, and npm takes its own default."""
    variables: dict[str, str]
    """Variables for npm, without credentials."""
    places: frozenset[tuple[str, int]]
    """Hosts and ports of the registry, and of the proxies in front of it."""
    certificates: tuple[Path, ...]
    """Files and folders of certificates that the operator trusts."""
    sign_in: dict[str, Any] | None
    """As in `OperatorIndex`."""
    client_certificate: tuple[Path, ...]


def read_npm_registry() -> NpmRegistry:
    """Return what the operator's variables, and his own `.npmrc`, say of the registry. This blocks.

    Raises:
        OSError, ValueError: A file cannot be read, or the address is none; the message says which and why.
    """
    npmrc = _npmrc()
    named = next(filter(None, map(os.environ.get, _NPM_REGISTRY)), None) or npmrc.get("registry")
    url, credentials = None, None
    places, proxies = _proxies()
    if named is not None:
        address = urlsplit(named)
        if address.hostname is None or address.scheme not in _PORTS:
            raise ValueError(f"{NPM_REGISTRY} is no address of a registry: it begins with neither https:// nor http://")
        url = URL_CREDENTIALS.sub("", address.geturl()).rstrip("/") + "/"
        credentials = npmrc.get(f"//{url.partition('://')[2]}:_authToken") or _credentials(None, address)
        places.add((address.hostname, address.port or _PORTS[address.scheme]))
    client = os.environ.get(_CLIENT_CERTIFICATE)
    variables = {name: os.environ[name] for name in _PASSED if os.environ.get(name)}
    extra = os.environ.get("NODE_EXTRA_CA_CERTS") or os.environ.get("SSL_CERT_FILE")
    sign_in = None
    if client or credentials or any(map(URL_CREDENTIALS.search, proxies.values())):
        sign_in = _sign_in([(url, credentials)] if url is not None else [])
        variables = {name: value for name, value in variables.items() if name not in (*_PROXIES, *_NO_PROXY)}
    return NpmRegistry(
        address=url,
        variables=variables | ({"NODE_EXTRA_CA_CERTS": extra} if extra else {}),
        places=frozenset(places),
        certificates=tuple(Path(each) for each in (extra, *map(os.environ.get, _CERTIFICATES)) if each),
        sign_in=sign_in,
        client_certificate=(Path(client),) if client else (),
    )


def _npmrc() -> dict[str, str]:
    """Return what the operator's own `.npmrc` says, with variables of the environment in it replaced."""
    file = Path(os.environ.get("NPM_CONFIG_USERCONFIG") or Path.home() / ".npmrc")
    lines = file.read_text().splitlines() if file.is_file() else []
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith(("#", ";")))
    found = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    return {
        key: re.sub(r"\$\{(\w+)\}", lambda name: os.environ.get(name[1], ""), value) for key, value in found.items()
    }


def _proxies() -> tuple[set[tuple[str, int]], dict[str, str]]:
    """Return where the operator's proxies are, and the variables that name them."""
    proxies = {name: os.environ[name] for name in _PROXIES if os.environ.get(name)}
    places = set[tuple[str, int]]()
    for proxy in proxies.values():
        address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        if address.hostname:
            places.add((address.hostname, address.port or _PORTS.get(address.scheme, 1080)))
    return places, proxies


def _sign_in(indexes: Sequence[tuple[str, Credentials | str | None]]) -> dict[str, Any]:
    """Return what the proxy that signs in is told, with the operator's proxies and certificates."""
    names = (*_PROXIES, *_NO_PROXY, *_CERTIFICATES, _CLIENT_CERTIFICATE)
    return {"indexes": indexes, "variables": {name: os.environ[name] for name in names if os.environ.get(name)}}


def _configuration_files(config_home: Path) -> Iterator[Path]:
    """Yield the configuration files of uv that are there, besides those of a project."""
    system = [*os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"), "/etc"]
    places = [config_home / "uv" / "uv.toml", *(Path(folder) / "uv" / "uv.toml" for folder in system if folder)]
    if named := os.environ.get("UV_CONFIG_FILE"):
        places = [Path(named).absolute()]  # which uv reads instead
    yield from (place for place in places if place.is_file())


def _indexes_of(file: Path, text: str) -> Iterator[str]:
    settings = _parse(file, text)
    below = cast("object", settings.get("pip"))
    for table in (settings, cast("dict[str, object]", below) if isinstance(below, dict) else {}):
        for key in _KEYS:
            yield from _texts(table.get(key))


def _parse(file: Path, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"{file} is not TOML: {error}") from error


def _texts(value: object) -> Iterator[str]:
    """Yield the addresses in the value of a key: a text, a list of texts, or a list of tables with a `url`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            if isinstance(each, dict):
                index = cast("dict[str, object]", each)
                yield f"{index['name']}={index.get('url')}" if "name" in index else str(index.get("url"))
            else:
                yield from _texts(each)


def _refuse_proxies(texts: dict[Path, str]) -> None:
    """Refuse proxies that uv would take instead of the one that signs in for it."""
    for file, text in texts.items():
        if found := [key for key in _PROXY_KEYS if key in _parse(file, text)]:
            raise ValueError(
                f"{file} names a proxy ({found[0]}); with credentials for an index or a proxy, name it by HTTP_PROXY, "
                "HTTPS_PROXY and NO_PROXY instead"
            )


def _credentials(name: str | None, address: SplitResult) -> Credentials | None:
    """Return what uv would sign in to an index with: by its name, its address, or a netrc file."""
    prefix = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', (name or '').upper())}"
    user, password = (os.environ.get(f"{prefix}_{part}") if name else None for part in ("USERNAME", "PASSWORD"))
    if user is None and password is None:
        user, password = (part and unquote(part) for part in (address.username, address.password))
    if password is None and (found := _of_netrc(address.hostname or "")) is not None and user in {None, found[0]}:
        user, password = found
    return None if user is None and password is None else (user or "", password or "")


def _of_netrc(host: str) -> Credentials | None:
    file = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    if not file.is_file():
        return None
    try:
        found = netrc.netrc(file).authenticators(host)
    except netrc.NetrcParseError as error:
        raise ValueError(f"{file} cannot be read: {error.msg}") from error
    return None if found is None else (found[0], found[2])


def _variables() -> dict[str, str]:
    return {
        name: URL_CREDENTIALS.sub("", value)
        for name, value in os.environ.items()
        if name in _PASSED or (name.startswith("UV_") and name not in _OF_ANOTHER_PLACE and not _SECRET.fullmatch(name))
    }
