"""Mask the events of a Playwright trace so that the viewer still understands them, and find the secrets in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

from security.masking import Masker

_DRIVER = b"/driver/package/"
"""Part of the paths by which stacks of Playwright's driver are recognized."""
_VIEWERS = frozenset({"type", "class", "method", "callId", "parentId", "pageId", "frameId", "phase", "file", "version"})
"""Fields that the viewer relies on, which are not masked.

They hold no secrets, but a word of the viewer's own can also be somebody's password.
"""
_CREDENTIALS = re.compile(r"\S+\s+(\S.*)", re.DOTALL)


class EventMasker:
    """Masker of a trace's events, which are lines of JSON."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker

    def masked(self, lines: list[bytes], root: str | None) -> bytes:
        """Return these lines with every secret masked, and without paths of this host."""
        text = b"".join(lines)
        if self._masker.mask_bytes(text) != text or _DRIVER in text:
            text = b"".join(self._line(line) for line in lines)
        return text if root is None else _without(text, root)

    def _line(self, line: bytes) -> bytes:
        if self._masker.mask_bytes(line) == line and _DRIVER not in line:
            return line
        try:
            event: Any = json.loads(line)
            if isinstance(event, dict):
                event = self._event(cast("dict[str, Any]", event))
        except (ValueError, RecursionError):  # the line is cut off or no JSON, or is nested too deeply to be parsed
            return self._masker.mask_bytes(line)
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace") + b"\n"

    def _event(self, event: dict[str, Any]) -> dict[str, Any]:
        error: Any = event.get("error")
        if isinstance(error, dict) and _DRIVER.decode() in str(cast("dict[str, Any]", error).get("stack")):
            event["error"] = {name: value for name, value in cast("dict[str, Any]", error).items() if name != "stack"}
        return {name: self._value(name, value) for name, value in event.items()}

    def _value(self, name: str, value: Any) -> Any:
        if name in _VIEWERS:
            return value
        if name == "snapshot" and isinstance(value, dict):
            return {inner: self._value(inner, item) for inner, item in cast("dict[str, Any]", value).items()}
        return self._masker.mask_json(value)


def _without(text: bytes, root: str) -> bytes:
    """Return `text` without the paths of the Attempt's folder and of `root`, the project's copy in it."""
    for folder in (root, root.rpartition("/")[0]):
        text = text.replace(json.dumps(f"{folder}/", ensure_ascii=False)[1:-1].encode(), b"")
    return text


def secrets_of_network(lines: Iterable[bytes], *, cookies: bool) -> Iterator[str]:
    """Yield the secrets that a network record shows: the credentials that were sent, and with `cookies` also cookies.

    A cookie is no secret if the record shows that the page's own scripts may read it. The record may not show how a
    cookie was set: what a redirect sets is not always recorded, but what is sent afterwards is.
    """
    sent: set[tuple[str, str]] = set()  # a set, as the same cookies are sent with every request
    readable: set[str] = set()
    for line in lines:
        try:
            snapshot: dict[str, Any] = json.loads(line)["snapshot"]
            for name, value in _headers(snapshot, "request"):
                if name in ("authorization", "proxy-authorization") and (found := _CREDENTIALS.fullmatch(value)):
                    yield found[1]
                elif name == "cookie" and cookies:
                    sent.update(map(_named, value.split(";")))
            for name, value in _headers(snapshot, "response"):
                if name == "set-cookie" and cookies:
                    for cookie in value.split("\n"):
                        pair, *attributes = cookie.split(";")
                        if any(attribute.strip().lower() == "httponly" for attribute in attributes):
                            yield _named(pair)[1]
                        else:
                            readable.add(_named(pair)[0])
        except (ValueError, KeyError, TypeError, AttributeError):  # of another shape: nothing can be found
            continue
    yield from (value for name, value in sent if name not in readable)


def _named(cookie: str) -> tuple[str, str]:
    name, _, value = cookie.partition("=")
    return name.strip(), value.strip().strip('"')


def _headers(snapshot: dict[str, Any], side: str) -> Iterator[tuple[str, str]]:
    for header in snapshot[side]["headers"]:
        yield str(header["name"]).lower(), str(header["value"])
