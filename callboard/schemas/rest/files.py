"""The files that Attempts have left, as they are answered (docs/contract.md, section 12.7)."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, JsonValue

from callboard.schemas.rest.base import ResponseModel

_FILE: dict[str, JsonValue] = {
    "name": "downloads/prices.csv",
    "size": 20_480,
    "contentType": "text/csv",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}


class FileBody(ResponseModel):
    """A file that an Attempt has left."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FILE]})

    name: str
    """Its name, which may have slashes: its path below `output/`, or that of a download below `downloads/`."""
    size: int
    """The number of its bytes."""
    content_type: str
    """The media type that its name suggests."""
    sha256: str
    """The SHA-256 of its bytes, in hexadecimal."""


class LinkedFile(FileBody):
    """A file that an Attempt has left, with a link to it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_FILE, "url": None, "expiresAt": None}]})

    url: str | None
    """A link to its bytes, which needs no key; null where nothing could seal one, or its address is not known."""
    expires_at: datetime | None
    """The time until which the link is valid; null if there is none."""


class LinkedFiles(ResponseModel):
    """The files that an Attempt has left."""

    files: list[LinkedFile]
