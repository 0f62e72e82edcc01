"""The state of a browser that has logged in: what an import brings, and what is kept (docs/contract.md, section 4.5).

A storage state that Playwright has saved is one, too: it has no `sessionStorage`.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from schemas.rest.base import AnyText, Flag, RequestModel, checked, expects, problem

LATEST = 253_402_300_799
"""The last second of the year 9999: Chromium takes no later one."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DOMAIN = re.compile(r"\.?[^\s\x00-\x1f\x7f/\\?#@]{1,253}")


def _plain(text: str) -> None:
    if _CONTROL.search(text):
        raise ValueError("a control character")


def _time(seconds: float) -> float:
    if seconds == -1 or 0 <= seconds <= LATEST:
        return seconds
    raise ValueError("no time")


def _origin(text: str) -> None:
    parts = urlsplit(text)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
        shown += f":{parts.port}"
    if parts.scheme not in _DEFAULT_PORTS or not host or _CONTROL.search(text) or text != f"{parts.scheme}://{shown}":
        raise ValueError("no origin")


def _nothing(value: object) -> None:
    """Empty, it is dropped. Dropping anything else would make a login that does not work."""
    if value not in (None, [], {}):
        raise problem(
            "nothing: Callboard restores cookies, localStorage and sessionStorage only; save the state without this"
        )


_CookieText = Annotated[str, AfterValidator(checked(_plain)), expects("a text without control characters")]
_Domain = Annotated[str, Field(pattern=f"^{_DOMAIN.pattern}$"), expects("a host, such as example.com or .example.com")]
_Path = Annotated[str, Field(pattern="^/"), AfterValidator(checked(_plain)), expects("a path that begins with /")]
_Expires = Annotated[
    float, AfterValidator(_time), expects("-1, or the time in seconds since 1970, up to the end of the year 9999")
]
_SameSite = Annotated[Literal["Strict", "Lax", "None"], expects('"Strict", "Lax" or "None"')]
_Origin = Annotated[
    str,
    Field(max_length=2048),
    AfterValidator(checked(_origin)),
    expects("an origin as a browser writes it, such as https://example.com or http://localhost:8080"),
]
_Nothing = Annotated[None, BeforeValidator(_nothing)]


class Cookie(RequestModel):
    """A cookie. What else a browser says of one is dropped."""

    model_config = ConfigDict(extra="ignore")

    name: _CookieText
    value: _CookieText = Field(repr=False)
    domain: _Domain
    path: _Path
    expires: _Expires
    """Seconds since 1970; -1 for a cookie of the browser's session."""
    http_only: Flag
    secure: Flag
    same_site: _SameSite


class Item(RequestModel):
    """One item of a storage."""

    name: AnyText
    value: AnyText = Field(repr=False)


class LocalStorage(RequestModel):
    """What an origin keeps in `localStorage`."""

    origin: _Origin
    local_storage: list[Item]
    indexed_db: _Nothing = Field(default=None, alias="indexedDB", exclude=True)
    opfs: _Nothing = Field(default=None, exclude=True)


class SessionStorage(RequestModel):
    """What a page of an origin keeps in `sessionStorage`."""

    origin: _Origin
    session_storage: list[Item]


class BrowserState(RequestModel):
    """Cookies and storages. `sessionStorage` may be absent."""

    cookies: list[Cookie] = Field(repr=False)
    origins: list[LocalStorage] = Field(repr=False)
    session_storage: list[SessionStorage] | None = Field(default=None, repr=False)
    credentials: _Nothing = Field(default=None, exclude=True)

    def to_json(self) -> str:
        """Return the state as it is kept: all three keys of the contract, as ASCII."""
        return json.dumps(self.model_dump(), separators=(",", ":"))
