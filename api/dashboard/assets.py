"""Styles and scripts of the pages: files of this package, held in memory, whose addresses change with their content."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from callboard.schemas.errors import NotFound

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """One file that the pages use."""

    content: bytes
    type: str
    address: str
    integrity: str
    """Hash with which a browser checks the file before it uses it."""


def _load_assets() -> dict[str, Asset]:
    asset_file: dict[str, Asset] = {}
    for file in files("api.dashboard").joinpath("static").iterdir():
        media_type = _TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            content = file.read_bytes()
            version = hashlib.sha256(content).hexdigest()[:16]
            integrity = f"sha384-{b64encode(hashlib.sha384(content).digest()).decode('ascii')}"
            asset_file[file.name] = Asset(content, media_type, f"/assets/{version}/{file.name}", integrity)
    return asset_file


ASSETS = _load_assets()

router = APIRouter(include_in_schema=False)


@router.get("/assets/{version}/{name}")
async def serve_asset(version: str, name: str) -> Response:
    """Serve a file that browsers may keep for good: with other content it has another address."""
    asset_file = ASSETS.get(name)
    if asset_file is None or asset_file.address != f"/assets/{version}/{name}":
        raise NotFound("There is no such file.")
    headers = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
    return Response(asset_file.content, media_type=asset_file.type, headers=headers)
