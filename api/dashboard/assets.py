"""Styles and scripts of the pages: files of this package, held in memory, whose addresses change with their content."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from schemas.errors import NotFound

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """One file that the pages use."""

    content: bytes
    type: str
    address: str
    integrity: str
    """Hash with which a browser checks the file before it uses it."""


def _read() -> dict[str, Asset]:
    found: dict[str, Asset] = {}
    for file in files("api.dashboard").joinpath("static").iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            content = file.read_bytes()
            version = hashlib.sha256(content).hexdigest()[:16]
            integrity = f"sha384-{b64encode(hashlib.sha384(content).digest()).decode('ascii')}"
            found[file.name] = Asset(content, kind, f"/assets/{version}/{file.name}", integrity)
    return found


ASSETS = _read()

router = APIRouter(include_in_schema=False)


@router.get("/assets/{version}/{name}")
async def asset(version: str, name: str) -> Response:
    """Serve a file that browsers may keep for good: with other content it has another address."""
    found = ASSETS.get(name)
    if found is None or found.address != f"/assets/{version}/{name}":
        raise NotFound("There is no such file.")
    headers = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
    return Response(found.content, media_type=found.type, headers=headers)
