"""The state of a browser that has logged in: what an import brings, and what is kept (docs/contract.md, section 4.5).

A storage state that Playwright has saved is one, too: it has no `sessionStorage`.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, FailFast, Field

from callboard.schemas.rest.base import AnyText, Flag, RequestModel, checked, expected_error, expects

MAX_EXPIRY = 253_402_300_799
"""The last second of the year 9999: Chromium accepts no later expiry."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DOMAIN = re.compile(r"\.?[^\s\x00-\x1f\x7f/\\?#@]{1,253}")


def _check_no_control_characters(text: str) -> None:
    if _CONTROL.search(text):
        raise ValueError("a control character")


def _check_expiry(seconds: float) -> float:
    if seconds == -1 or 0 <= seconds <= MAX_EXPIRY:
        return seconds
    raise ValueError("no time")


def _check_origin(text: str) -> None:
    parts = urlsplit(text)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
        shown += f":{parts.port}"
    if parts.scheme not in _DEFAULT_PORTS or not host or _CONTROL.search(text) or text != f"{parts.scheme}://{shown}":
        raise ValueError("no origin")


def _check_empty(value: object) -> None:
    """Accept an empty value, which is dropped; refuse anything else, since a login without it would not work."""
    if value not in (None, [], {}):
        raise expected_error(
            "nothing: Callboard restores cookies, localStorage, sessionStorage and IndexedDB only; save the state "
            "without this"
        )


_CookieText = Annotated[
    str, AfterValidator(checked(_check_no_control_characters)), expects("a text without control characters")
]
_Domain = Annotated[str, Field(pattern=f"^{_DOMAIN.pattern}$"), expects("a host, such as example.com or .example.com")]
_Path = Annotated[
    str,
    Field(pattern="^/"),
    AfterValidator(checked(_check_no_control_characters)),
    expects("a path that begins with /"),
]
_Expires = Annotated[
    float,
    AfterValidator(_check_expiry),
    expects("-1, or the time in seconds since 1970, up to the end of the year 9999"),
]
_SameSite = Annotated[Literal["Strict", "Lax", "None"], expects('"Strict", "Lax" or "None"')]
_Origin = Annotated[
    str,
    Field(max_length=2048),
    AfterValidator(checked(_check_origin)),
    expects("an origin as a browser writes it, such as https://example.com or http://localhost:8080"),
]
_Empty = Annotated[None, BeforeValidator(_check_empty)]
_Version = Annotated[int, Field(ge=1, le=2**53 - 1), expects("the version of the database, from 1 on")]
_KeyPath = Annotated[str | None, expects("a text")]
_KeyPaths = Annotated[Annotated[list[str], FailFast()] | None, expects("an array of texts")]
_Records = Annotated[
    list[dict[Literal["key", "keyEncoded", "value", "valueEncoded"], Any]],
    FailFast(),
    expects("an array of objects with `key` or `keyEncoded`, and `value` or `valueEncoded`"),
]
"""Records as Playwright saves them; what JSON cannot hold is encoded. They are read in a browser alone."""


class Cookie(RequestModel):
    """A cookie. Other attributes that a browser adds are dropped."""

    model_config = ConfigDict(extra="ignore")

    name: _CookieText
    value: _CookieText = Field(repr=False)
    domain: _Domain
    path: _Path
    expires: _Expires
    """The expiry in seconds since 1970; -1 for a session cookie."""
    http_only: Flag
    secure: Flag
    same_site: _SameSite


class StorageItem(RequestModel):
    """An item of a storage."""

    name: AnyText
    value: AnyText = Field(repr=False)


class DatabaseIndex(RequestModel):
    """An index of an object store."""

    name: AnyText
    key_path: _KeyPath = None
    key_path_array: _KeyPaths = None
    multi_entry: Flag
    unique: Flag


class ObjectStore(RequestModel):
    """An object store of a database."""

    name: AnyText
    key_path: _KeyPath = None
    key_path_array: _KeyPaths = None
    auto_increment: Flag
    records: _Records
    indexes: Annotated[list[DatabaseIndex], FailFast()]


class Database(RequestModel):
    """A database of IndexedDB, as Playwright saves it."""

    name: AnyText
    version: _Version
    stores: Annotated[list[ObjectStore], FailFast()]


class OriginStorage(RequestModel):
    """The `localStorage` of an origin, and its IndexedDB."""

    origin: _Origin
    local_storage: Annotated[list[StorageItem], FailFast()]
    indexed_db: Annotated[list[Database], FailFast()] | None = Field(
        default=None, alias="indexedDB", exclude_if=lambda databases: not databases
    )
    """Its databases; only in a project with `authSessions.indexedDb`."""
    opfs: _Empty = Field(default=None, exclude=True)


class SessionStorage(RequestModel):
    """The `sessionStorage` of an origin."""

    origin: _Origin
    session_storage: Annotated[list[StorageItem], FailFast()]


class BrowserState(RequestModel):
    """The state of a browser: its cookies and storages."""

    cookies: Annotated[list[Cookie], FailFast()] = Field(repr=False)
    origins: Annotated[list[OriginStorage], FailFast()] = Field(repr=False)
    session_storage: Annotated[list[SessionStorage], FailFast()] | None = Field(default=None, repr=False)
    credentials: _Empty = Field(default=None, exclude=True)

    @property
    def first_with_databases(self) -> int | None:
        """The index of the first origin with IndexedDB; None if there is none."""
        return next((number for number, each in enumerate(self.origins) if each.indexed_db), None)

    def to_json(self) -> str:
        """Return the state as it is kept: all three keys of the contract, as ASCII."""
        return json.dumps(self.model_dump(), separators=(",", ":"))
